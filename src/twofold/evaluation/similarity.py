"""How well similarities of pairs agree with people's scores: rank correlation with a bootstrap interval."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.evaluation.features import rows_at, unit_rows
from twofold.evaluation.intervals import Interval

_LEAST = 3


def pair_cosines(first: Tensor, second: Tensor) -> Tensor:
    """The cosine of each pair of rows, ``(n,)``; NaN where a row is.

    Args:
        first: Features ``(n, d)``.
        second: Features ``(n, d)``.

    Raises:
        DataError: If the shapes differ.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise DataError(f"pairs need two matrices of one shape, got {tuple(first.shape)} and {tuple(second.shape)}")
    return (unit_rows(first) * unit_rows(second)).sum(1)


def spearman(
    similarity: Tensor,
    scores: Tensor,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    generator: np.random.Generator | None = None,
) -> Interval:
    """Spearman's rank correlation, −1 to 1, with its percentile bootstrap interval over pairs; ties share a rank.

    Similarities that are all equal order nothing: their correlation is 0.

    Args:
        similarity: Of each pair, ``(n,)``.
        scores: What people said, ``(n,)``.
        level: Coverage of the interval, in (0, 1).
        resamples: Number of redrawn sets of pairs.
        generator: Source of the redraws; by default a fresh one with seed 0.

    Raises:
        DataError: If lengths differ, there are fewer than three pairs, a number is not finite, or all scores are equal.
    """
    if similarity.shape != scores.shape or similarity.ndim != 1:
        raise DataError(f"one score a pair is needed: {tuple(similarity.shape)} and {tuple(scores.shape)}")
    if len(scores) < _LEAST:
        raise DataError(f"a rank correlation needs at least {_LEAST} pairs, there are {len(scores)}")
    bad = (~(similarity.isfinite() & scores.isfinite())).nonzero().flatten()
    if len(bad):
        raise DataError(f"similarity of pairs: {rows_at(bad)} NaN or infinite; leave these pairs out")
    ours, theirs = (value.detach().cpu().double().numpy() for value in (similarity, scores))
    if np.ptp(theirs) == 0:
        raise DataError("all scores of the pairs are equal: there is no order to agree with")
    generator = np.random.default_rng(0) if generator is None else generator
    drawn = [_correlation(ours[i], theirs[i]) for i in generator.integers(len(ours), size=(resamples, len(ours)))]
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(_correlation(ours, theirs), float(low), float(high))


def readable_pairs(*sides: Tensor) -> Tensor:
    """Positions of the pairs of which all sides are finite, int64."""
    return torch.stack([side.isfinite().all(1) for side in sides]).all(0).nonzero().flatten()


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of the ranks; 0 where either side has no order."""
    from scipy.stats import rankdata

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
