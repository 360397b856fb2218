"""Tables with a column of sounds: CSV, TSV, JSON Lines (paths), Parquet (paths or encoded sounds)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twofold.errors import DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities.audio.readers.decode import UnreadableError
from twofold.modalities.audio.readers.files import Sounds
from twofold.modalities.labels import encode_labels

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_SOUND_COLUMNS = ("audio", "sound", "path", "file", "filename", "file_name", "wav", "clip", "recording", "audio_path")
_LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "y")
_SHOWN = 20
_TEXT_FACTOR = 8  # of a text table's size: what Arrow may need to parse it


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
    with _damage_reported(where):
        names, holding_bytes = _columns(path)
        sound = _pick(names, column, _SOUND_COLUMNS, where, "column", holding_bytes)
        if sound is None:
            raise DataError(f"{where}: which column holds the sounds? Name it with column=; there are: {_told(names)}")
        label = _pick(names, label_column, _LABEL_COLUMNS, where, "label_column")
        table = _load(path, [sound] if label in (None, sound) else [sound, str(label)])
        cells = table.column(sound)
        values = None if label is None else table.column(label).to_pylist()
    if len(cells) == 0:
        raise DataError(f"{where} has no rows")
    encoded, class_names = (None, None)
    if values is not None:
        encoded, class_names = encode_labels(values, f"{where}: column {label!r}", len(cells))
    return Sounds(
        load=lambda i: _cell(cells[i].as_py(), path.parent),
        ids=[f"row {i + 1}" for i in range(len(cells))],
        source=where,
        labels=encoded,
        class_names=class_names,
    )


def _columns(path: Path) -> tuple[list[str], list[str]]:
    """All columns of a table, and those that hold encoded sounds."""
    if path.suffix.lower() != ".parquet":
        return _text_table(path).column_names, []
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    schema = parquet.read_schema(path)
    return schema.names, [one.name for one in schema if _holds_bytes(arrow, one.type)]


def _load(path: Path, wanted: Sequence[str]) -> Any:
    """Some columns of a table, validated; what needs more memory than there is is refused."""
    if path.suffix.lower() != ".parquet":
        return _text_table(path).select(wanted)
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    batches = []
    with parquet.ParquetFile(path) as file:
        check_memory(max(0, file.metadata.num_rows) * SAMPLE_BYTES, f"{path}: {file.metadata.num_rows:,} rows")
        schema = arrow.schema([file.schema_arrow.field(name) for name in wanted])
        for batch in file.iter_batches(batch_size=64, columns=list(wanted), use_threads=False):
            batch.validate(full=True)
            check_memory(batch.nbytes, f"{path}: the table's sounds")
            batches.append(batch.select(list(wanted)))
    return arrow.Table.from_batches(batches, schema)


def _text_table(path: Path) -> Any:
    from pyarrow import csv, json

    check_memory(_TEXT_FACTOR * path.stat().st_size, f"{path}: the table")
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return json.read_json(path, read_options=json.ReadOptions(use_threads=False))
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline(2**16)
    tab = suffix == ".tsv" or ("\t" in header and "," not in header)
    delimiter = "\t" if tab else ";" if ";" in header and "," not in header else ","
    return csv.read_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(strings_can_be_null=True, null_values=[""]),
    )


@contextmanager
def _damage_reported(where: str) -> Iterator[None]:
    import pyarrow as arrow

    try:
        yield
    except DataError:
        raise
    except (arrow.ArrowException, OSError, LookupError, ValueError, OverflowError, MemoryError) as error:
        text = " ".join(str(error).split())[:300]
        raise DataError(f"{where}: damaged, or not a table of its kind ({text})") from error


def _pick(
    names: Sequence[str], wanted: str | None, usual: Sequence[str], where: str, option: str, sole: Sequence[str] = ()
) -> str | None:
    """The column that was asked for, or the first of the usual names, or the only one of a fitting type."""
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{where} has no column {wanted!r} ({option}=); it has: {_told(names)}")
        return wanted
    lowered = {name.lower(): name for name in reversed(names)}
    found = next((lowered[name] for name in usual if name in lowered), None)
    return found or (sole[0] if len(sole) == 1 else None)


def _told(names: Sequence[str]) -> str:
    more = " and more" if len(names) > _SHOWN else ""
    return ", ".join(str(name)[:80] for name in names[:_SHOWN]) + more


def _holds_bytes(arrow: Any, kind: Any) -> bool:
    if arrow.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def _cell(value: Any, folder: Path) -> str | bytes:
    """A cell as the content of a file or as a path; UnreadableError for anything else."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes) and value:
        return value
    if isinstance(value, str) and value.strip():
        return os.path.join(folder, value)  # noqa: PTH118 - a Path a sound is slow for millions of them
    raise UnreadableError(f"an empty cell of type {type(value).__name__}" if not value else "not a path or bytes")
