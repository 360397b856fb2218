"""Tables with a column of sounds: CSV, TSV, JSON Lines (paths), Parquet (paths or encoded sounds)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twofold.errors import DataError
from twofold.modalities.audio.readers.decode import UnreadableError
from twofold.modalities.audio.readers.files import Sounds
from twofold.modalities.labels import encode_labels
from twofold.modalities.tables import LABEL_COLUMNS, TABLES, column_names, damage_reported, load, pick, told

__all__ = ["TABLES", "read_table"]

_SOUND_COLUMNS = ("audio", "sound", "path", "file", "filename", "file_name", "wav", "clip", "recording", "audio_path")


def read_table(path: Path, *, column: str | None, label_column: str | None) -> Sounds:
    """The sounds that a table lists; relative paths are taken from the table's folder.

    Args:
        path: A file of :data:`TABLES`.
        column: The column of paths, or in Parquet of bytes or of struct{bytes, path} (as Hugging Face writes them).
            Default: a usual name, or the only one that holds bytes.
        label_column: The column of classes. Default: a usual name, if there is one.

    Raises:
        DataError: If the table is damaged, has no rows, or lacks a column; the message lists those it has.
    """
    where = str(path)
    names, holding_bytes = column_names(path, holding=_holds_bytes)
    sound = pick(names, column, _SOUND_COLUMNS, where, "column", holding_bytes)
    if sound is None:
        raise DataError(f"{where}: which column holds the sounds? Name it with column=; there are: {told(names)}")
    label = pick(names, label_column, LABEL_COLUMNS, where, "label_column")
    table, broken = load(path, [sound] if label in (None, sound) else [sound, label])
    cells = table.column(sound)
    with damage_reported(where):
        values = None if label is None else table.column(label).to_pylist()
    if len(cells) == 0:
        raise DataError(f"{where} has no rows")
    encoded, class_names = (None, None)
    if values is not None:
        encoded, class_names = encode_labels(values, f"{where}: column {label!r}", len(cells))
    return Sounds(
        load=lambda i: _cell(cells[i].as_py(), path.parent, broken.get(i)),
        ids=[f"row {i + 1}" for i in range(len(cells))],
        source=where,
        labels=encoded,
        class_names=class_names,
    )


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as arrow

    if arrow.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def _cell(value: Any, folder: Path, fault: str | None) -> str | bytes:
    """A cell as the content of a file or as a path; UnreadableError for anything else, and where there is a fault."""
    if fault:
        raise UnreadableError(fault)
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value.strip():
        return os.path.join(folder, value)  # noqa: PTH118 - a Path a sound is slow for millions of them
    raise UnreadableError(f"an empty cell of type {type(value).__name__}" if not value else "not a path or bytes")
