from __future__ import annotations

from itertools import combinations
from math import exp

import pytest
import torch
from naive import similarity_of
from objective_cases import random_views
from torch import Tensor

from twofold.contrast.objectives import attraction_repulsion


def naive(z: Tensor, attraction_scale: float, repulsion_scale: float, *, normalize: bool = True) -> list[float]:
    s = similarity_of(z)
    views, n, _ = z.shape

    def cost(v: int, i: int, w: int, j: int) -> float:
        return 2 - 2 * s(v, i, w, j) if normalize else float((z[v, i] - z[w, j]).pow(2).sum())

    attraction = 0.0
    for v in range(views):
        for i in range(n):
            costs = [cost(v, i, w, i) for w in range(views) if w != v]
            weights = [exp(attraction_scale * c) for c in costs]
            attraction += sum(w * c for w, c in zip(weights, costs, strict=True)) / sum(weights) / (views * n)
    repulsion, pairs = 0.0, list(combinations(range(views), 2))
    for v, w in pairs:
        for i in range(n):
            costs = [cost(v, i, w, j) for j in range(n) if j != i]
            weights = [exp(-repulsion_scale * c) for c in costs]
            repulsion -= sum(p * c for p, c in zip(weights, costs, strict=True)) / sum(weights) / (len(pairs) * n)
    return [attraction, repulsion]


def assert_parts(actual: tuple[Tensor, Tensor], expected: list[float]) -> None:
    torch.testing.assert_close(torch.stack(actual), torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("views", [2, 3, 5])
@pytest.mark.parametrize("scales", [(1.0, 0.9), (0.0, 2.0), (3.0, 0.0)])
def test_by_definition(views: int, scales: tuple[float, float]) -> None:
    z = random_views(views, 4, 3)
    parts = attraction_repulsion(z, attraction_scale=scales[0], repulsion_scale=scales[1])
    assert_parts(parts, naive(z, *scales))


def test_distances_are_right_without_unit_length() -> None:
    z = random_views(3, 4, 3)
    assert_parts(attraction_repulsion(z, normalize=False), naive(z, 1.0, 0.9, normalize=False))


def test_scales_of_zero_weigh_all_alike() -> None:
    z = torch.nn.functional.normalize(random_views(3, 5, 4), dim=-1)
    parts = attraction_repulsion(z, attraction_scale=0, repulsion_scale=0)
    pairs = list(combinations(z, 2))
    distances = torch.stack([torch.cdist(a, b).pow(2) for a, b in pairs])
    torch.testing.assert_close(parts.attraction, distances.diagonal(dim1=1, dim2=2).mean())
    torch.testing.assert_close(parts.repulsion, -distances[:, ~torch.eye(5, dtype=torch.bool)].mean())


def test_two_views_have_one_positive_whose_weight_is_one() -> None:
    z = random_views(2, 5, 4)
    values = [attraction_repulsion(z, attraction_scale=t).attraction for t in (0.0, 1.0, 50.0)]
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(values[2], values[0])


def test_larger_scales_pull_the_farther_and_push_the_closer() -> None:
    z = random_views(4, 6, 4)
    weak, strong = (attraction_repulsion(z, attraction_scale=t, repulsion_scale=t) for t in (0.1, 10.0))
    assert strong.attraction > weak.attraction + 0.01  # a mean over costs that are farther
    assert strong.repulsion > weak.repulsion + 0.01  # minus a mean over costs that are closer


@pytest.mark.parametrize("part", [0, 1])
def test_detached_weights_keep_the_values_and_treat_the_weights_as_constants(part: int) -> None:
    z = torch.nn.functional.normalize(random_views(2, 5, 4), dim=-1)
    z = torch.cat([z, random_views(1, 5, 4, seed=1)]) if part == 0 else z
    through, detached, by_hand = (z.clone().requires_grad_() for _ in range(3))
    values = [
        attraction_repulsion(leaf, detach_weights=flag, normalize=False)[part]
        for leaf, flag in ((through, False), (detached, True))
    ]
    torch.testing.assert_close(*values)
    for value in values:
        value.backward()
    if part == 0:
        cost = (by_hand[:, None] - by_hand[None]).pow(2).sum(-1)
        own = torch.eye(3, dtype=torch.bool)[..., None]
        weights = cost.masked_fill(own, -torch.inf).softmax(1).detach()
        ((weights * cost).sum() / 15).backward()
    else:
        cost = torch.cdist(*by_hand).pow(2)
        weights = (-0.9 * cost).masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf).softmax(1).detach()
        (-(weights * cost).sum() / 5).backward()
    torch.testing.assert_close(detached.grad, by_hand.grad)
    assert (detached.grad - through.grad).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["attraction_scale", "repulsion_scale"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_bad_scales(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be finite, 0 or more, got {value}"):
        attraction_repulsion(random_views(2, 3, 4), **{name: value})
