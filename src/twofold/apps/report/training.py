"""The charts of a training run, from the lines of its ``metrics.jsonl``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twofold.apps.report.charts import Curve, LineChart, column, line_chart

HEALTH = {
    "effective_rank": ("Effective rank", "How many directions the vectors really use. Near 1 they have collapsed."),
    "alignment": ("Alignment", "Distance between the views of one sample. Lower is closer."),
    "uniformity": ("Uniformity", "How unevenly the vectors fill the sphere. Lower is more even."),
}
PACE = {
    "lr": "Learning rate",
    "items_per_second": "Items per second",
}
PLACE = frozenset({"step", "epoch", "seconds", "time"})
MAX_OTHER = 9


@dataclass(frozen=True)
class Training:
    """The charts of the page by group; any of them may be missing."""

    loss: LineChart | None
    health: list[LineChart]
    other: list[LineChart]

    def __bool__(self) -> bool:
        return bool(self.loss or self.health or self.other)


def training_charts(lines: Sequence[Mapping[str, Any]], loss_chance: float | None = None) -> Training:
    """Loss with its chance level, health; learning rate, speed and whatever else was logged (the first nine names)."""
    known = {"loss", *HEALTH, *PACE, *PLACE}
    others = sorted({key for line in lines for key, value in line.items() if key not in known and _is_number(value)})
    reference = None if loss_chance is None else ("chance", loss_chance)
    return Training(
        loss=_chart(lines, "loss", "Loss", reference=reference),
        health=_present(_chart(lines, key, *text) for key, text in HEALTH.items()),
        other=[
            *_present(_chart(lines, key, text, smooth=key != "lr") for key, text in PACE.items()),
            *_present(_chart(lines, key, key.replace("_", " ").capitalize()) for key in others[:MAX_OTHER]),
        ],
    )


def loss_warnings(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the logged loss itself gives cause to say: values that are not finite."""
    steps, values = column(lines, "loss")
    broken = [step for step, value in zip(steps, values, strict=True) if not math.isfinite(value)]
    if not broken:
        return []
    return [f"The loss was not finite at {len(broken)} logged steps, first at step {broken[0]:g}."]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _chart(
    lines: Sequence[Mapping[str, Any]],
    key: str,
    title: str,
    note: str = "",
    *,
    reference: tuple[str, float] | None = None,
    smooth: bool = True,
) -> LineChart | None:
    steps, values = column(lines, key)
    return line_chart(
        title, [Curve(key.replace("_", " "), steps, values)], note=note, reference=reference, smooth=smooth
    )


def _present(charts: Any) -> list[LineChart]:
    return [chart for chart in charts if chart is not None]
