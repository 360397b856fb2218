"""The shape of a set of embeddings: alignment and uniformity, which can be minimised, and measures that only watch.

All of them look at the rows they are given. In a distributed objective pass ``gather(rows)``
(:func:`twofold.contrast.gather.gather`), so that every process holds the value of the full batch.
"""

from __future__ import annotations

import math
from itertools import combinations

import torch
from torch import Tensor

from twofold.contrast.checks import check_rows, check_temperature, check_views, raise_precision
from twofold.contrast.directions import unit
from twofold.contrast.pairs import all_but_self
from twofold.contrast.reductions import logsumexp


def alignment(z: Tensor, *, alpha: float = 2.0) -> Tensor:
    """E ‖x − y‖^α over pairs of views of the same sample; 0 is perfect, 2 (for α = 2) is what chance gives.

    Args:
        z: ``(views, n, d)``, normalised inside; with more than two views the mean is over all pairs of views.
        alpha: α ≥ 1, the paper's 2; below 1 the gradient at equal rows is infinite.

    Raises:
        TypeError: If ``z`` is no floating tensor.
        ValueError: If ``z`` has another shape or fewer than two views, or ``alpha`` is below 1.

    Source: Wang & Isola, ICML 2020, §4.1.
    """
    check_views("z", z, samples=1)
    if not alpha >= 1:
        raise ValueError(f"alpha must be at least 1, got {alpha!r}.")
    (z,) = unit(z)
    return torch.stack([(a - b).norm(dim=-1).pow(alpha).mean() for a, b in combinations(z, 2)]).mean()


def uniformity(x: Tensor, *, t: float = 2.0) -> Tensor:
    """log E exp(−t ‖x_i − x_j‖²) over pairs i ≠ j; lower is more uniform, 0 is total collapse, memory is O(n·d).

    Args:
        x: ``(n, d)``, one view; normalised inside.
        t: Width of the kernel, t > 0; the paper's 2.

    Raises:
        TypeError: If ``x`` is no floating tensor.
        ValueError: If ``x`` has another shape or fewer than two rows, or ``t`` is not positive and finite.

    Source: Wang & Isola, ICML 2020, §4.1.
    """
    _check_matrix(x)
    check_temperature(t, "t")
    (x,) = unit(x)
    n = len(x)
    # On the sphere −t‖x − y‖² = 2t x·y − 2t.
    others = all_but_self(torch.arange(n, device=x.device))
    return logsumexp(x, x, scale=2 * t, rule=others).logsumexp(dim=0) - 2 * t - math.log(n * (n - 1))


@torch.no_grad()
def effective_rank(x: Tensor) -> Tensor:
    """RankMe: exp of the entropy of the singular values of centred ``x``; from 0 (all rows equal) to min(n − 1, d).

    The rows are centred, so that a common offset is not counted as a direction, and are *not* normalised. The paper
    takes the matrix as it is. No gradient.

    Args:
        x: ``(n, d)``; some thousand rows give a stable value.

    Raises:
        TypeError: If ``x`` is no floating tensor.
        ValueError: If ``x`` has another shape or fewer than two rows.

    Source: Garrido et al., ICML 2023; Roy & Vetterli, EUSIPCO 2007.
    """
    _check_matrix(x)
    (x,) = raise_precision(x)
    singular = torch.linalg.svdvals(x - x.mean(dim=0))
    # Without the threshold, rounding errors of equal rows would look like a full-rank cloud.
    negligible = max(x.shape) * torch.finfo(x.dtype).eps * torch.linalg.vector_norm(x)
    singular = torch.where(singular > negligible, singular, 0.0)
    total = singular.sum()
    share = singular / total
    return torch.where(total > 0, torch.special.entr(share).sum().exp(), total)


@torch.no_grad()
def tolerance(x: Tensor, labels: Tensor) -> Tensor:
    """Mean cosine of two different samples with the same label: 1 means that each class is one point. No gradient.

    Labels serve the analysis only. The counterpart of :func:`uniformity`: temperature trades one for the other.

    Args:
        x: ``(n, d)``, normalised inside.
        labels: int64 ``(n,)``; rows labelled −1 are left out.

    Raises:
        TypeError: If ``x`` is no floating tensor.
        ValueError: If shapes are wrong, or no two rows share a label.

    Source: Wang & Liu, CVPR 2021, §3.4 (there the mean is over all pairs, other labels counted as 0).
    """
    _check_matrix(x)
    if labels.shape != x.shape[:1]:
        raise ValueError(f"labels must be ({len(x)},), one per row of x, got shape {tuple(labels.shape)}.")
    (x,) = unit(x[labels >= 0])
    _, group, counts = labels[labels >= 0].unique(return_inverse=True, return_counts=True)
    pairs = (counts * (counts - 1)).sum()
    if pairs == 0:
        raise ValueError("labels has no two rows with the same label; tolerance compares rows of one class.")
    # Σ_{i≠j} x_i·x_j within a class = ‖Σ x_i‖² − Σ ‖x_i‖², so no pair is ever formed.
    sums = x.new_zeros(len(counts), x.shape[1]).index_add_(0, group, x)
    return (sums.square().sum() - x.square().sum()) / pairs


@torch.no_grad()
def standard_deviation(x: Tensor) -> Tensor:
    """√d × the mean deviation of the normalised rows' dimensions: near 1 is healthy, 0 is total collapse. No gradient.

    It sees collapse to a point, not to a line or a plane; :func:`effective_rank` sees those.

    Args:
        x: ``(n, d)``, normalised inside.

    Raises:
        TypeError: If ``x`` is no floating tensor.
        ValueError: If ``x`` has another shape or fewer than two rows.

    Source: Chen & He, CVPR 2021, §4.1 (there without √d: 1/√d is healthy).
    """
    _check_matrix(x)
    (x,) = unit(x)
    return x.std(dim=0, correction=0).mean() * math.sqrt(x.shape[1])


def _check_matrix(x: Tensor) -> None:
    check_rows("x", x)
    if x.ndim != 2:
        raise ValueError(f"x must be (n, d), got shape {tuple(x.shape)}; for several views use x.flatten(0, 1).")
