"""What an evaluation says: numbers with intervals, chance levels and the protocol they were measured under."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from twofold.errors import DataError


@dataclass(frozen=True)
class Measurement:
    """One number about one encoder.

    Attributes:
        value: The number, in `unit`.
        low, high: Ends of its 95 % interval; None where the number has none (geometry).
        unit: What the number counts, such as "accuracy".
        n: Test items (or queries) it is about.
        note: What the reader should know of this one number, such as a capped k.
        per_item: Score of each test item (test items,), NaN where it was not scored; not written to JSON.
    """

    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    n: int = 0
    note: str = ""
    per_item: Tensor | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class MetricInfo:
    """How to read a metric: its name in words, its direction and what its interval is."""

    title: str
    higher_is_better: bool = True
    interval: str = "none"


@dataclass(frozen=True)
class Row:
    """All measurements of one encoder; `name` is "trained", "untrained" or "raw", `label` is what people read."""

    name: str
    label: str
    metrics: dict[str, Measurement]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Difference:
    """First row minus row `against`, over the same test items, with its paired 95 % bootstrap interval."""

    metric: str
    against: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """Several encoders under one protocol.

    Attributes:
        protocol: Free text by topic: split, bank, seeds, one entry a metric group.
        chance: What knowing nothing scores, by metric.
        rows: The encoders; the first is the one in question, the others are its baselines.
        metrics: How to read each metric that occurs in a row.
        differences: First row against each other row, where per-item scores exist.
    """

    protocol: dict[str, str]
    chance: dict[str, float]
    rows: list[Row]
    metrics: dict[str, MetricInfo]
    differences: list[Difference] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes (no NaN, no tensors); `from_json` reads it back."""
        return {
            "protocol": dict(self.protocol),
            "chance": dict(self.chance),
            "rows": [_row_to_json(row) for row in self.rows],
            "metrics": {
                key: {"title": info.title, "higher_is_better": info.higher_is_better, "interval": info.interval}
                for key, info in self.metrics.items()
            },
            "differences": [
                {"metric": d.metric, "against": d.against, "value": d.value, "low": d.low, "high": d.high}
                for d in self.differences
            ],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Evaluation:
        """Read what `to_json` wrote; keys it does not know are left aside.

        Raises:
            DataError: If a part that is needed is missing or is of the wrong kind.
        """
        try:
            return cls(
                protocol=dict(document["protocol"]),
                chance=dict(document["chance"]),
                rows=[_row_from_json(row) for row in document["rows"]],
                metrics={
                    key: MetricInfo(info["title"], info["higher_is_better"], info["interval"])
                    for key, info in document["metrics"].items()
                },
                differences=[
                    Difference(d["metric"], d["against"], d["value"], d["low"], d["high"])
                    for d in document.get("differences", [])
                ],
            )
        except KeyError as error:
            raise DataError(f"not an evaluation result: {error} is missing") from error
        except (TypeError, AttributeError, ValueError) as error:
            raise DataError(f"not an evaluation result: {error}") from error

    def to_text(self) -> str:
        """A plain table, one line a metric and one column an encoder, then differences, warnings and protocol."""
        parts = [_metric_table(self)]
        if self.differences:
            parts.append(_difference_table(self))
        warnings = [f"  {row.label}: {text}" for row in self.rows for text in row.warnings]
        if warnings:
            parts.append("Warnings\n" + "\n".join(warnings))
        if self.protocol:
            parts.append("Protocol\n" + "\n".join(f"  {topic}: {text}" for topic, text in self.protocol.items()))
        return "\n\n".join(parts) + "\n"


def _row_to_json(row: Row) -> dict[str, Any]:
    metrics = {
        key: {
            "value": _finite_or_none(m.value),
            "low": _finite_or_none(m.low),
            "high": _finite_or_none(m.high),
            "unit": m.unit,
            "n": m.n,
            "note": m.note,
        }
        for key, m in row.metrics.items()
    }
    return {"name": row.name, "label": row.label, "metrics": metrics, "warnings": list(row.warnings)}


def _row_from_json(row: Mapping[str, Any]) -> Row:
    metrics = {
        key: Measurement(
            value=math.nan if m["value"] is None else float(m["value"]),
            low=m.get("low"),
            high=m.get("high"),
            unit=m.get("unit", ""),
            n=m.get("n", 0),
            note=m.get("note", ""),
        )
        for key, m in row["metrics"].items()
    }
    return Row(row["name"], row["label"], metrics, list(row.get("warnings", [])))


def _finite_or_none(number: float | None) -> float | None:
    return None if number is None or not math.isfinite(number) else number


def _number(value: float) -> str:
    # Adding 0.0 turns the -0.0 that rounding can leave into 0.0.
    return f"{round(value, 3) + 0.0:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _cell(measurement: Measurement | None) -> str:
    if measurement is None:
        return "-"
    if measurement.low is None or measurement.high is None:
        return _number(measurement.value)
    return f"{_number(measurement.value)} [{_number(measurement.low)}, {_number(measurement.high)}]"


def _metric_table(evaluation: Evaluation) -> str:
    header = ["metric", *(row.label for row in evaluation.rows), "chance"]
    body = []
    for key, info in evaluation.metrics.items():
        cells = [_cell(row.metrics.get(key)) for row in evaluation.rows]
        chance = _number(evaluation.chance[key]) if key in evaluation.chance else "-"
        body.append([info.title + ("" if info.higher_is_better else " (lower is better)"), *cells, chance])
    return _aligned([header, *body])


def _difference_table(evaluation: Evaluation) -> str:
    labels = {row.name: row.label for row in evaluation.rows}
    lines = [[f"{evaluation.rows[0].label} minus", "metric", "difference"]]
    for d in evaluation.differences:
        info = evaluation.metrics.get(d.metric)
        interval = f"{d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}]"
        lines.append([labels.get(d.against, d.against), info.title if info else d.metric, interval])
    return _aligned(lines)


def _aligned(lines: list[list[str]]) -> str:
    """Columns padded to their widest cell, a rule under the first line."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "  ".join("-" * w for w in widths), *text[1:]])
