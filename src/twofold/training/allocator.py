"""Memory of the CPU that is used again instead of given back: on Linux with the GNU C library.

That library maps every allocation above at most 32 MB anew and unmaps it when it is freed. The maps of a convolutional
network are of that size, so a step spends much of its time on the system's page faults.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
_LARGEST_KEPT = 2**30
_USUAL_MMAP, _USUAL_TRIM = 32 * 2**20, 64 * 2**20
"""Where the library itself gets to, in a process that frees large blocks (DEFAULT_MMAP_THRESHOLD_MAX, twice that)."""
_CHOSEN_BY_USER = (
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_MMAP_MAX_",
    "GLIBC_TUNABLES",
)


@contextmanager
def freed_memory_is_kept() -> Iterator[None]:
    """Inside, freed tensors of up to 1 GB stay with the process for the next ones; afterwards they go back.

    The most that the process holds at a time does not change but for fragmentation; what it holds between two steps
    does. The setting is the process's and cannot be read; afterwards it is what the library itself would have arrived
    at, and what is free is given back.
    Nothing is done with another C library, another system, or if the environment sets one of the library's variables
    for it (``MALLOC_MMAP_THRESHOLD_``, ``GLIBC_TUNABLES`` ...). Memory of GPUs is not concerned.
    """
    library = _gnu_library()
    if library is None or any(name in os.environ for name in _CHOSEN_BY_USER):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP)
        library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        library.malloc_trim(0)


def _gnu_library() -> ctypes.CDLL | None:
    """The C library of this process, if it is GNU's."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    names = ("gnu_get_libc_version", "mallopt", "malloc_trim")
    return library if all(hasattr(library, name) for name in names) else None
