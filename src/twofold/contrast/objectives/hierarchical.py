"""Contrast of steps at every scale of time, as TS2Vec has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from twofold.contrast.checks import check_same_shape, raise_precision

PAIRS_AT_A_TIME = 1 << 22
"""Pairs of steps whose similarities are in memory at a time; of more, the backward pass computes them again."""


def hierarchical_contrast(first: Tensor, second: Tensor, *, instance_weight: float = 0.5) -> Tensor:
    """Steps of two views contrasted over series and over time, at all scales (Yue et al., AAAI 2022, eqs. 1-3).

    With r, r' the features of the two views at series i and step t, dot products as they are:

        instance  ℓ(i, t) = −log exp(r_it·r'_it) / Σ_j [ exp(r_it·r'_jt) + 1(j ≠ i) exp(r_it·r_jt) ]
        temporal  ℓ(i, t) = −log exp(r_it·r'_it) / Σ_u [ exp(r_it·r'_iu) + 1(u ≠ t) exp(r_it·r_iu) ]

    from both views. α · instance + (1 − α) · temporal is averaged over the scales: after each, both views are pooled by
    a maximum over pairs of neighbouring steps, until one step is left, where only the instance term says something.
    Neither unit length nor temperature: features are what they are.

    Series are compared within a process, since each has crops of its own length.

    Args:
        first: ``(n, t, d)``, the steps that the views have in common.
        second: The same shape; step t of series i belongs to step t of series i in ``first``.
        instance_weight: α in [0, 1]; 0.5 in the paper.

    Returns:
        A scalar.

    Raises:
        TypeError, ValueError: On other shapes or types, or α outside [0, 1].
    """
    _check(first, second, instance_weight)
    first, second = raise_precision(first, second)
    scales = []
    with torch.autocast(first.device.type, enabled=False):
        while True:
            terms = []
            if instance_weight > 0:
                terms.append(instance_weight * paired_contrast(first.transpose(0, 1), second.transpose(0, 1)))
            if instance_weight < 1 and first.shape[1] > 1:
                terms.append((1 - instance_weight) * paired_contrast(first, second))
            scales.append(sum(terms, first.new_zeros(())))
            if first.shape[1] == 1:
                return torch.stack(scales).sum() / len(scales)
            first, second = _halved(first), _halved(second)


def paired_contrast(first: Tensor, second: Tensor) -> Tensor:
    """Each row against the 2m − 1 others of its group in both views; row k of one view belongs to k of the other.

    Args:
        first: ``(groups, m, d)``.
        second: The same shape.

    Returns:
        The mean over all rows of both views; 0 for groups of one.
    """
    groups, rows, _ = first.shape
    if rows == 1:
        return first.new_zeros(())
    z = torch.cat([first, second], 1)
    at_once = max(1, PAIRS_AT_A_TIME // (2 * rows) ** 2)
    if groups <= at_once:
        return _losses(z).mean()
    parts = [checkpoint(_losses, part, use_reentrant=False) for part in z.split(at_once)]
    return torch.cat(parts).mean()


def _losses(z: Tensor) -> Tensor:
    """The loss of every row of groups ``(g, 2m, d)``, whose second halves are the other view: ``(g, 2m)``."""
    similarity = z @ z.transpose(1, 2)
    count = z.shape[1]
    itself = torch.eye(count, dtype=torch.bool, device=z.device)
    partner = (torch.arange(count, device=z.device) + count // 2) % count
    attraction = similarity.gather(2, partner.expand(len(z), count)[:, :, None]).squeeze(2)
    return similarity.masked_fill(itself, float("-inf")).logsumexp(2) - attraction


def _halved(features: Tensor) -> Tensor:
    """The maximum over pairs of neighbouring steps; of an odd number the last is left out, as in the paper's code."""
    return F.max_pool1d(features.transpose(1, 2), 2).transpose(1, 2)


def _check(first: Tensor, second: Tensor, instance_weight: float) -> None:
    for name, rows in (("first", first), ("second", second)):
        if not isinstance(rows, Tensor) or not rows.is_floating_point():
            raise TypeError(f"{name} must be a floating tensor, got {getattr(rows, 'dtype', type(rows).__name__)}.")
        if rows.ndim != 3 or 0 in rows.shape:
            raise ValueError(f"{name} must be (n, steps, d), got shape {tuple(rows.shape)}.")
    check_same_shape("first", first, "second", second)
    if not 0 <= instance_weight <= 1:
        raise ValueError(f"instance_weight must lie between 0 and 1, got {instance_weight!r}.")
