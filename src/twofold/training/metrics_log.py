"""What a run measured, one record a line: ``metrics.jsonl``, its CSV form, and TensorBoard."""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from twofold.errors import DataError, require
from twofold.training import files

Record = dict[str, Any]


class RecordLog(Protocol):
    """Where records go."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Keep one record; it has a ``"step"``."""
        ...

    def truncate_after(self, step: int) -> None:
        """Forget the records of later steps, before a run is resumed at ``step``."""
        ...

    def sync(self) -> None:
        """Have the disk hold what was written."""
        ...

    def close(self) -> None:
        """Write out what is pending."""
        ...


class MetricsLog:
    """Records as JSON lines, appended; each is with the operating system when ``write`` returns.

    Numbers of torch and NumPy become plain ones, NaN and infinity null. A last line that a killed run left unfinished
    is removed on opening.

    Args:
        path: The file; made if it is not there.

    Raises:
        DataError: If the file has a broken line that is not its last.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        records, torn = _parse(self.path) if self.path.exists() else ([], False)
        if torn:
            _rewrite(self.path, records)
        self._file = self.path.open("a", encoding="utf-8", newline="\n")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record."""
        self._file.write(_line(record))
        self._file.flush()

    def truncate_after(self, step: int) -> None:
        """Keep only records whose ``"step"`` is at most ``step``, and those that have none; atomic."""
        self.close()
        _rewrite(self.path, [record for record in read(self.path) if record.get("step", step) <= step])
        self._file = self.path.open("a", encoding="utf-8", newline="\n")

    def sync(self) -> None:
        """Have the disk hold what was written."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardLog:
    """The same records for TensorBoard: every number but the step is a scalar of that name.

    Args:
        folder: Where the event files go.

    Raises:
        MissingExtraError: If tensorboard is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        require("tensorboard", extra="tensorboard", purpose="Writing TensorBoard logs")
        self.folder = Path(folder)
        self._writer = self._open(purge_step=None)

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a record's numbers at its ``"step"``; nulls and text are left out."""
        for name, value in files.plain(record).items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, global_step=record["step"])
        self._writer.flush()

    def truncate_after(self, step: int) -> None:
        """Have TensorBoard hide what was written for later steps."""
        self.close()
        self._writer = self._open(purge_step=step + 1)

    def sync(self) -> None:
        """Hand what is pending to the operating system; TensorBoard's files are a copy, so that is enough."""
        self._writer.flush()

    def close(self) -> None:
        """Write out what is pending."""
        self._writer.close()

    def _open(self, purge_step: int | None) -> Any:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.folder), purge_step=purge_step)


def read(path: Path | str) -> list[Record]:
    """The records of a ``metrics.jsonl``; an unfinished last line is left out, with a warning.

    Raises:
        DataError: If the file cannot be read, or another line is broken; the message names file and line.
    """
    records, torn = _parse(Path(path))
    if torn:
        warnings.warn(
            f"{path}: the last line is unfinished (a run was killed, or is writing) and is left out.", stacklevel=2
        )
    return records


def to_csv(source: Path | str, target: Path | str) -> None:
    """A ``metrics.jsonl`` as CSV: one column a key, in order of first appearance; empty where a record has none."""
    records = read(source)
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    files.write_text(target, text.getvalue())


def _parse(path: Path) -> tuple[list[Record], bool]:
    """All whole records, and whether the last line is a torn one."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    # A whole file ends in a line break. A last line without one was torn off, even if it happens to be valid JSON: a
    # number may have lost its last digits.
    torn = lines.pop() != b""
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not valid JSON ({error}). Delete that line to go on.") from error
        if not isinstance(record, dict):
            raise DataError(
                f"{path}, line {number}: a record is a JSON object, not {line.decode()[:40]}. Delete that line."
            )
        records.append(record)
    return records, torn


def _rewrite(path: Path, records: list[Record]) -> None:
    files.write_text(path, "".join(map(_line, records)))


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(files.plain(record), ensure_ascii=False, allow_nan=False) + "\n"
