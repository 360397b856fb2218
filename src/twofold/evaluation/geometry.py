"""Shape of the embedding on the sphere: is it spread, does it use its dimensions, do positives lie together?"""

from __future__ import annotations

import torch
from torch import Tensor

from twofold.contrast.objectives.geometry import (
    alignment,
    effective_rank,
    standard_deviation,
    tolerance,
    uniformity,
)
from twofold.evaluation.features import at_least_float32, unit_rows

COLLAPSE_VARIANCE = 1e-6
"""Below this total variance of unit vectors (at most 1) all vectors count as one."""


@torch.no_grad()
def geometry_report(
    x: Tensor, labels: Tensor | None = None, *, positives: Tensor | None = None, sample: int = 5000
) -> dict[str, float]:
    """The geometry of `x` that needs no training.

    - `uniformity`: log mean of exp(-2·squared distance) over pairs of unit vectors; lower is more even (Wang & Isola,
      ICML 2020, t = 2);
    - `effective_rank`: exp of the entropy of the singular values of the centred features (RankMe; Garrido et al.,
      ICML 2023);
    - `dimension_std`: mean over dimensions of the standard deviation of unit vectors, times √d: near 1 if healthy, 0 at
      collapse (Chen & He, CVPR 2021);
    - `tolerance`, with labels: mean cosine of pairs of the same class (Wang & Liu, CVPR 2021); 1 at collapse too;
    - `alignment`, with positives: mean squared distance of positive pairs (Wang & Isola, alpha = 2).

    Args:
        x: Features (n, d), finite, at least two rows.
        labels: Classes, int64 (n,); rows labelled -1 do not count.
        positives: Pairs that should lie together, (2, pairs, d).
        sample: Above this many rows, evenly spaced rows stand for all: some of the measures compare all pairs.
    """
    thin = torch.linspace(0, len(x) - 1, min(len(x), sample), device=x.device).round().long()
    x = at_least_float32(x)[thin]
    report = {
        "uniformity": float(uniformity(x)),
        "effective_rank": float(effective_rank(x)),
        "dimension_std": float(standard_deviation(x)),
    }
    if labels is not None:
        labels = labels.to(x.device)[thin]
        known = labels >= 0
        if (labels[known].unique(return_counts=True)[1] > 1).any():
            report["tolerance"] = float(tolerance(x, labels))
    if positives is not None and positives.shape[1] > 0:
        report["alignment"] = float(alignment(at_least_float32(positives)))
    return report


def is_collapsed(x: Tensor) -> bool:
    """Whether all rows of `x` (n, d) point the same way, or are zero: no metric can tell items apart then."""
    return len(x) > 1 and float(unit_rows(x).cpu().double().var(dim=0, correction=0).sum()) < COLLAPSE_VARIANCE


def matched_positions(query_codes: Tensor, gallery_codes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One positive pair a query: its position and that of a partner with the same code.

    The partners are taken in turn, so that each gallery item of a code serves about as often. Within one set (no
    gallery) an item is paired with the next of its code, never with itself.

    Args:
        query_codes: int64 (n,).
        gallery_codes: int64 (m,), or None to pair within `query_codes`.

    Returns:
        Positions of the queries that have a partner and positions of the partners, int64, of equal length.
    """
    pool = query_codes if gallery_codes is None else gallery_codes
    by_code = pool.argsort(stable=True)
    ordered = pool[by_code]
    queries = query_codes.argsort(stable=True)
    wanted = query_codes[queries]
    first = torch.searchsorted(ordered, wanted)
    count = torch.searchsorted(ordered, wanted, right=True) - first
    turn = torch.arange(len(wanted)) - torch.searchsorted(wanted, wanted)
    if gallery_codes is None:
        turn = turn + 1
    usable = count > (1 if gallery_codes is None else 0)
    place = first[usable] + turn[usable] % count[usable]
    return queries[usable], by_code[place]
