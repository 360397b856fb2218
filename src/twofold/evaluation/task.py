"""An evaluation of a modality's own: what is embedded, what is measured on it, and what needs no embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from twofold.evaluation.comparison import differences
from twofold.evaluation.result import Evaluation, Measurement, MetricInfo, Row


@dataclass(frozen=True)
class Task:
    """A protocol that is not the standard one on labels: pairs with scores, queries with judgements, a graph's split.

    Attributes:
        name: What it is called, such as "sts".
        sides: The data sets that are embedded, by name. Nothing of them may be trained on unless ``protocol`` says so.
        measure: From the rows of each side, ``(len(side), d)``, to metrics. A row of NaN is a sample that could not be
            read. The same function measures the trained encoder, the untrained one and the raw features.
        metrics: How to read each metric that ``measure`` or a baseline gives.
        protocol: How it is measured, in words, by topic.
        chance: What knowing nothing scores, by metric, where that is known.
        baselines: What needs no embeddings, such as BM25 or popularity: label → function that measures it.
        held_out: Whether it is fair after training on the very source that it was made from, since training leaves out
            what is asked: the classes of a graph's nodes, interactions that are held out.
        raw: Whether raw features can be measured too (features of two modalities cannot be compared).
    """

    name: str
    sides: Mapping[str, Any]
    measure: Callable[[Mapping[str, Tensor]], dict[str, Measurement]]
    metrics: Mapping[str, MetricInfo]
    protocol: Mapping[str, str]
    chance: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Callable[[], dict[str, Measurement]]] = field(default_factory=dict)
    held_out: bool = False
    raw: bool = True


def evaluate_task(
    task: Task, encoders: Mapping[str, tuple[str, Mapping[str, Tensor]]], *, seed: int = 0, remark: str = ""
) -> Evaluation:
    """Measure encoders, and the baselines that need none, side by side.

    Args:
        task: What to measure.
        encoders: Name ("trained", "untrained", "raw") → label for people, and the rows of each side. The first is the
            one in question; its paired difference from every other row is given where samples have scores of their own.
        seed: Of the bootstrap of these differences.
        remark: What else a reader of the numbers must know; stands in the protocol.
    """
    rows = [Row(name, label, task.measure(sides)) for name, (label, sides) in encoders.items()]
    rows += [Row(label.lower().replace(" ", "-"), label, measured()) for label, measured in task.baselines.items()]
    occurring = [key for key in task.metrics if any(key in row.metrics for row in rows)]
    return Evaluation(
        protocol={"task": task.name} | dict(task.protocol) | ({"remark": remark} if remark else {}),
        chance={key: task.chance[key] for key in occurring if key in task.chance},
        rows=rows,
        metrics={key: task.metrics[key] for key in occurring},
        differences=[difference for row in rows[1:] for difference in differences(rows[0], row, seed=seed)],
    )
