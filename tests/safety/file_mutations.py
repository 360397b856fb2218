"""Strategies that spoil valid files, and one attempt to read what comes of it, within bounds of time and memory.

The tests and ``benchmarks/reliability/fuzz.py`` share them.
"""

from __future__ import annotations

import faulthandler
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from file_formats import FORMATS
from hypothesis import strategies as st

from twofold.errors import TwofoldError


@dataclass(frozen=True)
class Input:
    """One file to be tried."""

    format: str
    name: str
    content: bytes


def attempt(given: Input, folder: Path) -> str:
    """Read one input; "read" or "refused".

    Raises:
        Anything: What the reader raises that it must not: the fault that is looked for.
        AssertionError: If the message does not name the source, or a promise about what was read is broken.
    """
    kind = FORMATS[given.format]
    source = kind.write(folder, {given.name: given.content})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # as the reader does, behind the filters of others
        try:
            kind.read(source)
        except TwofoldError as error:
            message = str(error)
        else:
            return "read"
    assert str(folder) in message, f"the message does not name the source: {message}"
    assert len(message) < 10_000, "the message is far too long"
    message.encode()
    return "refused"


@contextmanager
def time_bound(seconds: float) -> Iterator[None]:
    """End the process, with the stacks of all threads, if what is inside takes longer: a hang in C too."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def address_space(extra: int) -> Iterator[None]:
    """Let this process take at most so many bytes more than it has, where the system can say so."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):  # neither Windows nor macOS
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**64 - 1)


def inputs(name: str) -> st.SearchStrategy[Input]:
    """Inputs of a format: valid files spoilt in one to four places, and structured ones where the format has them."""
    kind = FORMATS[name]
    spoilt = st.sampled_from(kind.spoilt).flatmap(
        lambda file: _spoilt(kind.files()[file]).map(lambda content: Input(name, file, content))
    )
    if kind.text is None:
        return spoilt
    return spoilt | kind.text.map(lambda content: Input(name, kind.spoilt[0], content))


@st.composite
def _spoilt(draw: st.DrawFn, content: bytes) -> bytes:
    changes = (_flip, _flip, _overwrite, _overwrite, _truncate, _insert, _cut, _repeat, _splice, _digits)
    for _ in range(draw(st.integers(1, 4))):
        content = draw(st.sampled_from(changes))(draw, content)
    return content


def _place(draw: st.DrawFn, content: bytes) -> int:
    """Anywhere, but half of the time in the first or the last 64 bytes, where headers and directories are."""
    last = max(0, len(content) - 1)
    near = draw(st.sampled_from(("start", "end", "anywhere", "anywhere")))
    low, high = {"start": (0, min(last, 64)), "end": (max(0, last - 64), last)}.get(near, (0, last))
    return draw(st.integers(low, high))


def _flip(draw: st.DrawFn, content: bytes) -> bytes:
    if not content:
        return content
    place = _place(draw, content)
    return content[:place] + bytes([content[place] ^ draw(st.integers(1, 255))]) + content[place + 1 :]


def _overwrite(draw: st.DrawFn, content: bytes) -> bytes:
    """A number that breaks things, of one to eight bytes."""
    place, width = _place(draw, content), draw(st.sampled_from((1, 2, 4, 8)))
    order = draw(st.sampled_from(("little", "big")))
    number = draw(st.sampled_from(_NUMBERS)) % 256**width
    return content[:place] + number.to_bytes(width, order) + content[place + width :]


def _truncate(draw: st.DrawFn, content: bytes) -> bytes:
    return content[: _place(draw, content)]


def _insert(draw: st.DrawFn, content: bytes) -> bytes:
    place = _place(draw, content)
    return content[:place] + draw(st.binary(min_size=1, max_size=16)) + content[place:]


def _cut(draw: st.DrawFn, content: bytes) -> bytes:
    place = _place(draw, content)
    return content[:place] + content[place + draw(st.integers(1, 32)) :]


def _repeat(draw: st.DrawFn, content: bytes) -> bytes:
    place = _place(draw, content)
    return content[:place] + content[place : place + 64] * draw(st.integers(2, 20)) + content[place:]


def _splice(draw: st.DrawFn, content: bytes) -> bytes:
    """The beginning of this file and the end of one of another format."""
    other = FORMATS[draw(st.sampled_from(sorted(FORMATS)))]
    tail = next(iter(other.files().values()))
    return content[: _place(draw, content)] + tail[_place(draw, tail) :]


def _digits(draw: st.DrawFn, content: bytes) -> bytes:
    """Another number where one stands in text, as in headers of .npy and JSON."""
    places = [i for i, byte in enumerate(content[:512]) if 48 <= byte <= 57]
    if not places:
        return _flip(draw, content)
    place = draw(st.sampled_from(places))
    number = draw(st.sampled_from((b"0", b"-1", b"99999", b"4294967296", b"1e9", b"9" * 25, b"9" * 5000)))
    return content[:place] + number + content[place + 1 :]


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Where inputs are written; in memory where the system has such a place."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
