"""Tables with a column of clips: CSV, TSV, JSON Lines (paths), Parquet (paths or encoded films)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twofold.errors import DataError
from twofold.modalities.labels import encode_labels
from twofold.modalities.pixels.decode import UnreadableError
from twofold.modalities.tables import LABEL_COLUMNS, column_names, damage_reported, load, pick, told
from twofold.modalities.video.readers.files import ClipSource, Encoded, encoded_clips, frames_of

_CLIP_COLUMNS = ("video", "clip", "path", "file", "filename", "file_name", "video_path", "frames", "folder")


def read_table(path: Path, *, column: str | None, label_column: str | None) -> ClipSource:
    """The clips that a table lists; relative paths are taken from the table's folder.

    Args:
        path: A file of :data:`twofold.modalities.tables.TABLES`.
        column: The column of paths (of files, or of folders of frames), or in Parquet of bytes or of
            struct{bytes, path}. Default: a usual name, or the only one that holds bytes.
        label_column: The column of classes. Default: a usual name, if there is one.

    Raises:
        DataError: If the table is damaged, has no rows, or lacks a column; the message lists those it has.
    """
    where = str(path)
    names, holding_bytes = column_names(path, holding=_holds_bytes)
    clip = pick(names, column, _CLIP_COLUMNS, where, "column", holding_bytes)
    if clip is None:
        raise DataError(f"{where}: which column holds the clips? Name it with column=; there are: {told(names)}")
    label = pick(names, label_column, LABEL_COLUMNS, where, "label_column")
    table, broken = load(path, [clip] if label in (None, clip) else [clip, label])
    cells = table.column(clip)
    if len(cells) == 0:
        raise DataError(f"{where} has no rows")
    ids = [f"row {i + 1}" for i in range(len(cells))]
    source = encoded_clips(lambda i: _cell(cells[i].as_py(), path.parent, broken.get(i)), ids, where)
    if label is not None:
        with damage_reported(where):
            values = table.column(label).to_pylist()
        source.labels, source.class_names = encode_labels(values, f"{where}: column {label!r}", len(cells))
    return source


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as arrow

    if arrow.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def _cell(value: Any, folder: Path, fault: str | None) -> Encoded:
    """A cell as a clip; UnreadableError for anything else, and where there is a fault."""
    if fault:
        raise UnreadableError(fault)
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if not isinstance(value, str) or not value.strip():
        raise UnreadableError("an empty cell" if not value else f"neither a path nor bytes but {type(value).__name__}")
    path = folder / value
    try:
        return frames_of(path) if path.is_dir() else str(path)
    except (OSError, ValueError) as error:  # a null byte, a name that is too long
        raise UnreadableError(f"no path ({error})") from error
