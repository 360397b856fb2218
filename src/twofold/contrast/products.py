"""In which number format the tiled reductions multiply: float32, or, if asked for, bfloat16.

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

LARGEST_LOGIT = 20.0
"""Up to |s|/τ = 20 (τ = 0.05 for directions) products are reduced; above, rounding would show."""

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


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """``total += left @ right``; sums over tiles stay in the precision of ``total``."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right.to(left.dtype))
