"""Distances between sets of points."""

from __future__ import annotations

import torch
from torch import Tensor

_AT_ONCE = 2**24
"""Distances that are looked at together: 64 MiB."""


def chamfer(first: Tensor, second: Tensor) -> Tensor:
    """Squared Chamfer distance of each pair of point sets (Fan et al., CVPR 2017, eq. 2).

        mean_x min_y ‖x − y‖² + mean_y min_x ‖x − y‖²

    Nearest points are searched without a graph, a part of the batch at a time; so memory is that of the points, and
    gradients, which flow to both sets through the nearest pairs, are those of the formula.

    Args:
        first: ``(n, p ≥ 1, d)``, floating.
        second: ``(n, q ≥ 1, d)``.

    Returns:
        ``(n,)``, float32 at least.

    Raises:
        TypeError, ValueError: On integers, other shapes, or empty sets.
    """
    for name, points in (("first", first), ("second", second)):
        if not points.is_floating_point():
            raise TypeError(f"{name} must be floating, got {points.dtype}.")
    if first.ndim != 3 or second.ndim != 3 or first.shape[::2] != second.shape[::2]:
        raise ValueError(
            f"Point sets must be (n, p, d) and (n, q, d), got {tuple(first.shape)} and {tuple(second.shape)}."
        )
    if 0 in first.shape[1:] or 0 in second.shape[1:]:
        raise ValueError("Point sets must hold at least one point.")
    if first.dtype in (torch.float16, torch.bfloat16):
        first = first.float()
    second = second.to(first.dtype)
    nearest, nearest_back = _nearest(first.detach(), second.detach())
    return _to_nearest(first, second, nearest) + _to_nearest(second, first, nearest_back)


def _to_nearest(points: Tensor, others: Tensor, nearest: Tensor) -> Tensor:
    found = others.gather(1, nearest.unsqueeze(2).expand(-1, -1, others.shape[2]))
    return (points - found).square().sum(2).mean(1)


@torch.no_grad()
def _nearest(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """For each point the place of the nearest of the other set: int64 (n, p) and (n, q)."""
    at_once = max(1, _AT_ONCE // (first.shape[1] * second.shape[1]))
    parts = []
    for x, y in zip(first.split(at_once), second.split(at_once), strict=True):
        distance = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")  # exact also for near points
        parts.append((distance.argmin(2), distance.argmin(1)))
    if not parts:
        return first.new_empty(first.shape[:2], dtype=torch.int64), first.new_empty(second.shape[:2], dtype=torch.int64)
    forward, back = zip(*parts, strict=True)
    return torch.cat(forward), torch.cat(back)
