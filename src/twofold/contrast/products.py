"""How the tiled reductions multiply, and in which number format: float32, or, if asked for, bfloat16.

Hardware with units for bfloat16 multiplies several times faster in it. :func:`reduced` asks for it for the calling
thread only, and only where the error stays small: the rows must be float32, the problem large enough to be tiled, and
no logit beyond ``LARGEST_LOGIT``. A term exp(s/τ) then has a relative error of up to |s|/τ · 2⁻⁸, of either sign, so
most of it cancels in sums over candidates. What is left of it at τ = 0.1 is measured in ``docs/results/speed.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from twofold.contrast import convolved

LARGEST_LOGIT = 20.0
"""Up to |s|/τ = 20 (τ = 0.05 for directions) products are reduced; above, rounding would show."""

STRETCH = 128
"""Numbers of a bfloat16 tile that are summed before their sum is raised to float32."""

_reduced: ContextVar[bool] = ContextVar("reduced products", default=False)


@contextmanager
def reduced(wanted: bool = True) -> Iterator[None]:
    """Let tiled reductions that begin inside multiply in bfloat16; their backward passes too, wherever they run.

    Other threads, and products outside the reductions, are not affected.
    """
    token = _reduced.set(wanted)
    try:
        yield
    finally:
        _reduced.reset(token)


def product_dtype(rows: Tensor) -> torch.dtype:
    """What rows like these are multiplied in, if their logits are small."""
    return torch.bfloat16 if _reduced.get() and rows.dtype == torch.float32 else rows.dtype


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.T``, ``(n, m)``."""
    if convolved.pays((*left.shape, len(right)), like=left):
        return convolved.product(left, right)
    return torch.mm(left, right.T)


def product_into(out: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """``left @ right.T``, put into ``out``."""
    if not convolved.pays((*left.shape, len(right)), like=left):
        return torch.mm(left, right.T, out=out)
    for part, columns in zip(out.split(convolved.COLUMNS, 1), right.split(convolved.COLUMNS), strict=True):
        part.copy_(convolved.product(left, columns))
    return out


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left @ right.T``; sums over tiles stay in the precision of ``total``."""
    if convolved.pays((*left.shape, len(right)), like=left):
        total += convolved.product(left, right)
    elif left.dtype == total.dtype:
        total.addmm_(left, right.T)
    else:
        total += torch.mm(left, right.T.to(left.dtype))


def transposed_product(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right``, ``(m, d)`` of ``(n, m)`` and ``(n, d)``."""
    if not convolved.pays((*left.shape, right.shape[1]), like=left):
        return torch.mm(left.T, right)
    total = left.new_zeros(left.shape[1], right.shape[1])
    add_transposed(total, left, right)
    return total


def add_transposed(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left.T @ right``; sums over tiles stay in the precision of ``total``."""
    if convolved.pays((*left.shape, right.shape[1]), like=left):
        for part, columns in zip(total.split(convolved.COLUMNS), left.split(convolved.COLUMNS, 1), strict=True):
            convolved.add_transposed(part, columns, right)
    elif left.dtype == total.dtype:
        total.addmm_(left.T, right)
    else:
        total += torch.mm(left.T, right.to(left.dtype))


def total_of(tile: Tensor, axis: int, dtype: torch.dtype) -> Tensor:
    """The sums of a tile along an axis, in ``dtype``.

    torch would copy all of a bfloat16 tile on a CPU to sum it in float32, which takes longer than to multiply it. So
    there, stretches of ``STRETCH`` numbers are summed first, and then their sums, in ``dtype``. The sum of a stretch is
    rounded once, by at most 2⁻⁸ of itself, up or down, so most of these errors cancel.

    Args:
        tile: Numbers that are not negative, ``(rows, columns)``.
        axis: 0 or 1.
        dtype: Of the sums, and of those between them.
    """
    if tile.dtype == dtype or tile.device.type != "cpu":
        return tile.sum(axis, dtype=dtype)
    whole = tile.shape[axis] // STRETCH * STRETCH
    stretches = tile.narrow(axis, 0, whole).unflatten(axis, (-1, STRETCH)).sum(axis + 1)
    return stretches.sum(axis, dtype=dtype) + tile.narrow(axis, whole, tile.shape[axis] - whole).sum(axis, dtype=dtype)
