"""Dropout whose masks are drawn four at a time on CPUs, where drawing them one by one takes long."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEVELS = 2**16
_Module = TypeVar("_Module", bound=nn.Module)


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Each number is 0 with probability ``p``, and else divided by the probability of being kept.

    On CPUs ``p`` is rounded to a multiple of 2^−16, and the division is by what it is rounded to, so the mean is kept
    exactly; elsewhere this is ``torch.nn.functional.dropout``. Drawn from torch's global state.

    Args:
        x: Any shape, a floating dtype.
        p: In [0, 1].
        training: Without it, ``x`` comes back as it is.

    Raises:
        ValueError: If ``p`` is out of range.
    """
    level = round(p * _LEVELS) if 0 <= p <= 1 else 0
    if not training or not 0 < level < _LEVELS or x.device.type != "cpu":
        return F.dropout(x, p, training)
    return x * _noise(x, level)


def _noise(x: Tensor, level: int) -> Tensor:
    """0 with probability level / 2^16, else its reciprocal complement: a tensor like ``x``, without gradient.

    A word of 64 random bits decides on four numbers: each is dropped if its 16 bits are among the lowest ``level``.
    """
    words = torch.empty(math.ceil(x.numel() / 4), dtype=torch.int64).random_(-(2**63), None)
    noise = torch.empty(x.shape, dtype=x.dtype)
    torch.ge(words.view(torch.int16)[: x.numel()].view(x.shape), level - _LEVELS // 2, out=noise)
    return noise.mul_(_LEVELS / (_LEVELS - level))


class Dropout(nn.Dropout):
    """:func:`dropout` as a module."""

    def forward(self, input: Tensor) -> Tensor:
        """``input`` with dropout in training."""
        if self.inplace:
            return super().forward(input)
        return dropout(input, self.p, self.training)


def quick_dropout(module: _Module) -> _Module:
    """The module with every ``nn.Dropout`` in it replaced by :class:`Dropout`; returns the module."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, Dropout(child.p, child.inplace).train(child.training))
    return module
