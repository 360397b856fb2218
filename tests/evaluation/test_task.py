"""Tasks of modalities: the same measure for all encoders, baselines without embeddings, paired differences."""

from __future__ import annotations

import numpy as np
import torch

from twofold.evaluation import Evaluation, Measurement, MetricInfo, Task, evaluate_task
from twofold.evaluation.intervals import bootstrap_mean


def agreement(sides):
    """Share of rows whose two sides have the same sign; rows that could not be read are left out."""
    right = (sides["left"][:, 0] * sides["right"][:, 0] > 0).double()
    right[sides["left"].isnan().any(1)] = torch.nan
    kept = right[right.isfinite()]
    interval = bootstrap_mean(kept.numpy(), generator=np.random.default_rng(0))
    return {"same": Measurement(*interval, unit="share", n=len(kept), per_item=right)}


def made(**more):
    return Task(
        name="signs",
        sides={},
        measure=agreement,
        metrics={"same": MetricInfo("same sign", True), "other": MetricInfo("never measured")},
        protocol={"pairs": "40"},
        chance={"same": 0.5, "other": 0.1},
        **more,
    )


def rows(generator, *, right):
    left = torch.randn(40, 3, generator=generator)
    noise = torch.randn(40, 3, generator=generator)
    return {"left": left, "right": left if right else noise}


def test_rows_baselines_and_differences():
    draw = torch.Generator().manual_seed(0)
    encoders = {
        "trained": ("ours", rows(draw, right=True)),
        "untrained": ("same, untrained", rows(draw, right=False)),
    }
    task = made(baselines={"Always Yes": lambda: {"same": Measurement(0.25, n=40)}})
    result = evaluate_task(task, encoders, remark="seen")
    assert [(row.name, row.label) for row in result.rows] == [
        ("trained", "ours"),
        ("untrained", "same, untrained"),
        ("always-yes", "Always Yes"),
    ]
    assert [row.metrics["same"].value for row in result.rows][::2] == [1.0, 0.25]
    assert list(result.metrics) == ["same"], "what nobody measured is not told"
    assert result.chance == {"same": 0.5}
    assert result.protocol == {"task": "signs", "pairs": "40", "remark": "seen"}
    assert [d.against for d in result.differences] == ["untrained"], "the baseline has no score for each item"
    assert result.differences[0].low > 0
    assert Evaluation.from_json(result.to_json()).to_json() == result.to_json()


def test_unreadable_samples_are_left_out_of_pairs():
    draw = torch.Generator().manual_seed(0)
    ours, theirs = rows(draw, right=True), rows(draw, right=False)
    for sides in (ours, theirs):
        sides["left"][3] = torch.nan
    result = evaluate_task(made(), {"trained": ("a", ours), "raw": ("b", theirs)})
    assert [row.metrics["same"].n for row in result.rows] == [39, 39]
