"""Every random number of a run is a function of (seed, purpose, step, rank ...): nothing to save, nothing to lose.

A generator is made where it is needed, from a key that says what it is for. A resumed run makes the same generators,
and the number of workers or the order of calls cannot matter. Layers that can only use torch's global state (dropout)
get it seeded from such a key, too.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import operator
from collections.abc import Iterator

import torch

Key = int | str


def seed_from(*key: Key) -> int:
    """A seed in [0, 2^63) from integers and strings; the same on every machine, process and Python version.

    Args:
        key: What the randomness is for, such as ``seed, "order", epoch``. ``1`` and ``"1"`` are different, and so are
            ``("ab", "c")`` and ``("a", "bc")``.

    Raises:
        TypeError: If a part of the key is neither an integer nor a string.
    """
    digest = hashlib.sha256()
    for part in key:
        encoded = _encoded(part)
        digest.update(f"{len(encoded)}:".encode() + encoded)  # lengths first, so parts cannot run into one another
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def generator(*key: Key, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for one purpose: ``generator(seed, "views", step, rank)``; see :func:`seed_from`."""
    return torch.Generator(device=device).manual_seed(seed_from(*key))


def seed_global(*key: Key) -> None:
    """Seed torch's global state, on all devices, from a key; what dropout draws next is then a function of the key."""
    seed = seed_from(*key)
    if _has_accelerator():
        torch.manual_seed(seed)
    else:  # torch would queue the seed for a GPU that may come, with a formatted stack trace: 2 ms a step
        torch.default_generator.manual_seed(seed)


@functools.cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


@contextlib.contextmanager
def forked_rng(*key: Key) -> Iterator[None]:
    """Inside, torch's global state is seeded from ``key``; afterwards it is what it was before.

    Entering twice with one key replays the same dropout masks. Without a key the state is kept, but not seeded.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        if key:
            seed_global(*key)
        yield


@contextlib.contextmanager
def seeded_init(seed: int) -> Iterator[None]:
    """Build networks inside: their initial weights depend on ``seed`` alone, whatever ran before."""
    with forked_rng(seed, "init"):
        yield


def _encoded(part: Key) -> bytes:
    if isinstance(part, str):
        return b"s" + part.encode("utf-8")
    try:
        return b"i" + str(operator.index(part)).encode()
    except TypeError:
        raise TypeError(f"A seed is made of integers and strings, not {type(part).__name__}: {part!r}") from None
