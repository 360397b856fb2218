"""CSV, TSV and JSON Lines with a column of paths, read row by row: only paths and labels are kept.

A table is its owner's: the paths in it may lead anywhere that the reader of it may read, relative ones from the
table's folder. They are opened as pictures and nothing else.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from twofold.errors import DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities.image.readers.columns import pick_columns
from twofold.modalities.image.readers.files import Pictures
from twofold.modalities.image.readers.labels import encode_labels
from twofold.modalities.shown import printable, shortened

TEXT_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
MAX_ROW = 1024**2
"""Characters a row may have, and the header too: far more than any with a path and a class has."""

_ASK_EVERY = 2**16  # rows between two looks at the free memory


def read_text_table(path: Path, *, column: str | None, label_column: str | None) -> Pictures:
    """A CSV, TSV or JSON Lines file with a column of paths (relative to the table's folder) and maybe one of labels.

    Raises:
        DataError: If it is no such table, names no picture in some row, has a row of more than a million characters,
            or more rows than memory has room for.
    """
    read = _json_cells if path.suffix.lower() in (".jsonl", ".ndjson") else _csv_cells
    names: list[str] = []
    labels: list[Any] = []
    chosen: tuple[str, str | None] | None = None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for chosen, name, value in read(_Rows(file, path), path, column, label_column):
                names.append(_checked_path(name, f"{path}, row {len(names) + 1}: column {shortened(chosen[0])!r}"))
                labels.append(value)
                if len(names) % _ASK_EVERY == 0:
                    check_memory(_ASK_EVERY * SAMPLE_BYTES, f"{path}: the table beyond row {len(names):,}")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 table ({error})") from error
    if chosen is None:
        raise DataError(f"{path} has no rows")
    label = chosen[1]
    encoded, class_names = (None, None)
    if label is not None:
        encoded, class_names = encode_labels(labels, f"{path}: column {shortened(label)!r}")
    folder = str(path.parent)
    return Pictures(
        load=lambda i: os.path.join(folder, names[i]),  # noqa: PTH118 - a Path a picture is slow for millions of them
        ids=[printable(name) for name in names],
        source=str(path),
        labels=encoded,
        class_names=class_names,
        label_source=None if label is None else f"column {shortened(label)!r}",
    )


class _Rows:
    """The lines of a text file, refused where one row (which may span lines, in quotes) grows beyond `MAX_ROW`."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file, self.path = file, path
        self.line = 0
        self._pending = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.file.readline(MAX_ROW + 1)
        self.line += 1
        self._pending += len(line)
        if self._pending > MAX_ROW:
            raise DataError(
                f"{self.path}, line {self.line}: the row is longer than {MAX_ROW:,} characters; is this a table of "
                "pictures? Keep only the columns of paths and labels"
            )
        if not line:
            raise StopIteration
        return line

    def row_done(self) -> None:
        """What was read so far made a row; the next one is counted from here."""
        self._pending = 0


Cells = Iterator[tuple[tuple[str, str | None], Any, Any]]
"""For each row: the names of the image and the label column (or None), and the row's values there."""


def _csv_cells(rows: _Rows, path: Path, column: str | None, label_column: str | None) -> Cells:
    try:
        header = next(rows, "")
        tab = path.suffix.lower() == ".tsv" or ("\t" in header and "," not in header)
        delimiter = "\t" if tab else ";" if ";" in header and "," not in header else ","
        rows.file.seek(0)
        rows.row_done()
        reader = csv.reader(rows, delimiter=delimiter)
        columns = next((row for row in reader if row), [])
        rows.row_done()
        chosen: tuple[str, str | None] | None = None
        for row in reader:
            rows.row_done()
            if not row:
                continue
            if chosen is None:
                chosen = pick_columns(columns, str(path), column, label_column)
                places = [columns.index(name) for name in chosen if name is not None]
            cells = [row[place] if place < len(row) else None for place in places]
            yield chosen, cells[0], cells[1] if len(cells) > 1 else None
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line}: not a UTF-8 table ({error})") from error


def _json_cells(rows: _Rows, path: Path, column: str | None, label_column: str | None) -> Cells:
    chosen: tuple[str, str | None] | None = None
    for line in rows:
        rows.row_done()
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # not JSON; numbers of thousands of digits; nested too deeply
            raise DataError(f"{path}, line {rows.line}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {rows.line}: a JSON object is needed, found {type(row).__name__}")
        if chosen is None:
            chosen = pick_columns(list(row), str(path), column, label_column)
        image, label = chosen
        yield chosen, row.get(image), None if label is None else row.get(label)


def _checked_path(name: Any, where: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where} holds {shortened(repr(name))}, not the path of a picture")
    return name
