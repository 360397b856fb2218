"""CACR: distances weigh positives up when far, negatives up when near."""

import pytest
import torch
from torch.nn import functional as F


def test_without_scales_it_is_plain_attraction_and_repulsion(built, a_batch):
    recipe = built("cacr", attraction_scale=0.0, repulsion_scale=0.0)
    z = F.normalize(recipe.represent(a_batch(3, 6))["z"].detach(), dim=-1)
    losses = {key: value.item() for key, value in recipe(a_batch(3, 6)).items()}
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    attraction = torch.stack([(z[a] - z[b]).square().sum(-1).mean() for a, b in pairs]).mean()
    assert losses["attraction"] == pytest.approx(float(attraction), rel=1e-4)
    assert losses["total"] == pytest.approx(losses["attraction"] + losses["repulsion"], rel=1e-5)
    assert losses["repulsion"] < 0


def test_far_positives_and_near_negatives_weigh_more(built, a_batch):
    plain = built("cacr", attraction_scale=0.0, repulsion_scale=0.0)(a_batch(3))
    weighed = built("cacr", attraction_scale=5.0, repulsion_scale=5.0)(a_batch(3))
    assert weighed["attraction"].item() > plain["attraction"].item()
    assert weighed["repulsion"].item() > plain["repulsion"].item(), "nearer negatives: less distance"


def test_constant_weights_change_the_gradient_and_not_the_value(built, a_batch):
    values, gradients = [], []
    for detach in (False, True):
        recipe = built("cacr", detach_weights=detach)
        loss = recipe(a_batch(3))["total"]
        loss.backward()
        values.append(loss.item())
        gradients.append(next(recipe.encoder.parameters()).grad)
    assert values[0] == pytest.approx(values[1])
    assert not torch.allclose(gradients[0], gradients[1])
