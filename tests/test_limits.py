"""What is free, and what is refused."""

from __future__ import annotations

import sys
import zlib
from pathlib import Path

import pytest

from twofold import limits
from twofold.errors import DataError


def test_what_fits_passes_and_what_does_not_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "free_memory", lambda: limits.RESERVE + 1000)
    limits.check_memory(1000, "a.npy")
    with pytest.raises(DataError, match=r"^a\.npy needs 1,001 bytes of memory, and 1,000 bytes are free"):
        limits.check_memory(1001, "a.npy")
    monkeypatch.setattr(limits, "free_memory", lambda: 5)
    with pytest.raises(DataError, match=r"needs 0 bytes of memory, and 0 bytes are free"):
        limits.check_memory(0, "a.npy")


def test_deflate_reaches_the_ratio_and_no_more():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = 2**28
    packed = sum(len(packer.compress(bytes(2**24))) for _ in range(size // 2**24)) + len(packer.flush())
    assert 0.99 * limits.DEFLATE_RATIO < size / packed <= limits.DEFLATE_RATIO
    limits.check_deflated(size, packed, "a.npz")
    with pytest.raises(DataError, match=r"a\.npz claims to hold 1,033 bytes, which cannot come out of 1 compressed"):
        limits.check_deflated(1033, 1, "a.npz")


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1024, "1.0 KiB"), (1536 * 1024**2, "1.5 GiB"), (10**18, "888.2 PiB")],
)
def test_sizes_in_words(size: int, words: str):
    assert limits.in_words(size) == words


def test_free_memory_is_a_number_of_this_machine():
    assert 0 < limits.free_memory() < 2**50


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 1\ninactive_file 200\n"}, 500),
        ({"memory.max": "1000", "memory.current": "1200", "memory.stat": "inactive_file 0"}, 0),
        ({"memory.max": "max", "memory.current": "700", "memory.stat": "inactive_file 0"}, sys.maxsize),
        (
            {
                "memory/memory.limit_in_bytes": "1000",
                "memory/memory.usage_in_bytes": "400",
                "memory/memory.stat": "total_inactive_file 100",
            },
            700,
        ),
        ({}, sys.maxsize),
    ],
)
def test_containers(files: dict[str, str], free: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(limits, "_GROUPS", tmp_path)
    assert limits._container() == free


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much address space a process has")
def test_the_limit_of_a_process_counts():
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    try:
        assert limits.free_memory() <= 2**30
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
