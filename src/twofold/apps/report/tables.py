"""An evaluation as a table, as dot plots, and as a verdict in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from twofold.apps.report.charts import Dot, DotPlot, dot_plot
from twofold.apps.report.quantities import Metric

Tone = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class Cell:
    """One printed value with its interval."""

    text: str
    spread: str
    best: bool


@dataclass(frozen=True)
class TableRow:
    """One metric over all systems."""

    title: str
    note: str
    cells: list[Cell | None]
    chance: str


@dataclass(frozen=True)
class Table:
    """Metrics down, systems across.

    Args:
        systems: Headings of the columns.
        rows: One a metric.
        chance: Whether the chance column has anything to show.
        note: What the intervals are, if all metrics share that.
    """

    systems: list[str]
    rows: list[TableRow]
    chance: bool
    note: str


@dataclass(frozen=True)
class Gain:
    """What the trained encoder gained over one baseline, as a sentence and as a judgement."""

    amount: str
    against: str
    span: str
    tone: Tone


@dataclass(frozen=True)
class Verdict:
    """The outcome in plain words."""

    title: str
    sentence: str
    gains: list[Gain]
    note: str
    tone: Tone


@dataclass(frozen=True)
class Results:
    """Everything that the page shows of an evaluation."""

    table: Table
    plots: list[DotPlot]
    protocol: dict[str, Any]
    verdict: Verdict | None


def results(evaluation: Mapping[str, Any]) -> Results | None:
    """An evaluation as the page shows it, or ``None`` if it holds no rows.

    ``rows`` and ``metrics`` are as in ``evaluation.json``. Two parts are optional there: ``chance`` and
    ``differences`` (a list of ``{"metric", "against", "value", "low", "high"}``: trained minus that baseline, paired).
    """
    rows = [row for row in evaluation.get("rows", ()) if row.get("metrics")]
    if not rows:
        return None
    metrics = read_metrics(evaluation.get("metrics", {}), rows)
    chance = evaluation.get("chance") or {}
    best = {metric.key: _best(metric, rows) for metric in metrics}
    intervals = {metric.interval for metric in metrics}
    shared = intervals.pop() if len(intervals) == 1 else ""
    table_rows = [
        TableRow(
            metric.title,
            _direction(metric) if shared else _note(metric),
            [_cell(metric, row, row["name"] in best[metric.key]) for row in rows],
            metric.text(chance[metric.key]) if metric.key in chance else "",
        )
        for metric in metrics
    ]
    plots = [
        dot_plot(metric, _dots(metric, rows, best[metric.key]), note=_direction(metric), chance=chance.get(metric.key))
        for metric in metrics
    ]
    return Results(
        Table([_label(row) for row in rows], table_rows, any(row.chance for row in table_rows), shared),
        [plot for plot in plots if plot is not None],
        dict(evaluation.get("protocol") or {}),
        verdict(metrics[0], rows, chance, evaluation.get("differences") or []),
    )


def read_metrics(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """The metrics of an evaluation in their declared order, then those that only the rows know."""
    units: dict[str, str] = {}
    for row in rows:
        for key, entry in row["metrics"].items():
            units[key] = units.get(key) or str(entry.get("unit", ""))
    keys = [key for key in about if key in units] + [key for key in units if key not in about]
    return [Metric.read(key, about.get(key, {}), units[key]) for key in keys]


def gap_interval(left: tuple[float, float, float], right: tuple[float, float, float]) -> tuple[float, float, float]:
    """The difference of two values, each ``(value, low, high)``, with an interval from theirs.

    The method of variance estimates recovery (Zou & Donner, Statistics in Medicine 2008), which takes the two as
    independent; for two encoders measured on the same items it is therefore wider than a paired interval.
    """
    gap = left[0] - right[0]
    below = math.hypot(left[0] - left[1], right[2] - right[0])
    above = math.hypot(left[2] - left[0], right[0] - right[1])
    return gap, gap - below, gap + above


def judge(metric: Metric, low: float, high: float) -> Tone:
    """Better or worse if the interval of the difference leaves out zero, unclear otherwise."""
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == metric.higher_is_better else "worse"


def verdict(
    metric: Metric,
    rows: Sequence[Mapping[str, Any]],
    chance: Mapping[str, float],
    differences: Sequence[Mapping[str, Any]],
) -> Verdict | None:
    """The trained encoder against its baselines by the first metric; ``None`` without both."""
    found = {row["name"]: (row, _interval(row, metric)) for row in rows if metric.key in row["metrics"]}
    baselines = [name for name in found if name != "trained"]
    if "trained" not in found or not baselines:
        return None
    trained = found["trained"][1]
    spoken = {name: "untrained" if name == "untrained" else _lower(_label(found[name][0])) for name in baselines}
    against = " and ".join(f"{metric.text(found[name][1][0])} {spoken[name]}" for name in baselines)
    sentence = f"{metric.title}: {metric.text(trained[0])} against {against}"
    if metric.key in chance:
        sentence += f"; chance is {metric.text(chance[metric.key])}"
    paired = {gap["against"]: gap for gap in differences if gap["metric"] == metric.key}
    gains = []
    for name in baselines:
        given = paired.get(name)
        gap = (given["value"], given["low"], given["high"]) if given else gap_interval(trained, found[name][1])
        tone = judge(metric, gap[1], gap[2])
        span = "" if gap[1] == gap[2] else f"interval {metric.signed(gap[1])} to {metric.signed(gap[2])}"
        gains.append(Gain(metric.difference(gap[0]), _against(name, spoken[name]), span, tone))
    return Verdict(_title(gains), sentence + ".", gains, _intervals_note(metric, baselines, paired), _tone(gains))


def _against(name: str, spoken: str) -> str:
    return "the untrained encoder" if name == "untrained" else spoken


def _tone(gains: Sequence[Gain]) -> Tone:
    tones = {gain.tone for gain in gains}
    return "worse" if "worse" in tones else "unclear" if "unclear" in tones else "better"


def _title(gains: Sequence[Gain]) -> str:
    worse = [gain.against for gain in gains if gain.tone == "worse"]
    unclear = [gain.against for gain in gains if gain.tone == "unclear"]
    if worse:
        return f"Training ended below {' and '.join(worse)}."
    if unclear:
        return f"No clear gain over {' and '.join(unclear)}."
    return "Training paid off."


def _intervals_note(metric: Metric, baselines: Sequence[str], paired: Mapping[str, Any]) -> str:
    if not metric.interval:
        return ""
    note = f"Intervals: {metric.interval}."
    if not all(name in paired for name in baselines):
        note += " Those of the differences treat the two sides as independent, which errs on the wide side."
    return note


def _note(metric: Metric) -> str:
    worded = "" if metric.percent or metric.unit.lower() in metric.title.lower() else f"; unit: {metric.unit}"
    interval = f"; interval: {metric.interval}" if metric.interval not in ("", "none") else ""
    return _direction(metric) + worded + interval


def _direction(metric: Metric) -> str:
    return "higher is better" if metric.higher_is_better else "lower is better"


def _label(row: Mapping[str, Any]) -> str:
    return str(row.get("label") or row["name"])


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _interval(row: Mapping[str, Any], metric: Metric) -> tuple[float, float, float]:
    entry = row["metrics"][metric.key]
    value = float(entry["value"])
    low, high = entry.get("low"), entry.get("high")
    return value, value if low is None else float(low), value if high is None else float(high)


def _best(metric: Metric, rows: Sequence[Mapping[str, Any]]) -> set[str]:
    values = {row["name"]: float(row["metrics"][metric.key]["value"]) for row in rows if metric.key in row["metrics"]}
    values = {name: value for name, value in values.items() if math.isfinite(value)}
    if len(values) < 2:
        return set()
    best = max(values.values()) if metric.higher_is_better else min(values.values())
    return {name for name, value in values.items() if value == best}


def _cell(metric: Metric, row: Mapping[str, Any], best: bool) -> Cell | None:
    if metric.key not in row["metrics"]:
        return None
    value, low, high = _interval(row, metric)
    return Cell(metric.text(value), metric.spread(value, low, high) if low != high else "", best)


def _dots(metric: Metric, rows: Sequence[Mapping[str, Any]], best: set[str]) -> list[Dot]:
    dots = []
    for row in rows:
        if metric.key in row["metrics"]:
            value, low, high = _interval(row, metric)
            interval = (low, high) if low != high else None
            slot = 0 if row["name"] == "trained" else None
            dots.append(Dot(_label(row), value, interval, slot=slot, best=row["name"] in best))
    return dots
