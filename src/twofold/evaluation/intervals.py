"""Intervals: percentile bootstrap over test items, Student's t over seeds or episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from twofold.errors import DataError

_INDICES_AT_ONCE = 2_000_000


class Interval(NamedTuple):
    """A mean and the ends of its interval, in the unit of what was averaged."""

    mean: float
    low: float
    high: float


def bootstrap_mean(
    scores: npt.ArrayLike, *, level: float = 0.95, resamples: int = 2000, generator: np.random.Generator | None = None
) -> Interval:
    """Mean of per-item scores with its percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13).

    The items are redrawn, the encoder and the probe are not: the interval says how much the number depends on which
    items happened to be in the test set. Scores that are all equal give an interval of width 0.

    Args:
        scores: One score an item (n,), such as 0/1 for wrong/right.
        level: Coverage, in (0, 1).
        resamples: Number of redrawn test sets.
        generator: Source of the redraws; by default a fresh one with seed 0.

    Raises:
        DataError: If there are no scores or some are not finite.
    """
    values = _finite_vector(scores, "scores")
    generator = np.random.default_rng(0) if generator is None else generator
    rows = max(1, _INDICES_AT_ONCE // len(values))
    means: list[np.ndarray] = []
    for start in range(0, resamples, rows):
        drawn = generator.integers(len(values), size=(min(rows, resamples - start), len(values)))
        means.append(values[drawn].mean(axis=1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Interval(float(values.mean()), float(low), float(high))


def bootstrap_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    generator: np.random.Generator | None = None,
) -> Interval:
    """Mean of `a - b` over the same items with its percentile bootstrap interval; pairing removes item difficulty.

    Args:
        a, b: Scores of two encoders on the same items in the same order, (n,) each.
        level, resamples, generator: As in `bootstrap_mean`.

    Raises:
        DataError: If the two differ in length or are not finite.
    """
    first, second = _paired(a, b, "items")
    return bootstrap_mean(first - second, level=level, resamples=resamples, generator=generator)


def mean_interval(values: npt.ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean of independent repetitions with its Student-t interval.

    One repetition says nothing of the spread: the ends are then minus and plus infinity.

    Args:
        values: One number a repetition (seed, episode), (n,).
        level: Coverage, in (0, 1).

    Raises:
        DataError: If there are no values or some are not finite.
    """
    from scipy.stats import t

    sample = _finite_vector(values, "values")
    mean = float(sample.mean())
    if len(sample) == 1:
        return Interval(mean, -np.inf, np.inf)
    # Equal numbers have a spread of exactly 0, which the rounding of their mean would hide.
    spread = 0.0 if np.ptp(sample) == 0 else float(sample.std(ddof=1))
    half = float(t.ppf((1 + level) / 2, len(sample) - 1)) * spread / len(sample) ** 0.5
    return Interval(mean, mean - half, mean + half)


def paired_difference(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> Interval:
    """Mean of `a - b` over seeds with its Student-t interval; `a[i]` and `b[i]` are two arms of the same seed.

    Args:
        a, b: One number a seed, same seeds in the same order.
        level: Coverage, in (0, 1).

    Raises:
        DataError: If the two differ in length, are empty or not finite.
    """
    first, second = _paired(a, b, "seeds")
    return mean_interval(first - second, level=level)


def _paired(a: npt.ArrayLike, b: npt.ArrayLike, what: str) -> tuple[np.ndarray, np.ndarray]:
    first, second = _finite_vector(a, "the first side"), _finite_vector(b, "the second side")
    if len(first) != len(second):
        raise DataError(
            f"a paired difference needs the same {what} on both sides; got {len(first)} and {len(second)} numbers"
        )
    return first, second


def _finite_vector(values: npt.ArrayLike, name: str) -> np.ndarray:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0:
        raise DataError(f"{name} must be a list of at least one number; got shape {vector.shape}")
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise DataError(f"{name}: {bad.size} of {vector.size} numbers are NaN or infinite, the first at {bad[0]}")
    return vector
