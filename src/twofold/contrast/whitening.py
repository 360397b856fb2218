"""Whitening over a batch: features without mean and correlation, group by group of their dimensions."""

from __future__ import annotations

import torch
from torch import Tensor

from twofold.contrast.checks import check_rows, raise_precision
from twofold.contrast.gather import gather

_LEAST_VARIANCE = 1e-5


def shuffled_group_whitening(x: Tensor, *, group_size: int, generator: torch.Generator | None = None) -> Tensor:
    """ZCA whitening of random groups of dimensions (Zhuo et al., ACL 2023, §3.2).

    The dimensions are permuted and cut into groups; within each group

        Y = X_c W,   X_c = X − mean(X),   W = U S^{−1/2} Uᵀ,   U S Uᵀ = X_cᵀ X_c / N

    and the dimensions go back to their places. So another permutation gives other features of the same rows: a view.
    W is a constant in the backward pass, as in the released code: differentiating an eigendecomposition gives NaN
    where eigenvalues coincide. Mean and covariance are those of all processes' rows, and so is the permutation.

    Args:
        x: ``(n, d)``; rows of all processes together must be more than ``group_size``.
        group_size: Dimensions of a group; divides d. Eigenvalues below 1e-5, of which the released code knows no
            bound, count as 1e-5.
        generator: Of the permutation; None: dimensions stay as they are.

    Raises:
        TypeError, ValueError: On no floating matrix, too few rows, or a size that does not divide d.
    """
    check_rows("x", x)
    if x.ndim != 2 or group_size < 1 or x.shape[1] % group_size:
        raise ValueError(f"group_size {group_size} must divide the {x.shape[-1]} dimensions of a matrix")
    (x,) = raise_precision(x)
    order = torch.arange(x.shape[1], device=x.device)
    if generator is not None:
        drawn = torch.randperm(x.shape[1], generator=generator, device=generator.device).to(x.device)
        order = gather(drawn[None])[0]  # the first process's: each draws its own
    everyone = gather(x[:, order])
    if len(everyone) <= group_size:
        raise ValueError(f"whitening groups of {group_size} dimensions needs more rows than that, got {len(everyone)}")
    mean = everyone.mean(0)
    groups = (x[:, order] - mean).unflatten(1, (-1, group_size)).transpose(0, 1)  # (groups, n, group_size)
    with torch.autocast(x.device.type, enabled=False):
        white = groups @ _whitener((everyone - mean).detach().unflatten(1, (-1, group_size)).transpose(0, 1))
    return white.transpose(0, 1).flatten(1)[:, order.argsort()]


def _whitener(groups: Tensor) -> Tensor:
    """Σ^{−1/2} of centred groups ``(groups, n, group_size)``."""
    values, vectors = torch.linalg.eigh(groups.transpose(1, 2) @ groups / groups.shape[1])
    return (vectors * values.clamp_min(_LEAST_VARIANCE).rsqrt()[:, None]) @ vectors.transpose(1, 2)
