"""SimSiam: the stop-gradient is what prevents collapse."""

import pytest
import torch
from torch.nn import functional as F

from twofold.contrast.objectives.geometry import effective_rank, standard_deviation


def test_the_loss(built, a_batch):
    recipe = built("simsiam")
    outputs = recipe.represent(batch := a_batch())
    p, z = (F.normalize(outputs[name].detach(), dim=-1) for name in ("prediction", "z"))
    expected = -0.5 * sum((p[a] * z[b]).sum(-1).mean().item() for a, b in [(0, 1), (1, 0)])
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("stop", [True, False])
def test_the_target_gets_a_gradient_only_without_the_stop(stop, built, a_batch):
    recipe = built("simsiam", stop_gradient=stop)
    z = torch.randn(2, 8, 64, requires_grad=True)
    prediction = torch.randn(2, 8, 64, requires_grad=True)
    recipe.losses({"z": z, "prediction": prediction}, a_batch())["total"].backward()
    assert (z.grad is None) == stop
    assert prediction.grad is not None


def test_the_predictors_rate_stays_constant(built):
    recipe = built("simsiam")
    assert recipe.constant_lr == ("predictor",)
    assert any(name.startswith("predictor") for name, _ in recipe.named_parameters())


@pytest.mark.slow
def test_without_the_stop_gradient_it_collapses(make_recipe, quick_fit, digits_set):
    spread, rank, loss = {}, {}, {}
    for stop in (True, False):
        recipe = make_recipe("simsiam", stop_gradient=stop)
        recipe, result = quick_fit(
            recipe, digits_set, epochs=25, optimizer="sgd", lr=0.3, weight_decay=1e-4, batch_size=64
        )
        with torch.no_grad():
            z = recipe.train().projector(recipe.encoder(digits_set.images[:128].float() / 255))
        spread[stop], rank[stop] = float(standard_deviation(z)), float(effective_rank(z))
        loss[stop] = result.last["loss"]
    assert spread[True] > 0.95
    assert spread[False] < 0.8
    assert rank[False] < 0.5 * rank[True]
    assert loss[False] < loss[True] - 0.1, "a loss near its least is no success"
