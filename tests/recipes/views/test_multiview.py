"""MV-InfoNCE and MV-DHEL: what they are with two views."""

import math

import pytest
import torch
from torch.nn import functional as F


def test_with_two_views_mv_infonce_is_a_pooled_infonce(built, a_batch):
    recipe = built("mv-infonce", view_count=2, temperature=0.5)
    z = F.normalize(recipe.represent(a_batch(2, 6))["z"].detach(), dim=-1)
    rows, index = z.flatten(0, 1), torch.arange(6).repeat(2)
    similarity = (rows @ rows.T) / 0.5
    expected = []
    for i in range(6):
        own = (index == i).nonzero().flatten()
        denominator = torch.cat([torch.cat([similarity[a, :a], similarity[a, a + 1 :]]) for a in own])
        numerator = 2 * similarity[own[0], own[1]].exp()
        expected.append(denominator.exp().sum().log() - numerator.log())
    assert recipe(a_batch(2, 6))["total"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


def test_with_two_views_mv_dhel_is_dhel(built, a_batch):
    recipe = built("mv-dhel", view_count=2, temperature=0.5)
    z = F.normalize(recipe.represent(a_batch(2, 6))["z"].detach(), dim=-1)
    expected = []
    for i in range(6):
        apart = [torch.logsumexp((z[v] @ z[v, i] / 0.5)[torch.arange(6) != i], 0) for v in range(2)]
        expected.append(sum(apart) - z[0, i] @ z[1, i] / 0.5)
    assert recipe(a_batch(2, 6))["total"].item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", ["mv-infonce", "mv-dhel"])
@pytest.mark.parametrize("views", [2, 4])
def test_the_order_of_views_does_not_matter(name, views, built, a_batch):
    recipe = built(name, view_count=views).eval()
    outputs = recipe.represent(batch := a_batch(views))
    turned = {"z": outputs["z"].flip(0)}
    assert recipe.losses(turned, batch)["total"].item() == pytest.approx(recipe.losses(outputs, batch)["total"].item())


@pytest.mark.parametrize("name", ["mv-infonce", "mv-dhel"])
def test_chance_is_the_loss_of_orthogonal_rows(name, built, a_batch):
    recipe = built(name, view_count=3, temperature=0.5)
    rows = torch.eye(30).reshape(3, 10, 30)
    value = recipe.losses({"z": rows}, a_batch())["total"].item()
    assert value == pytest.approx(recipe.chance_level(10), rel=1e-5)


def test_negatives_of_the_own_view_can_be_left_out(built, a_batch):
    with_them, without = built("mv-infonce"), built("mv-infonce", same_view_negatives=False)
    assert without(a_batch(3))["total"].item() < with_them(a_batch(3))["total"].item()
    assert math.exp(without.chance_level(8)) == pytest.approx(2 * 8 / 2)
