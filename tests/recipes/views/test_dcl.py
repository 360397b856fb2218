"""DCL: SimCLR with one change."""

import pytest
import torch

from comparing import states_differ


def test_it_differs_from_simclr_in_the_objective_alone(built, a_batch):
    simclr, dcl = built("simclr"), built("dcl")
    assert states_differ(simclr, dcl) == []
    ours, theirs = simclr.represent(a_batch())["z"], dcl.represent(a_batch())["z"]
    assert torch.equal(ours, theirs)
    assert simclr.options.items() <= dcl.options.items()
    assert simclr(a_batch())["total"].item() != pytest.approx(dcl(a_batch())["total"].item(), rel=1e-3)


def test_the_positive_is_out_of_the_denominator(built, a_batch):
    recipe = built("dcl", temperature=0.5)
    z = recipe.represent(a_batch(2, 6))["z"].detach()
    rows = torch.nn.functional.normalize(z, dim=-1)
    losses = []
    for view in range(2):
        for i in range(6):
            others = torch.cat([rows[v, j][None] for v in range(2) for j in range(6) if j != i])
            anchor = rows[view, i]
            losses.append(torch.logsumexp(others @ anchor / 0.5, 0) - rows[1 - view, i] @ anchor / 0.5)
    assert recipe(a_batch(2, 6))["total"].item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_a_large_sigma_makes_the_weighted_loss_the_plain_one(built, a_batch):
    plain, weighted = built("dcl"), built("dcl", positive_sigma=1e4)
    sharp = built("dcl", positive_sigma=0.05)
    values = [recipe(a_batch())["total"].item() for recipe in (plain, weighted, sharp)]
    assert values[0] == pytest.approx(values[1], rel=1e-3)
    assert values[0] != pytest.approx(values[2], rel=1e-3)


def test_the_chance_level(built, a_batch):
    recipe = built("dcl")
    value = recipe.losses({"z": torch.eye(24).reshape(2, 12, 24)}, a_batch())["total"].item()
    assert value == pytest.approx(recipe.chance_level(12), rel=1e-5)
