"""Plain text: files with a text a line, and files that are a text each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.folders import FileTree
from twofold.modalities.text.dataset import Source

SUFFIXES = (".txt", ".text", ".md")
LONGEST = 2**16
"""Bytes kept of a text: a file without line breaks is one text, and encoders see the beginning only."""

_PIECE = 2**20
_FACTOR = 6  # of a file's size: Python's strings, their numbers and names


def read_lines(paths: Sequence[Path]) -> Source:
    """The lines of text files, without blank ones.

    Bytes that are no UTF-8 are replaced by U+FFFD and counted, and so are lines of which only the beginning is kept.

    Raises:
        DataError: If a file cannot be read, holds no text, or more than half of its lines are no UTF-8.
    """
    texts: list[str | None] = []
    ids, notes = [], []
    for path in paths:
        where = "" if len(paths) == 1 else f"{path}, "
        check_memory(_FACTOR * _size(path), f"{path}: its texts")
        blank = damaged = cut = before = 0
        before = len(texts)
        for number, (line, whole) in enumerate(_lines(path), start=1):
            text = decoded(line, first=number == 1)
            if not text.strip():
                blank += 1
                continue
            damaged += is_damaged(text)
            cut += not whole
            texts.append(text.strip())
            ids.append(f"{where}line {number}")
        notes += _notes(path, len(texts) - before, blank, damaged, cut)
    return Source([texts], ids, ", ".join(map(str, paths[:3])) + (", ..." if len(paths) > 3 else ""), notes=notes)


def read_files(found: FileTree, name: str) -> Source:
    """Files that are a text each, with the labels of their folders; of a long one the beginning is kept."""
    texts: list[str | None] = []
    damaged = cut = 0
    for path in found.paths:
        try:
            with Path(path).open("rb") as file:
                content = file.read(LONGEST + 1)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
        text = decoded(content[:LONGEST], first=True)
        damaged += is_damaged(text)
        cut += len(content) > LONGEST
        texts.append(text.strip())
    notes = found.notes + _notes(Path(name), len(texts), 0, damaged, cut)
    return Source([texts], found.ids, name, found.labels, found.class_names, notes)


def decoded(content: bytes, *, first: bool = False) -> str:
    """Text of bytes, with U+FFFD for what is no UTF-8; at the beginning of a file without its byte-order mark."""
    return content.decode("utf-8-sig" if first else "utf-8", errors="replace")


def is_damaged(text: str) -> bool:
    """Whether a text shows that it was no UTF-8."""
    return "\ufffd" in text or "\0" in text


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Each line up to `LONGEST` bytes, and whether that is all of it."""
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST):
                whole = len(line) < LONGEST or line.endswith(b"\n")
                rest = line
                while not rest.endswith(b"\n") and (rest := file.readline(_PIECE)):
                    whole = whole and not rest.strip()
                yield line, whole
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _notes(path: Path, count: int, blank: int, damaged: int, cut: int) -> list[str]:
    """What was odd about a source of ``count`` texts.

    Raises:
        DataError: If most of them are no UTF-8.
    """
    if 2 * damaged > count:
        raise DataError(
            f"{path}: {damaged} of {count} texts are no UTF-8; convert it first, such as: iconv -f latin1 -t utf8 "
            f"{path.name} > converted.txt"
        )
    notes = []
    if blank:
        notes.append(f"{path}: {blank:,} blank lines were left out")
    if damaged:
        notes.append(f"{path}: {damaged:,} texts hold bytes that are no UTF-8, which were replaced")
    if cut:
        notes.append(f"{path}: of {cut:,} texts only the first {LONGEST:,} bytes were read")
    return notes


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
