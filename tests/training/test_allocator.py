from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest

from twofold.training import allocator
from twofold.training.allocator import freed_memory_is_kept

FAULTS = """
import resource
import torch
from twofold.training.allocator import freed_memory_is_kept

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        torch.zeros(16 * 2**20)  # 64 MB, beyond what the library keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
plain = faults()
with freed_memory_is_kept():
    faults()
    print(plain, faults())
"""


class Library:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def mallopt(self, option: int, value: int) -> int:
        self.calls.append((option, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.calls.append(("trim", pad))
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(allocator, "_gnu_library", lambda: made)
    for name in allocator._CHOSEN_BY_USER:
        monkeypatch.delenv(name, raising=False)
    return made


def test_memory_is_kept_inside_and_given_back_afterwards_even_after_an_error(library: Library) -> None:
    def fail() -> None:
        with freed_memory_is_kept():
            library.calls.append("inside")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert library.calls == [(-3, 2**30), (-1, 2**31 - 1), "inside", (-3, 2**25), (-1, 2**26), ("trim", 0)]


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_has_chosen_stays(name: str, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with freed_memory_is_kept():
        pass
    assert library.calls == []


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert allocator._gnu_library() is None
    with freed_memory_is_kept():
        pass


@pytest.mark.skipif(allocator._gnu_library() is None, reason="needs the GNU C library")
def test_tensors_are_made_without_page_faults() -> None:
    made = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FAULTS)], capture_output=True, text=True, check=True, timeout=120
    )
    plain, kept = map(int, made.stdout.split())
    assert kept < plain / 4
