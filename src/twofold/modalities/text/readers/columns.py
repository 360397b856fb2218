"""Tables and data sets of Hugging Face with columns of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twofold.errors import DataError, require
from twofold.modalities import tables
from twofold.modalities.folders import SPLITS, split_of
from twofold.modalities.labels import encode_labels
from twofold.modalities.text.dataset import Source
from twofold.modalities.text.readers.lines import LONGEST, decoded, is_damaged

TEXT_COLUMNS = ("text", "sentence", "content", "document", "query", "title", "review", "utterance", "caption", "body")
"""Usual names of the column of texts."""


def read_table(path: Path, *, column: str | None, label_column: str | None) -> Source:
    """The texts of a CSV, TSV, JSON Lines or Parquet file, and their classes where there is such a column.

    Args:
        path: A file of ``tables.TABLES``.
        column: The column of texts, or several with commas between, which are the views of a sample. Default: a usual
            name, or the only column.
        label_column: The column of classes. Default: a usual name, if there is one.

    Raises:
        DataError: If the table is damaged, has no rows, or lacks a column; the message lists those it has. Single rows
            that cannot be read are left out.
    """
    names, _ = tables.column_names(path)
    where = str(path)
    chosen = chosen_columns(names, column, where)
    label = tables.pick(names, label_column, tables.LABEL_COLUMNS, where, "label_column")
    label = None if label in chosen and label_column is None else label
    table, broken = tables.load(path, list(dict.fromkeys([*chosen, *([label] if label else [])])))
    found = from_columns(lambda name: cells(table, name, where), chosen, label, where)
    found.broken = broken
    return found


def read_hub(source: Any, *, column: str | None, label_column: str | None, split: str | None, name: str) -> Source:
    """A `datasets.Dataset`, or of a DatasetDict one split (train by default); arguments otherwise as `read_table`."""
    library = require("datasets", extra="datasets", purpose="reading a Hugging Face dataset")
    if isinstance(source, library.IterableDataset | library.IterableDatasetDict):
        raise DataError(f"{name} is a streaming dataset without a length; load it with streaming=False")
    notes = []
    if isinstance(source, library.DatasetDict):
        part = chosen_split(list(source), split, name)
        source, notes = source[part], [f"read split {part!r}"]
    rows = source.with_format(None)
    chosen = chosen_columns(rows.column_names, column, name)
    label = tables.pick(rows.column_names, label_column, tables.LABEL_COLUMNS, name, "label_column")
    found = from_columns(lambda one: list(rows[one]), chosen, label if label not in chosen else None, name)
    declared = getattr(rows.features.get(label), "names", None) if label else None
    found.class_names = list(declared) if declared else found.class_names
    found.notes = notes + found.notes
    return found


def cells(table: Any, name: str, where: str) -> list[Any]:
    """The values of a table's column; text that is no UTF-8, which Arrow does not look at, with U+FFFD in it.

    Raises:
        DataError: If Python has no such values, such as dates out of its range.
    """
    import pyarrow as arrow

    column = table.column(name)
    with tables.damage_reported(where):
        if not arrow.types.is_string(column.type) and not arrow.types.is_large_string(column.type):
            return list(column.to_pylist())
        return [value if value is None else decoded(value) for value in column.cast(arrow.large_binary()).to_pylist()]


def from_columns(values: Callable[[str], list[Any]], chosen: Sequence[str], label: str | None, where: str) -> Source:
    """Texts and classes out of a table's columns.

    Raises:
        DataError: If there are no rows, or cells hold neither text nor numbers.
    """
    notes: list[str] = []
    texts = [_texts(values(name), f"{where}: column {name!r}", notes) for name in chosen]
    count = len(texts[0])
    if not count:
        raise DataError(f"{where} has no rows")
    labels, class_names = (None, None)
    if label is not None:
        labels, class_names = encode_labels(values(label), f"{where}: column {label!r}", count)
    return Source(texts, [f"row {i + 1}" for i in range(count)], where, labels, class_names, notes)


def chosen_columns(names: Sequence[str], column: str | None, where: str) -> list[str]:
    """The columns of texts: those named, with commas between, or one of a usual name, or the only one.

    Raises:
        DataError: If a column is not there, or none is named and none has a usual name.
    """
    if column is not None and column not in names and "," in column:
        parts = [part.strip() for part in column.split(",")]
        return [str(tables.pick(names, part, (), where, "column")) for part in parts]
    found = tables.pick(names, column, TEXT_COLUMNS, where, "column", names)
    if found is None:
        raise DataError(f"{where}: which column holds the texts? Name it with column=; there are: {tables.told(names)}")
    return [found]


def chosen_split(names: Sequence[str], split: str | None, where: str) -> str:
    """The name of the split that is wanted, or of the only one, or of the one for training.

    Raises:
        DataError: If it is not there, or none is for training.
    """
    wanted = split or ("train" if len(names) > 1 else names[0])
    known = SPLITS.get(split_of(wanted) or "", (wanted,))
    found = wanted if wanted in names else next((name for name in names if name.lower() in known), None)
    if found is None:
        raise DataError(f"{where} has no split {wanted!r} (split=); it has: {', '.join(names)}")
    return found


def _texts(values: list[Any], where: str, notes: list[str]) -> list[str | None]:
    """Cells as texts: numbers are written out, bytes decoded, long ones cut."""
    texts: list[str | None] = []
    damaged = cut = 0
    for number, cell in enumerate(values, start=1):
        if cell is not None and not isinstance(cell, str | bytes | int | float):
            raise DataError(f"{where}, row {number}, holds {type(cell).__name__}, not text; name another (column=)")
        text = decoded(cell) if isinstance(cell, bytes) else None if cell is None or cell != cell else str(cell)
        damaged += text is not None and is_damaged(text)
        cut += text is not None and len(text) > LONGEST
        texts.append(text and text[:LONGEST].strip())
    if 2 * damaged > len(values):
        raise DataError(f"{where}: {damaged} of {len(values)} texts are no UTF-8; convert the file first (iconv)")
    notes += [f"{where}: {damaged:,} texts hold bytes that are no UTF-8, which were replaced"] if damaged else []
    notes += [f"{where}: of {cut:,} texts only the first {LONGEST:,} characters were read"] if cut else []
    return texts
