"""The .ts files of aeon and sktime: a header of ``@`` lines, then one line a series, its channels between colons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.series.recordings import Recordings

_EXPANSION = 12
"""Bytes of memory for each byte of a file: text becomes Python strings on its way to numbers."""
_TRUE, _FALSE = "true", "false"
_MOST_FAULTS = 1000


@dataclass
class Header:
    """What the lines before ``@data`` say."""

    facts: dict[str, str] = field(default_factory=dict)
    classes: list[str] | None = None
    """The classes of ``@classLabel true A B C``; None without."""
    target: bool = False
    """Each series ends in a number to be predicted (``@targetLabel true``)."""

    @property
    def labelled(self) -> bool:
        """Whether the last field of a line is no channel."""
        return self.classes is not None or self.target


def read_ts(path: Path) -> Recordings:
    """The series of a .ts file; a line that cannot be read is left out and named.

    ``?`` and ``NaN`` are missing values. Series may have different lengths, the channels of one may not. Time stamps
    are refused. Numbers of ``@targetLabel`` are no classes and are not kept.

    Raises:
        DataError: If it is no .ts file, has time stamps, or holds no series.
    """
    try:
        check_memory(_EXPANSION * path.stat().st_size, f"{path}")
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    lines = enumerate(text.splitlines(), 1)
    header = _header(lines, path)
    series, labels, ids = [], [], []
    skipped: dict[str, str] = {}
    for number, line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        try:
            values, label = _line(line.strip(), header)
        except DataError as error:
            if len(skipped) < _MOST_FAULTS:
                skipped[f"line {number}"] = str(error)
            continue
        series.append(values)
        labels.append(label)
        ids.append(f"line {number}")
    if not series:
        reason = next(iter(skipped.values()), "there are no lines after @data")
        raise DataError(f"{path} holds no series that can be read: {reason}")
    found = Recordings(series, ids, str(path), skipped=skipped)
    if header.classes is not None:
        numbers = {name: i for i, name in enumerate(header.classes)}
        found.labels, found.class_names = torch.tensor([numbers[label] for label in labels]), header.classes
    if header.target:
        found.notes.append("its targets (@targetLabel) are numbers to be predicted, no classes; they are left aside")
    return found


def _header(lines: Iterator[tuple[int, str]], path: Path) -> Header:
    header = Header()
    for number, line in lines:
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if not words[0].startswith("@"):
            raise DataError(f"{path}: line {number} is neither @... nor a comment, and @data has not come yet")
        key, rest = words[0][1:].lower(), words[1:]
        if key == "data":
            _check_header(header, path)
            return header
        header.facts[key] = " ".join(rest).lower()
        if key == "classlabel" and rest[:1] and rest[0].lower() == _TRUE:
            header.classes = list(dict.fromkeys(rest[1:]))
        if key == "targetlabel":
            header.target = rest[:1] == [_TRUE] or [word.lower() for word in rest[:1]] == [_TRUE]
    raise DataError(f"{path}: no .ts file, or cut short; it has no line @data")


def _check_header(header: Header, path: Path) -> None:
    if header.facts.get("timestamps", _FALSE).split()[:1] == [_TRUE]:
        raise DataError(
            f"{path}: series with time stamps (@timeStamps true) are not read from .ts files; save them without, or as "
            "a table with a column of times"
        )
    if header.classes is not None and not header.classes:
        raise DataError(f"{path}: @classLabel true must be followed by the names of the classes")


def _line(line: str, header: Header) -> tuple[np.ndarray, str]:
    """One series ``(steps, channels)``, and what stands in the last field if that is its label."""
    if "(" in line:
        raise DataError("it has time stamps, such as (0, 1.5); the header does not say so")
    fields = line.split(":")
    label = fields.pop().strip() if header.labelled else ""
    if not fields:
        raise DataError("it has a label and no channels")
    if header.classes is not None and label not in header.classes:
        raise DataError(f"its class {label[:40]!r} is not among those of @classLabel")
    if header.facts.get("univariate") == _TRUE and len(fields) != 1:
        raise DataError(f"it has {len(fields)} channels, and the header says @univariate true")
    channels = [_numbers(text) for text in fields]
    lengths = {len(channel) for channel in channels}
    if len(lengths) > 1:
        raise DataError(f"its channels have different lengths: {', '.join(map(str, sorted(lengths)[:5]))}")
    return np.stack(channels, axis=1), label


def _numbers(text: str) -> np.ndarray:
    words = text.replace("?", "nan").split(",")
    if "_" in text:
        raise DataError("a value is no number (it holds _)")  # which Python would read as nothing
    try:
        return np.array([float(word) for word in words], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"a value is no number ({str(error)[:80]})") from error
