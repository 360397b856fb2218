"""Text from files, made fit for messages and reports."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

_NAMES = 20
_LENGTH = 80


def listed(names: Iterable[str]) -> str:
    """The first 20 names, each cut at 80 characters, with commas: a header of a million columns stays one line."""
    first = list(islice(iter(names), _NAMES + 1))
    text = ", ".join(shortened(name) for name in first[:_NAMES])
    return f"{text} and more" if len(first) > _NAMES else text or "nothing"


def shortened(text: str, length: int = _LENGTH) -> str:
    """At most `length` characters of a text."""
    text = printable(text)
    return text if len(text) <= length else f"{text[:length]}..."


def printable(text: str) -> str:
    """A text that can be written as UTF-8: lone surrogates (of file names that are not UTF-8, of JSON) are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
