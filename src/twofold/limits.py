"""How much memory a file may ask for: what would need more than is free is refused before it is allocated.

A file states sizes: the shape in a header, the rows in a footer, the length of a line. They may be wrong, or meant to
bring the machine down. So every reader works out from what is stated how much memory it is about to need, and asks
:func:`check_memory` first; where nothing is stated (compressed streams, text) it reads piece by piece and asks as it
goes. What is stated is compared with the size of the file itself, where the format allows to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twofold.errors import DataError

RESERVE = 256 * 1024**2
"""Bytes that always stay free, for everything else that the process does."""

SAMPLE_BYTES = 256
"""What a reader keeps in memory for each sample beside its content: its name, label and flags."""

DEFLATE_RATIO = 1032
"""Deflate (zip, gzip, PNG) never expands to more than this: 258 bytes from two bits."""


_GROUPS = Path("/sys/fs/cgroup")


def check_memory(needed: int, what: str) -> None:
    """Refuse what needs more memory than is free.

    Args:
        needed: Bytes that are about to be allocated.
        what: What needs them, beginning with the name of the file, as the message should begin.

    Raises:
        DataError: If it is more than :func:`free_memory` less a reserve of 256 MiB; the message names both numbers.
    """
    free = free_memory()
    if needed + RESERVE > free:
        raise DataError(
            f"{what} needs {in_words(needed)} of memory, and {in_words(max(0, free - RESERVE))} are free. If that is "
            "really what you want to read, take a machine with more memory, or a part of the data"
        )


def check_deflated(stated: int, packed: int, what: str) -> None:
    """Refuse a stated size that cannot come out of so few compressed bytes.

    Raises:
        DataError: If ``stated`` is more than 1032 times ``packed``, which deflate cannot reach.
    """
    if stated > DEFLATE_RATIO * packed:
        raise DataError(f"{what} claims to hold {stated:,} bytes, which cannot come out of {packed:,} compressed ones")


def free_memory() -> int:
    """Bytes that this process can still take: the least of what the machine, its container and its limits allow.

    On systems that do not say what is free, all of the machine's memory counts as free; without even that, 16 GiB.
    """
    return min(_machine(), _container(), _address_space())


def in_words(size: int) -> str:
    """A number of bytes for people: ``"1.5 GiB"``."""
    value, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{size:,} bytes" if unit == "bytes" else f"{value:,.1f} {unit}"


def _machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 16 * 1024**3


def _container() -> int:
    """What is left of a control group's limit, as containers and batch systems set it (version 2, then 1)."""
    for group, limit, used in (
        (_GROUPS, "memory.max", "memory.current"),
        (_GROUPS / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            taken = int((group / used).read_text()) - _droppable(group)
            return max(0, int((group / limit).read_text()) - taken)
        except (OSError, ValueError):  # no such group, or its limit is "max"
            continue
    return sys.maxsize


def _droppable(group: Path) -> int:
    """Bytes of a group that are copies of files, which the kernel drops when memory is wanted."""
    counts = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
    return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))


def _address_space() -> int:
    """What is left of ``ulimit -v``."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return sys.maxsize
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # Windows has no such limits, macOS no such file
        return sys.maxsize
    return max(0, limit - used)
