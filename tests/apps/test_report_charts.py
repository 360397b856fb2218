"""Geometry of the report's charts, its numbers in words and its colours."""

from __future__ import annotations

import math
import re
from importlib.resources import files
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.apps.report.charts import Curve, Dot, axis, column, dot_plot, downsample, line_chart, smoothed
from twofold.apps.report.quantities import Metric, duration, number, value_text
from twofold.apps.report.tables import gap_interval

ACCURACY = Metric("knn", "20-NN accuracy", "accuracy", True, "95 % bootstrap over 359 test items")


# Axes and curves


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_vertical_axis_covers_its_range_with_few_evenly_spaced_ticks(low: float, extent: float) -> None:
    made = axis(low, low + extent)
    places = [tick.percent for tick in made.ticks]
    assert made.low <= low + 1e-6 * extent
    assert made.high >= low + extent * (1 - 1e-6)
    assert 2 <= len(places) <= 9
    assert places[0] == 0
    assert places[-1] == 100
    assert np.allclose(np.diff(places), 100 / (len(places) - 1), atol=0.01)


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-3.2, -1.1, ["−3.5", "−3.0", "−2.5", "−2.0", "−1.5", "−1.0"]),
        (0, 50_000, ["0", "10k", "20k", "30k", "40k", "50k"]),
        (0, 1e-3, ["0", "0.0002", "0.0004", "0.0006", "0.0008", "0.001"]),
    ],
)
def test_tick_labels(low: float, high: float, labels: list[str]) -> None:
    assert [tick.label for tick in axis(low, high).ticks] == labels


def test_constant_curve_has_an_axis_around_it() -> None:
    made = axis(3.0, 3.0)
    assert made.low < 3.0 < made.high


@given(st.integers(0, 2999))
def test_downsampling_keeps_every_spike(where: int) -> None:
    values = np.zeros(3000)
    values[where] = 7.0
    points = downsample(np.arange(3000.0), values)
    assert len(points) <= 600
    assert (float(where), 7.0) in points


def test_downsampling_keeps_gaps_and_short_curves() -> None:
    values = np.ones(1200)
    values[400:800] = np.nan
    assert any(y is None for _, y in downsample(np.arange(1200.0), values))
    assert downsample(np.arange(2.0), np.array([1.0, np.nan])) == [(0.0, 1.0), (1.0, None)]


def test_moving_average_is_centred_and_keeps_lines_and_gaps() -> None:
    line = np.arange(20.0)
    assert np.allclose(smoothed(line, 5)[2:-2], line[2:-2])
    line[7] = np.nan
    assert np.isnan(smoothed(line, 5)[7])
    assert np.isfinite(np.delete(smoothed(line, 5), 7)).all()


def test_gap_breaks_the_drawn_line() -> None:
    chart = line_chart("Loss", [Curve("loss", [0, 1, 2, 3, 4], [1, 2, math.nan, 2, 1])])
    assert chart is not None
    assert chart.series[0].path.count("M") == 2


def test_curve_without_finite_values_is_no_chart() -> None:
    assert line_chart("Loss", [Curve("loss", [0, 1], [math.nan, math.inf])]) is None


def test_reference_line_is_inside_the_axis() -> None:
    chart = line_chart("Loss", [Curve("loss", [0, 1], [1.0, 2.0])], reference=("chance", 9.0))
    assert chart is not None
    assert chart.y.high >= 9.0
    assert chart.reference is not None
    assert 80 < chart.reference.percent <= 100


def test_resumed_run_counts_the_later_line_of_a_step() -> None:
    lines: list[dict[str, Any]] = [
        {"step": 1, "loss": 5.0},
        {"step": 2, "loss": 4.0},
        {"step": 2, "loss": 3.0},
        {"step": 3},
        {"step": 4, "loss": "x"},
    ]
    assert column(lines, "loss") == ([1.0, 2.0], [5.0, 3.0])


def test_chance_far_from_all_dots_is_named_and_not_drawn() -> None:
    dots = [Dot("a", 0.80), Dot("b", 0.82)]
    far, near = dot_plot(ACCURACY, dots, chance=0.1), dot_plot(ACCURACY, dots, chance=0.78)
    assert far is not None
    assert near is not None
    assert far.reference is None
    assert "chance 10.0\u00a0% lies off the axis" in far.note
    assert near.reference is not None


# Numbers and words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1234567.0, "1\u202f234\u202f567"),
        (-0.5, "−0.5"),
        (1e-5, "1e−05"),
        (math.nan, "undefined"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_durations_and_values() -> None:
    assert [duration(s) for s in (4.21, 83, 3599.7, 7500)] == ["4.2 s", "1 min 23 s", "1 h 00 min", "2 h 05 min"]
    assert value_text(list(range(30))).endswith("18, 19, ... (30 in all)")
    assert value_text("x" * 1000) == "x" * 400 + " ... (1000 characters)"
    assert value_text({"crop": [0.2, 1.0], "flip": True, "seed": None}) == "crop: 0.2, 1, flip: yes, seed: none"


def test_shares_read_as_per_cent_and_their_differences_as_points() -> None:
    assert ACCURACY.text(0.8123) == "81.2\u00a0%"
    assert ACCURACY.difference(-0.05) == "−5.0\u00a0points"
    assert ACCURACY.spread(0.8, 0.78, 0.82) == "±\u00a02.0"
    assert ACCURACY.spread(0.8, 0.70, 0.82) == "70.0\u2009–\u200982.0"


def test_interval_of_a_gap_between_symmetric_values_adds_in_quadrature() -> None:
    gap, low, high = gap_interval((0.8, 0.77, 0.83), (0.6, 0.56, 0.64))
    assert (gap, low, high) == pytest.approx((0.2, 0.15, 0.25))


def test_palette_is_told_apart_by_red_and_green_blind_eyes() -> None:
    css = files("twofold.apps").joinpath("templates", "page.css").read_text(encoding="utf-8")
    to_lms = {  # Machado et al., IEEE TVCG 2009, severity 1
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    }
    rgb_to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])

    def linear(code: str) -> np.ndarray:
        channel = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)

    def lab(light: np.ndarray) -> np.ndarray:
        f = np.cbrt(np.maximum(rgb_to_xyz @ light / [0.9505, 1.0, 1.089], 1e-6))
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    for theme, paper in zip(css.split("@media screen")[:2], ("#ffffff", "#1b1e25"), strict=True):
        colours = [linear(code) for name, code in re.findall(r"--c(\d+): (#\w{6})", theme) if name != "0"]
        assert len(colours) == 10
        for colour in colours:
            light, dark = sorted([rgb_to_xyz[1] @ colour + 0.05, rgb_to_xyz[1] @ linear(paper) + 0.05], reverse=True)
            assert light / dark >= 2.9
        for matrix in to_lms.values():
            seen = [lab(np.clip(np.array(matrix) @ colour, 0, 1)) for colour in colours]
            assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 15
