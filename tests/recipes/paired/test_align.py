"""ALIGN: both directions with softened targets."""

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.contrast.objectives import smoothed_info_nce, symmetric_info_nce
from twofold.training import metrics_log

QUICK = {"epochs": 6, "batch_size": 16, "precision": "float32", "workers": 0, "lr": 3e-3}


def test_it_is_cross_entropy_with_label_smoothing_both_ways(squares, on_pairs):
    model, batch = on_pairs(twofold.ALIGN, squares, temperature=0.2, smoothing=0.3)
    x, y = (F.normalize(model.represent(batch)[side][0].detach(), dim=1) for side in ("first", "second"))
    logits, own = x @ y.T / 0.2, torch.arange(12)
    expected = sum(F.cross_entropy(one, own, label_smoothing=0.3) for one in (logits, logits.T))
    torch.testing.assert_close(model(batch)["total"].detach(), expected)


def test_without_smoothing_it_is_twice_clip(squares, on_pairs):
    model, batch = on_pairs(twofold.ALIGN, squares, smoothing=0.0)
    outputs = model.represent(batch)
    expected = 2 * symmetric_info_nce(outputs["first"][0], outputs["second"][0], temperature=1.0)
    torch.testing.assert_close(model(batch)["total"], expected)


def test_the_temperature_starts_at_one_and_is_learned(squares, on_pairs):
    model, batch = on_pairs(twofold.ALIGN, squares)
    assert float(model.temperature.detach()) == 1
    model(batch)["total"].backward()
    assert model.log_scale.grad is not None


def test_the_chance_level(squares, on_pairs):
    model, batch = on_pairs(twofold.ALIGN, squares)
    equal = {side: torch.ones(1, 9, 4) for side in ("first", "second")}
    assert model.losses(equal, batch)["total"].item() == pytest.approx(model.chance_level(9)) == 2 * math.log(9)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match="smoothing must be at least 0 and below 1"):
        smoothed_info_nce(torch.eye(3), torch.eye(3), temperature=0.1, smoothing=smoothing)


def test_it_learns_and_comes_back(squares, tmp_path):
    model = twofold.ALIGN(encoder="mlp-w64+embedding-bag-w32@32", temperature=0.1)
    model.fit(squares, out=tmp_path / "run", **QUICK)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4]) - 1
    pictures, names = (
        F.normalize(model.embed(source, side=side), dim=1)
        for side, source in zip(("first", "second"), squares, strict=True)
    )
    assert int(((pictures @ names.T).argmax(1) == torch.arange(64)).sum()) > 8  # by chance 1 of 64
    assert torch.equal(twofold.load(tmp_path / "run").embed(squares), model.embed(squares))
