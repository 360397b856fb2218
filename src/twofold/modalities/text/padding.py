"""Columns of token numbers that hold nothing but padding."""

from __future__ import annotations

from torch import Tensor


def trimmed(ids: Tensor, pad: int) -> Tensor:
    """Token numbers ``(n, tokens)`` without the columns at the end that hold nothing but padding."""
    used = (ids != pad).any(0).nonzero()
    return ids[:, : int(used[-1]) + 1] if len(used) else ids[:, :1]


def trimmed_on_cpu(ids: Tensor, pad: int) -> Tensor:
    """:func:`trimmed` on CPUs; elsewhere as they are, since finding the longest text would wait for the device.

    A batch is padded to its longest text, a micro-batch of it seldom needs all of that.
    """
    return trimmed(ids, pad) if ids.device.type == "cpu" else ids
