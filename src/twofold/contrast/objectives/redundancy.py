"""Objectives on the statistics of the dimensions instead of on pairs of samples: Barlow Twins and VICReg.

Both take raw projections, *not* L2-normalised ones. Their statistics are over the rows of all processes, which every
process gathers; each then holds the loss of the full batch, whose gradient the one gather makes exact.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.contrast.checks import check_views, raise_precision
from twofold.contrast.gather import gather

# Added to a variance before its root, as batch normalisation and VICReg's reference code do.
_BATCH_NORM_EPSILON = 1e-5
_VICREG_EPSILON = 1e-4


class VICReg(NamedTuple):
    """VICReg's three terms before their weights, and their weighted sum ``total``, which is minimised."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor
    total: Tensor


def barlow_twins(z: Tensor, *, off_diagonal: float = 0.0051) -> Tensor:
    """Σ_i (1 − C_ii)² + λ Σ_{i≠j} C_ij², with C the cross-correlation of two views' dimensions over the batch.

    Every dimension is standardised over the batch first (biased variance, as batch normalisation does). With more
    than two views it is the mean over pairs of views. The value grows with d; the reference code scales it
    (by 0.024 on ImageNet), which is left to the caller.

    Args:
        z: ``(views, n, d)``, raw projections. Few samples make C noisy: the paper uses n ≥ 128, d up to 8192.
        off_diagonal: λ, the weight of the redundancy term; the paper's 0.0051.

    Raises:
        TypeError: If ``z`` is no floating tensor.
        ValueError: If ``z`` has another shape, or fewer than two views or samples.

    Source: Zbontar et al., ICML 2021, eqs. 1 and 2.
    """
    z = _all_rows(z)
    with torch.autocast(z.device.type, enabled=False):
        centred = z - z.mean(dim=1, keepdim=True)
        deviation = (centred.square().mean(dim=1, keepdim=True) + _BATCH_NORM_EPSILON).sqrt()
        standard = centred / deviation
        losses = [_barlow_pair(a, b, off_diagonal) for a, b in combinations(standard, 2)]
        return torch.stack(losses).mean()


def vicreg(z: Tensor, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0) -> VICReg:
    """Invariance of the views, a hinge that keeps each dimension's deviation above 1, and decorrelated dimensions.

    For two views: invariance = MSE(z_1, z_2) over n·d; variance = ½ Σ_v mean_d max(0, 1 − √(Var_d(z_v) + 1e-4)), with
    the ½ of the reference code; covariance = Σ_v Σ_{i≠j} Cov(z_v)_ij² / d, both with n − 1. With more than two views
    each term is the mean over pairs of views.

    Args:
        z: ``(views, n, d)``, raw projections.
        invariance, variance, covariance: The terms' weights; the paper's 25, 25, 1. A weight of 0 drops a term.

    Returns:
        The three unweighted terms, for the log, and ``total``.

    Raises:
        TypeError: If ``z`` is no floating tensor.
        ValueError: If ``z`` has another shape, or fewer than two views or samples.

    Source: Bardes et al., ICLR 2022, eqs. 1 to 6.
    """
    z = _all_rows(z)
    with torch.autocast(z.device.type, enabled=False):
        same = torch.stack([F.mse_loss(a, b) for a, b in combinations(z, 2)]).mean()
        spread = F.relu(1 - (z.var(dim=1) + _VICREG_EPSILON).sqrt()).mean()
        redundancy = 2 * torch.stack([_covariance_energy(view) for view in z]).mean()  # each pair has two views
    total = invariance * same + variance * spread + covariance * redundancy
    return VICReg(same, spread, redundancy, total)


def _all_rows(z: Tensor) -> Tensor:
    check_views("z", z)
    (z,) = raise_precision(z)
    return gather(z, dim=1)


def _barlow_pair(a: Tensor, b: Tensor, off_diagonal: float) -> Tensor:
    n = len(a)
    diagonal = (a * b).sum(dim=0) / n
    return (1 - diagonal).square().sum() + off_diagonal * _off_diagonal_energy(a, b) / n**2


def _covariance_energy(view: Tensor) -> Tensor:
    n, d = view.shape
    centred = view - view.mean(dim=0)
    return _off_diagonal_energy(centred, centred) / ((n - 1) ** 2 * d)


def _off_diagonal_energy(a: Tensor, b: Tensor) -> Tensor:
    """The sum of the squared off-diagonal entries of AᵀB, for ``(n, d)`` each."""
    n, d = a.shape
    if d <= 2 * n:
        product = a.T @ b
        return product.square().sum() - product.diagonal().square().sum()
    # ‖AᵀB‖² = ⟨AAᵀ, BBᵀ⟩: n × n instead of d × d, where a batch of 256 with 8192 dimensions costs 1/16 of the work.
    return ((a @ a.T) * (b @ b.T)).sum() - (a * b).sum(dim=0).square().sum()
