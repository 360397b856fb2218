"""Numbers that look random and are a function of integers alone: for splits and draws that depend on nothing else.

What is drawn for a sample then does not change with the other samples, with their order, or with the piece of a batch
in which it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_LARGEST = (1 << 63) - 1


def hashed(*keys: Tensor | int) -> Tensor:
    """Integers from 0 below 2⁶³, one for each combination of keys: SplitMix64 (Steele et al., OOPSLA 2014), folded.

    Args:
        keys: int64 tensors that broadcast, and numbers of at most 64 bits; at least one is a tensor.
    """
    shape = torch.broadcast_shapes(*(key.shape for key in keys if isinstance(key, Tensor)))
    device = next(key.device for key in keys if isinstance(key, Tensor))
    state = torch.zeros((), dtype=torch.int64, device=device)  # grows key by key: those that come first are mixed once
    for key in keys:
        state = _mixed((state ^ (key if isinstance(key, Tensor) else _signed(key))) + _signed(_GAMMA))
    return (state & _LARGEST).expand(shape)


def hashed_names(names: Sequence[str]) -> Tensor:
    """An int64 key for each name, the same everywhere."""
    keys = [hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in names]
    return torch.tensor([int.from_bytes(key, "little", signed=True) for key in keys], dtype=torch.int64)


def share(values: Tensor, fraction: float) -> Tensor:
    """True for a fraction of hashed values: the same ones, and more, for a larger fraction."""
    return (values >> 10) < int(fraction * (1 << 53))


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _shifted(state, 30)) * _signed(_FIRST)
    state = (state ^ _shifted(state, 27)) * _signed(_SECOND)
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """To the right, with zeros from the left: torch's own shift keeps the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """The signed number of 64 bits that has the same bits."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
