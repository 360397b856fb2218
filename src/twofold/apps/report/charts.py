"""Geometry of the charts: axes with round ticks, curves of at most 600 points, dots with whiskers.

Nothing here writes markup. The macros in ``templates/charts.html`` draw these objects, so another page can use both.
Positions are percentages of the plot area, so a chart fits any width while its letters keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twofold.apps.report.quantities import MINUS, Metric, number

MAX_POINTS = 600
SMOOTH_FROM = 120  # curves with fewer logged values are drawn as they are
PALETTE_SIZE = 10
VIEW = 1000  # side of the square in which curves are drawn before they are stretched to the plot area

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in per cent of its length."""

    label: str
    percent: float


@dataclass(frozen=True)
class Axis:
    """A range with its ticks."""

    low: float
    high: float
    ticks: list[Tick]

    def percent(self, value: float) -> float:
        """Place of a value, in per cent of the axis, kept inside it."""
        return round(min(max((value - self.low) / (self.high - self.low), 0.0), 1.0) * 100, 3)


def nice_step(extent: float, count: int) -> float:
    """The round step (1, 2, 2.5 or 5 times a power of ten) that gives about ``count`` ticks over ``extent``."""
    rough = extent / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))


def tick_labels(values: Sequence[float], step: float) -> list[str]:
    """Labels with just the decimals that the step needs; thousands as k, millions as M, tiny ones at their shortest."""
    largest = max(abs(value) for value in values)
    if largest and (largest < 0.01 or largest >= 1e10):
        texts = ["0" if abs(value) < step / 2 else f"{value:.3g}" for value in values]
        return [text.replace("e-0", "e-").replace("e+", "e").replace("-", MINUS) for text in texts]
    divisor, letter = next(((d, s) for d, s in ((1e6, "M"), (1e3, "k")) if largest >= 10 * d), (1.0, ""))
    scaled = step / divisor
    decimals = next((d for d in range(7) if abs(scaled * 10**d - round(scaled * 10**d)) < 1e-6 * 10**d * scaled), 7)
    return [number(v / divisor, decimals) + (letter if abs(v) > step / 2 else "") for v in values]


def axis(low: float, high: float, *, count: int = 5, expand: bool = True) -> Axis:
    """An axis over a range.

    Args:
        low: Smallest value to show.
        high: Largest value to show; if equal to ``low``, the range is widened around it.
        count: About how many steps.
        expand: Widen the range to whole steps (vertical axes); otherwise keep it and put the ticks inside it.
    """
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    step = nice_step(high - low, count)
    slack = 1e-9
    first = math.floor(low / step + slack) if expand else math.ceil(low / step - slack)
    last = math.ceil(high / step - slack) if expand else math.floor(high / step + slack)
    values = [k * step for k in range(first, last + 1)]
    if expand:
        low, high = values[0], values[-1]
    labels = tick_labels(values, step) if values else []
    places = [round((value - low) / (high - low) * 100, 3) for value in values]
    return Axis(low, high, [Tick(label, place) for label, place in zip(labels, places, strict=True)])


def downsample(x: NDArray[np.float64], y: NDArray[np.float64], limit: int = MAX_POINTS) -> list[Point]:
    """At most ``limit`` points that keep every spike: the lowest and the highest value of each of ``limit / 2`` bins.

    Values that are not finite become ``None`` where no finite one shares their bin, which breaks the drawn line.
    """
    if len(x) <= limit:
        return [(float(a), float(b) if math.isfinite(b) else None) for a, b in zip(x, y, strict=True)]
    points: list[Point] = []
    for rows in np.array_split(np.arange(len(x)), limit // 2):
        finite = rows[np.isfinite(y[rows])]
        if not len(finite):
            points.append((float(x[rows[0]]), None))
            continue
        ends = sorted({int(finite[np.argmin(y[finite])]), int(finite[np.argmax(y[finite])])})
        points += [(float(x[row]), float(y[row])) for row in ends]
    return points


def smoothed(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Centred moving average over ``span`` values, fewer at the ends; gaps stay gaps. It does not lag."""
    finite = np.isfinite(values)
    totals = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    rows = np.arange(len(values))
    first, last = np.maximum(rows - span // 2, 0), np.minimum(rows + span // 2 + 1, len(values))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (totals[last] - totals[first]) / (counts[last] - counts[first])
    return np.where(finite, means, np.nan)


@dataclass(frozen=True)
class Curve:
    """What to draw: one value a step. Curves of one name share a colour and are averaged in the readout."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    slot: int = 0  # colour: 0 is the accent, 1..PALETTE_SIZE the palette


@dataclass(frozen=True)
class Series:
    """A drawn line. Faint ones lie behind their smoothed twin."""

    name: str
    slot: int
    faint: bool
    points: list[Point]
    path: str


@dataclass(frozen=True)
class Reference:
    """A dashed line across a chart."""

    label: str
    value: float
    percent: float


@dataclass(frozen=True)
class LineChart:
    """Curves over training, ready for the ``line_chart`` macro."""

    title: str
    note: str
    x_title: str
    x: Axis
    y: Axis
    series: list[Series]
    reference: Reference | None
    smooth: bool

    @property
    def names(self) -> list[tuple[str, int]]:
        """Name and colour of each kind of curve, once."""
        return list(dict.fromkeys((series.name, series.slot) for series in self.series))

    @property
    def summary(self) -> str:
        """The chart in words, for those who cannot see it."""
        parts = []
        for name, _ in self.names:
            lines = [s for s in self.series if s.name == name]
            values = [y for _, y in lines[-1].points if y is not None]
            if values:
                parts.append(f"{name} goes from {number(values[0])} to {number(values[-1])}")
        return f"{self.title}: " + "; ".join(parts) + "."

    def payload(self) -> dict[str, Any]:
        """What the script needs to answer a pointer."""
        return {
            "x": [self.x.low, self.x.high],
            "y": [self.y.low, self.y.high],
            "xTitle": self.x_title,
            "series": [
                {
                    "name": s.name,
                    "slot": s.slot,
                    "faint": s.faint,
                    "points": [[_short(a), _short(b)] for a, b in s.points],
                }
                for s in self.series
            ],
        }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}") if abs(value) < 1e5 else round(value, 1)


def line_chart(
    title: str,
    curves: Sequence[Curve],
    *,
    note: str = "",
    x_title: str = "step",
    reference: tuple[str, float] | None = None,
    smooth: bool = True,
    limit: int = MAX_POINTS,
) -> LineChart | None:
    """Curves on shared axes, or ``None`` if there is no finite value to draw.

    Long curves get a moving average on top and keep their own values, pale, behind it.
    """
    pairs = [(c, np.asarray(c.steps, dtype=np.float64), np.asarray(c.values, dtype=np.float64)) for c in curves]
    pairs = [(curve, x, y) for curve, x, y in pairs if np.isfinite(y).any()]
    if not pairs:
        return None
    heights = np.concatenate([y[np.isfinite(y)] for _, _, y in pairs])
    low, high = float(heights.min()), float(heights.max())
    if reference:
        low, high = min(low, reference[1]), max(high, reference[1])
    x_axis = _step_axis(min(float(x.min()) for _, x, _ in pairs), max(float(x.max()) for _, x, _ in pairs))
    y_axis = axis(low, high, count=4)
    series: list[Series] = []
    averaged = False
    for curve, x, y in pairs:
        lines = [(y, False)]
        if smooth and len(y) >= SMOOTH_FROM:
            averaged = True
            lines = [(y, True), (smoothed(y, len(y) // 40), False)]
        for values, faint in lines:
            points = downsample(x, values, limit)
            series.append(Series(curve.name, curve.slot, faint, points, _path(points, x_axis, y_axis)))
    series.sort(key=lambda one: not one.faint)
    line = Reference(reference[0], reference[1], y_axis.percent(reference[1])) if reference else None
    return LineChart(title, note, x_title, x_axis, y_axis, series, line, averaged)


def _step_axis(first: float, last: float) -> Axis:
    """The horizontal axis; it starts at zero where the first step is close to it."""
    return axis(0.0 if 0 <= first <= 0.05 * last else first, last, count=4, expand=False)


def _path(points: Sequence[Point], x: Axis, y: Axis) -> str:
    commands, pen_down = [], False
    for a, b in points:
        if b is None:
            pen_down = False
            continue
        across, down = x.percent(a) * VIEW / 100, VIEW - y.percent(b) * VIEW / 100
        commands.append(f"{'L' if pen_down else 'M'}{across:.1f} {down:.1f}")
        pen_down = True
    return "".join(commands)


@dataclass(frozen=True)
class Dot:
    """A value to place: with an interval (whiskers) and, over several seeds, the single values (rings)."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    singles: Sequence[float] = ()
    slot: int | None = None  # None: neutral grey
    best: bool = False


@dataclass(frozen=True)
class PlacedDot:
    """A dot in per cent of the axis, with its numbers in words."""

    name: str
    at: float
    whisker: tuple[float, float] | None
    singles: list[float]
    slot: int | None
    best: bool
    text: str
    spread: str


@dataclass(frozen=True)
class DotPlot:
    """One row a system, ready for the ``dot_plot`` macro."""

    title: str
    note: str
    x: Axis
    rows: list[PlacedDot]
    reference: Reference | None


def dot_plot(metric: Metric, dots: Sequence[Dot], *, note: str = "", chance: float | None = None) -> DotPlot | None:
    """Dots of one metric on one axis, or ``None`` without finite values. The axis need not begin at zero.

    The chance level is drawn unless that squeezes the dots into less than a fifth of the axis; then it is only named.
    """
    dots = [dot for dot in dots if math.isfinite(dot.value)]
    if not dots:
        return None
    shown = [value for dot in dots for value in (dot.value, *(dot.interval or ()), *dot.singles)]
    shown = [value for value in shown if math.isfinite(value)]
    if chance is not None:
        reach = max(*shown, chance) - min(*shown, chance)
        if reach > 5 * (max(shown) - min(shown)) and len(shown) > 1:
            note, chance = f"{note}; chance {metric.text(chance)} lies off the axis".lstrip("; "), None
        else:
            shown.append(chance)
    scale = metric.scale
    x = axis(min(shown) * scale, max(shown) * scale)
    rows = []
    for dot in dots:
        whisker, spread = None, ""
        if dot.interval and all(map(math.isfinite, dot.interval)):
            whisker = (x.percent(dot.interval[0] * scale), x.percent(dot.interval[1] * scale))
            spread = metric.spread(dot.value, *dot.interval)
        singles = [x.percent(single * scale) for single in dot.singles if math.isfinite(single)]
        at = x.percent(dot.value * scale)
        rows.append(PlacedDot(dot.name, at, whisker, singles, dot.slot, dot.best, metric.text(dot.value), spread))
    line = None if chance is None else Reference(f"chance {metric.text(chance)}", chance, x.percent(chance * scale))
    return DotPlot(metric.title, note, x, rows, line)


def column(lines: Sequence[Mapping[str, Any]], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of one key of ``metrics.jsonl``; where a resumed run repeats a step, the later line counts."""
    found: dict[float, float] = {}
    for row, line in enumerate(lines):
        value = line.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[float(line.get("step", row))] = float(value)
    steps = sorted(found)
    return steps, [found[step] for step in steps]
