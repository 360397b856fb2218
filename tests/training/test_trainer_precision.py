"""Number formats of networks and losses in whole runs."""

from __future__ import annotations

import pytest
import torch

from twofold.contrast import at_once
from twofold.contrast.reductions import DENSE_PAIRS
from twofold.training import metrics_log


def test_bf16_trains(quick_fit, digits_set, tmp_path):
    recipe, result = quick_fit("simclr", digits_set, out=tmp_path, epochs=4, precision="bf16", lr=3e-3)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert {value.dtype for value in recipe.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert result.last["loss"] == pytest.approx(losses[-1])
    _, exact = quick_fit("simclr", digits_set, epochs=4, lr=3e-3)
    assert exact.last["loss"] != result.last["loss"]


def test_loss_precision_changes_the_products_of_large_losses_only(quick_fit, digits_set, monkeypatch):
    def last_loss(loss_precision, batch_size):
        _, result = quick_fit("simclr", digits_set, batch_size=batch_size, loss_precision=loss_precision)
        return result.last["loss"]

    everything = len(digits_set)
    assert DENSE_PAIRS < (2 * everything) ** 2 < at_once.AT_ONCE_PAIRS
    for size in (48, everything):
        assert last_loss("bf16", size) == last_loss("float32", size), "so few pairs are not tiled"
    monkeypatch.setattr(at_once, "AT_ONCE_PAIRS", 0)
    rough, exact = last_loss("bf16", everything), last_loss("float32", everything)
    assert rough != exact
    assert rough == pytest.approx(exact, abs=2e-3)
