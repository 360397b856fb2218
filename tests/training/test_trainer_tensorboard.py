"""The option that writes TensorBoard files beside metrics.jsonl."""

from __future__ import annotations

import pytest

from twofold.training import metrics_log


def test_the_loss_is_in_both_logs(quick_fit, make_recipe, digits_set, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    quick_fit(make_recipe("simclr"), digits_set, out=tmp_path / "run", epochs=2, tensorboard=True)
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    lines = metrics_log.read(tmp_path / "run" / "metrics.jsonl")
    assert [step for step, _ in written] == [line["step"] for line in lines]
    assert [value for _, value in written] == pytest.approx([line["loss"] for line in lines])
