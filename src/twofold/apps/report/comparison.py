"""Methods side by side: means over seeds, paired differences against the first method, curves by method."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twofold.apps.report.charts import PALETTE_SIZE, Curve, Dot, DotPlot, LineChart, column, dot_plot, line_chart
from twofold.apps.report.data import ComparisonData, Difference, MethodRuns
from twofold.apps.report.quantities import Metric
from twofold.apps.report.tables import Tone, judge

CONFIDENCE = 0.95
CURVE_POINTS = 240  # a curve; there is one for each method and seed


@dataclass(frozen=True)
class Mean:
    """Mean and spread over seeds, printed."""

    text: str
    spread: str
    best: bool


@dataclass(frozen=True)
class Shift:
    """A paired difference against the first method, printed and judged; ``tone`` is ``None`` without an interval."""

    text: str
    span: str
    tone: Tone | None


@dataclass(frozen=True)
class MethodRow:
    """One method over all metrics."""

    name: str
    slot: int
    seeds: int
    means: list[Mean | None]
    shifts: list[Shift | None]


@dataclass(frozen=True)
class Comparison:
    """Everything that the page shows of a comparison."""

    metrics: list[Metric]
    rows: list[MethodRow]
    chance: list[str]
    plots: list[DotPlot]
    loss: LineChart | None
    interval_note: str


def comparison(data: ComparisonData) -> Comparison:
    """Tables, dot plots and curves of a comparison, worked out."""
    metrics = [Metric.read(key, about) for key, about in data.metrics.items()]
    first = data.methods[0]
    best = [_best(metric, data.methods) for metric in metrics]
    rows = [
        MethodRow(
            method.name,
            slot_of(place),
            len({seed for values in method.values.values() for seed in values}),
            [_mean(metric, method, method.name in winners) for metric, winners in zip(metrics, best, strict=True)],
            [None if method is first else _shift(metric, method, first) for metric in metrics],
        )
        for place, method in enumerate(data.methods)
    ]
    chances = [metric.text(data.chance[metric.key]) if metric.key in data.chance else "" for metric in metrics]
    plots = [
        dot_plot(
            metric, _dots(metric, data.methods, winners), note=_direction(metric), chance=data.chance.get(metric.key)
        )
        for metric, winners in zip(metrics, best, strict=True)
    ]
    note = data.difference_interval or "95 % t-interval over the seeds that both methods share, seed paired with seed"
    return Comparison(metrics, rows, chances, [plot for plot in plots if plot], _loss(data.methods), note)


def slot_of(place: int) -> int:
    """Colour of the method in that place; colours repeat after ten."""
    return 1 + place % PALETTE_SIZE


def paired_difference(values: Mapping[int, float], base: Mapping[int, float]) -> tuple[float, Difference | None]:
    """Mean difference over common seeds and its 95 % t-interval.

    The interval is ``None`` when fewer than two seeds are shared; the mean is NaN when none is.
    """
    gaps = [values[seed] - base[seed] for seed in sorted(values) if seed in base]
    gaps = [gap for gap in gaps if math.isfinite(gap)]
    if not gaps:
        return math.nan, None
    mean = statistics.fmean(gaps)
    if len(gaps) < 2:
        return mean, None
    from scipy.stats import t

    half = float(t.ppf(0.5 + CONFIDENCE / 2, len(gaps) - 1)) * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return mean, {"value": mean, "low": mean - half, "high": mean + half}


def _finite(method: MethodRuns, metric: Metric) -> list[float]:
    return [value for _, value in sorted(method.values.get(metric.key, {}).items()) if math.isfinite(value)]


def _best(metric: Metric, methods: Sequence[MethodRuns]) -> set[str]:
    means = {method.name: statistics.fmean(v) for method in methods if (v := _finite(method, metric))}
    if len(means) < 2:
        return set()
    best = max(means.values()) if metric.higher_is_better else min(means.values())
    return {name for name, mean in means.items() if mean == best}


def _direction(metric: Metric) -> str:
    direction = "higher is better" if metric.higher_is_better else "lower is better"
    return f"{direction}; rings: single seeds; dot and line: mean ± standard deviation"


def _mean(metric: Metric, method: MethodRuns, best: bool) -> Mean | None:
    values = _finite(method, metric)
    if not values:
        return None
    spread = f"±\u00a0{metric.bare(statistics.stdev(values))}" if len(values) > 1 else ""
    return Mean(metric.text(statistics.fmean(values)), spread, best)


def _shift(metric: Metric, method: MethodRuns, first: MethodRuns) -> Shift | None:
    given = method.differences.get(metric.key)
    mean, gap = paired_difference(method.values.get(metric.key, {}), first.values.get(metric.key, {}))
    gap = given or gap
    if gap is None:
        return None if math.isnan(mean) else Shift(metric.difference(mean), "one seed, no interval", None)
    span = f"{metric.signed(gap['low'])} to {metric.signed(gap['high'])}"
    return Shift(metric.difference(gap["value"]), span, judge(metric, gap["low"], gap["high"]))


def _dots(metric: Metric, methods: Sequence[MethodRuns], best: set[str]) -> list[Dot]:
    dots = []
    for place, method in enumerate(methods):
        values = _finite(method, metric)
        if values:
            mean = statistics.fmean(values)
            deviation = statistics.stdev(values) if len(values) > 1 else None
            interval = None if deviation is None else (mean - deviation, mean + deviation)
            dots.append(Dot(method.name, mean, interval, values, slot_of(place), method.name in best))
    return dots


def _loss(methods: Sequence[MethodRuns]) -> LineChart | None:
    curves = [
        Curve(method.name, *column(lines, "loss"), slot=slot_of(place))
        for place, method in enumerate(methods)
        for _, lines in sorted(method.curves.items())
    ]
    note = "One line a seed. Losses of different objectives differ in height by nature; compare their shapes only."
    return line_chart("Loss", curves, note=note, smooth=False, limit=CURVE_POINTS)
