"""Closing the contrastive gap: CLIP with four terms."""

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.contrast.objectives import cross_uniformity, symmetric_info_nce
from twofold.training import metrics_log

QUICK = {"epochs": 40, "batch_size": 32, "precision": "float32", "workers": 0, "lr": 3e-3, "seed": 1}
NAME = "mlp-w64+embedding-bag-w32@32"


def test_every_term_by_definition(squares, on_pairs):
    model, batch = on_pairs(twofold.ContrastiveGap, squares)
    outputs = model.represent(batch)
    x, y = (F.normalize(outputs[side][0].detach().double(), dim=1) for side in ("first", "second"))
    n = len(x)
    apart = [(i, j) for i in range(n) for j in range(n) if i != j]

    def log_mean(a, b):
        return math.log(sum(math.exp(-2 * float((a[i] - b[j]).square().sum())) for i, j in apart) / len(apart))

    losses = {name: value.item() for name, value in model(batch).items()}
    assert losses["pair_alignment"] == pytest.approx(float((x - y).square().sum(1).mean()), rel=1e-5)
    assert losses["side_uniformity"] == pytest.approx((log_mean(x, x) + log_mean(y, y)) / 2, rel=1e-5)
    assert losses["cross_uniformity"] == pytest.approx(log_mean(x, y), rel=1e-5)
    clip = symmetric_info_nce(outputs["first"][0], outputs["second"][0], temperature=0.01).item()
    assert losses["contrast"] == pytest.approx(clip, rel=1e-5)
    assert losses["total"] == pytest.approx(sum(value for name, value in losses.items() if name != "total"), rel=1e-5)


def test_without_weights_it_is_clip(squares, on_pairs):
    weights = dict.fromkeys(("alignment_weight", "uniformity_weight", "cross_weight"), 0.0)
    ours, batch = on_pairs(twofold.ContrastiveGap, squares, temperature=0.2, **weights)
    clip, _ = on_pairs(twofold.CLIP, squares, temperature=0.2)
    assert ours.state_dict().keys() == clip.state_dict().keys()
    torch.testing.assert_close(ours(batch)["total"], clip(batch)["total"])


def test_the_temperature_is_fixed(squares, on_pairs):
    model, batch = on_pairs(twofold.ContrastiveGap, squares)
    model(batch)["total"].backward()
    assert float(model.temperature) == pytest.approx(0.01)
    assert model.log_scale.grad is None
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())


def test_cross_uniformity_counts_no_pairs():
    x = torch.eye(4)
    assert float(cross_uniformity(x, x)) == pytest.approx(-4)
    assert float(cross_uniformity(x, x.roll(1, 0))) > -4
    assert float(cross_uniformity(x, -x)) == pytest.approx(-4)
    with pytest.raises(ValueError, match="must have the same shape"):
        cross_uniformity(x, x[:3])


def test_it_learns_comes_back_and_leaves_less_of_a_gap_than_clip(squares, tmp_path):
    weights = {"temperature": 0.07}
    model = twofold.ContrastiveGap(encoder=NAME, **weights).fit(squares, out=tmp_path / "run", **QUICK)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert torch.equal(twofold.load(tmp_path / "run").embed(squares), model.embed(squares))
    clip = twofold.CLIP(encoder=NAME, learn_temperature=False, **weights).fit(squares, **QUICK)

    def gap(recipe):
        sides = (
            F.normalize(recipe.embed(source, side=side), dim=1)
            for side, source in (("first", squares[0]), ("second", squares[1]))
        )
        first, second = sides
        return float((first.mean(0) - second.mean(0)).norm())

    assert gap(model) < gap(clip) - 0.1
