"""SimCLR: the anchor of the family."""

import math

import pytest
import torch
from torch.nn import functional as F


def by_hand(z, temperature):
    """Chen et al., eq. 1, term by term."""
    rows = F.normalize(torch.cat(list(z)), dim=1).double()
    n = len(rows) // 2
    total = 0.0
    for a in range(2 * n):
        similarity = (rows @ rows[a]) / temperature
        others = torch.cat([similarity[:a], similarity[a + 1 :]])
        total += float(torch.logsumexp(others, 0) - similarity[(a + n) % (2 * n)])
    return total / (2 * n)


def test_the_loss_is_the_papers(built, a_batch):
    recipe = built("simclr", temperature=0.3)
    batch = a_batch(2, 9)
    z = recipe.represent(batch)["z"].detach()
    assert float(recipe(batch)["total"].detach()) == pytest.approx(by_hand(z, 0.3), rel=1e-5)


def test_more_views_average_over_pairs_of_views(built, a_batch):
    recipe = built("simclr", view_count=3)
    outputs = recipe.represent(batch := a_batch(3, 7))
    pairs = [recipe.losses({"z": outputs["z"][[a, b]]}, batch)["total"].item() for a, b in [(0, 1), (0, 2), (1, 2)]]
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(sum(pairs) / 3, rel=1e-5)


def test_the_chance_level_is_that_of_equal_similarities(built, a_batch):
    recipe = built("simclr")
    same = torch.ones(2, 12, 5)
    assert recipe.losses({"z": same}, a_batch())["total"].item() == pytest.approx(recipe.chance_level(12), rel=1e-5)
    assert recipe.chance_level(12) == math.log(23)


def test_what_is_kept_is_before_the_head(built):
    recipe = built("simclr", projection_dim=5).eval()
    pictures = torch.rand(3, 1, 8, 8)
    assert torch.equal(recipe.encode(pictures), recipe.encoder(pictures))
    assert recipe.project(pictures).shape == (3, 5)
