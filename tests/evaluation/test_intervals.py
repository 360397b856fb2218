from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from twofold.errors import DataError
from twofold.evaluation import bootstrap_difference, bootstrap_mean, mean_interval, paired_difference

_numbers = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        sample = generator.random(80) < 0.7
        interval = bootstrap_mean(sample, resamples=300, generator=generator)
        covered += interval.low <= 0.7 <= interval.high
    assert 0.89 <= covered / 300 <= 0.985


def test_bootstrap_of_a_proportion_is_near_the_normal_interval() -> None:
    scores = np.arange(1000) % 4 == 0
    interval = bootstrap_mean(scores, resamples=4000)
    half = 1.96 * math.sqrt(0.25 * 0.75 / 1000)
    assert interval.mean == 0.25
    assert interval.low == pytest.approx(0.25 - half, abs=0.003)
    assert interval.high == pytest.approx(0.25 + half, abs=0.003)


def test_bootstrap_is_deterministic_and_narrows_with_level() -> None:
    scores = np.random.default_rng(1).random(50)
    assert bootstrap_mean(scores) == bootstrap_mean(scores)
    assert bootstrap_mean(scores) != bootstrap_mean(scores, generator=np.random.default_rng(9))
    wide, narrow = bootstrap_mean(scores, level=0.99), bootstrap_mean(scores, level=0.5)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


@given(_numbers)
@settings(deadline=None, max_examples=30)
def test_bootstrap_stays_within_the_data_and_an_item_compared_with_itself_is_zero(scores: list[float]) -> None:
    interval = bootstrap_mean(scores, resamples=50)
    assert min(scores) - 1e-9 <= interval.low <= interval.high <= max(scores) + 1e-9
    assert tuple(bootstrap_difference(scores, scores, resamples=50)) == (0.0, 0.0, 0.0)


def test_pairing_is_sharper_than_two_separate_intervals() -> None:
    difficulty = np.random.default_rng(0).random(200)
    paired = bootstrap_difference(difficulty + 0.01, difficulty)
    assert paired.low == pytest.approx(0.01)
    alone = bootstrap_mean(difficulty)
    assert alone.high - alone.low > 0.05


@given(_numbers)
@settings(deadline=None, max_examples=50)
def test_mean_interval_equals_scipy(values: list[float]) -> None:
    spread = np.std(values, ddof=1)
    if np.ptp(values) < 1e-6:
        return
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), spread / math.sqrt(len(values)))
    mean, ours_low, ours_high = mean_interval(values)
    assert mean == pytest.approx(np.mean(values))
    assert (ours_low, ours_high) == pytest.approx((low, high), abs=1e-9)


def test_paired_difference_by_hand_and_antisymmetric() -> None:
    # differences 1, 2, 3: mean 2, sd 1, t(0.975, 2) = 4.302653
    mean, low, high = paired_difference([2, 4, 6], [1, 2, 3])
    assert mean == 2
    assert high - mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert mean - low == pytest.approx(high - mean)
    assert paired_difference([1, 2, 3], [2, 4, 6]) == pytest.approx((-mean, -high, -low))


def test_equal_differences_have_no_width_and_one_seed_no_bound() -> None:
    assert tuple(mean_interval([0.1, 0.1, 0.1])) == pytest.approx((0.1, 0.1, 0.1), abs=1e-15)
    assert paired_difference([0.8, 0.7], [0.8, 0.7]) == (0, 0, 0)
    assert paired_difference([0.9], [0.7]) == pytest.approx((0.2, -math.inf, math.inf))


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="same seeds on both sides; got 2 and 3"):
        paired_difference([1, 2], [1, 2, 3])
    with pytest.raises(DataError, match="1 of 3 numbers are NaN or infinite, the first at 1"):
        bootstrap_mean([1.0, math.nan, 2.0])
    with pytest.raises(DataError, match="at least one number"):
        mean_interval([])
