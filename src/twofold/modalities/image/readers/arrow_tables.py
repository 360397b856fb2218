"""Tables of encoded pictures that Arrow reads: Parquet files, and folders written by Hugging Face's `save_to_disk`.

Neither needs the `datasets` library, whose own loader follows file names out of the folder and trusts every offset in
a file: a damaged one can end the process. Here batches are validated before a value of them is looked at, and memory
is asked for as they come, since a few kilobytes of Parquet can stand for any number of rows. Arrow unpacks page by
page; a page is at most 2 GiB by its format.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twofold.errors import DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities.image.readers.columns import pick_columns
from twofold.modalities.image.readers.files import Pictures
from twofold.modalities.image.readers.folders import choose_split
from twofold.modalities.image.readers.labels import encode_labels
from twofold.modalities.pixels.decode import UnreadableError
from twofold.modalities.shown import printable, shortened

_ROWS = 16  # read at a time: what stands between two looks at the free memory
_GROUP_BYTES = 64 * 1024**2
_STATE, _SPLITS = "state.json", "dataset_dict.json"


def read_parquet(paths: Sequence[Path], *, column: str | None, label_column: str | None) -> Pictures:
    """Parquet files with a column of encoded pictures: bytes, or struct{bytes, path} as Hugging Face writes them.

    The encoded pictures (not the decoded ones) are kept in memory. Class names come from the Hugging Face metadata
    where there is some. Text in the image column is taken for paths, from the file's own folder.

    Raises:
        DataError: If a file is damaged, the files have different columns, no column holds pictures, or they need more
            memory than is free.
    """
    import pyarrow.parquet as parquet

    where = str(paths[0]) if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} Parquet files)"
    return _read(paths, parquet.read_schema, _parquet_batches, where, column=column, label_column=label_column)


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by `Dataset.save_to_disk` or `DatasetDict.save_to_disk`."""
    return (folder / _SPLITS).is_file() or (folder / _STATE).is_file()


def read_saved(folder: Path, *, column: str | None, label_column: str | None, split: str | None) -> Pictures:
    """A folder written by Hugging Face's `save_to_disk`; the pictures stay on the disk until they are fetched.

    Args:
        folder: The folder of a Dataset, or of a DatasetDict, which holds one folder for each split.
        column: The image column; default: a usual name, or the only one that holds encoded pictures.
        label_column: The label column; default: a usual name, if there is one.
        split: Which split of a DatasetDict; default: the only one, or "train".

    Raises:
        DataError: If a file is damaged or lies outside the folder, or if no column holds pictures.
    """
    notes: list[str] = []
    where = folder
    if (folder / _SPLITS).is_file():
        named = _entry(folder / _SPLITS, "splits")
        chosen = choose_split([str(name) for name in named], split, str(folder))
        notes.append(f"read split {chosen!r}")
        where = _inside(folder, chosen, folder / _SPLITS)
    state = where / _STATE
    files = [item.get("filename") if isinstance(item, dict) else item for item in _entry(state, "_data_files")]
    if not files or _entry(state, "_indices_files", []):
        raise DataError(
            f"{state} lists no data files, or an index of rows beside them; load it with datasets.load_from_disk, and "
            "give the dataset itself"
        )
    paths = [_inside(where, name, state) for name in files]
    pictures = _read(paths, _stream_schema, _stream_batches, str(folder), column=column, label_column=label_column)
    pictures.notes = notes
    return pictures


def picture_value(value: Any, folder: Path | None) -> str | bytes:
    """A cell (bytes, {"bytes", "path"} or a path) as bytes or a path; UnreadableError for anything else."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value:
        return value if folder is None else str(folder / value)
    raise UnreadableError("empty cell" if value is None or value == "" else f"a cell of type {type(value).__name__}")


@dataclass
class _Columns:
    """What is kept of the batches: the cells of pictures as Arrow arrays, the labels as Python values."""

    cells: list[Any] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


def _read(
    paths: Sequence[Path], read_schema: Any, batches: Any, where: str, *, column: str | None, label_column: str | None
) -> Pictures:
    import pyarrow as arrow

    try:
        schema = read_schema(paths[0])
        picture_like = [field.name for field in schema if _holds_pictures(arrow, field.type)]
        image, label = pick_columns(schema.names, where, column, label_column, picture_like)
        _check_type(arrow, schema.field(image), where)
        kept = _Columns()
        for path in paths:
            _collect(batches(path, [image] if label is None else [image, label]), kept)
        pictures = arrow.chunked_array(kept.cells, schema.field(image).type)
    except DataError:
        raise
    except (arrow.ArrowException, OSError, LookupError, ValueError, OverflowError, struct.error) as error:
        raise DataError(f"{where}: damaged, or its files have different columns ({error})") from error
    encoded, class_names = (None, None)
    if label is not None:
        encoded, class_names = encode_labels(kept.labels, f"{where}: column {shortened(label)!r}")
        if class_names is None and len(encoded):
            class_names = _declared_names(schema, label, int(encoded.max()))
    return Pictures(
        load=lambda i: _cell(pictures, i, paths[0].parent),
        ids=_row_names(paths, kept.rows),
        source=where,
        labels=encoded,
        class_names=class_names,
        label_source=None if label is None else f"column {shortened(label)!r}",
    )


def _collect(batches: Iterator[Any], kept: _Columns) -> None:
    """Take the columns out of a file's batches."""
    rows = 0
    for batch in batches:
        batch.validate(full=True)
        kept.cells.append(batch.column(0))
        if batch.num_columns > 1:
            kept.labels += batch.column(1).to_pylist()
        rows += batch.num_rows
    kept.rows.append(rows)


def _parquet_batches(path: Path, wanted: list[str]) -> Iterator[Any]:
    """Few batches of about 64 MiB, put together of small ones, with a look at the free memory before each."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    group: list[Any] = []
    rows, grown = 0, 0
    with parquet.ParquetFile(path) as file:
        check_memory(max(0, file.metadata.num_rows) * SAMPLE_BYTES, f"{path}: {file.metadata.num_rows:,} rows")
        for batch in file.iter_batches(batch_size=_ROWS, columns=wanted, use_threads=False):
            group.append(batch.select(wanted))
            rows += batch.num_rows
            grown += batch.nbytes + batch.num_rows * SAMPLE_BYTES
            if grown > _GROUP_BYTES:
                check_memory(grown, f"{path}: the table beyond row {rows:,}")
                yield arrow.concat_batches(group)
                group, grown = [], 0
    if group:
        yield arrow.concat_batches(group)


def _stream_schema(path: Path) -> Any:
    import pyarrow as arrow

    with arrow.memory_map(str(path)) as source:
        return arrow.ipc.open_stream(source).schema


def _stream_batches(path: Path, wanted: list[str]) -> Iterator[Any]:
    import pyarrow as arrow

    _check_unpacked(path)
    names = _stream_schema(path).names
    options = arrow.ipc.IpcReadOptions(included_fields=[names.index(name) for name in wanted], use_threads=False)
    for batch in arrow.ipc.open_stream(arrow.memory_map(str(path)), options=options):
        yield batch.select(wanted)


def _check_unpacked(path: Path) -> None:
    """Refuse compressed batches: Arrow would unpack whatever they claim to be at once, and `datasets` writes none."""
    import pyarrow as arrow

    with arrow.memory_map(str(path)) as source:
        for message in arrow.ipc.MessageReader.open_stream(source):
            if message.type == "record batch" and _is_packed(message.metadata.to_pybytes()):
                raise DataError(
                    f"{path}: compressed; load it with datasets.load_from_disk, and give the dataset itself"
                )


def _is_packed(message: bytes) -> bool:
    """Whether the flatbuffer of a record batch has the field "compression" (number 3 of table RecordBatch)."""
    batch = _table_field(message, struct.unpack_from("<I", message)[0], 2)  # number 2 of table Message: its header
    if batch is None:
        return False
    return _table_field(message, batch + struct.unpack_from("<I", message, batch)[0], 3) is not None


def _table_field(buffer: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table lies, or None if it is left out."""
    vtable = table - struct.unpack_from("<i", buffer, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", buffer, vtable)[0]:
        return None
    offset = struct.unpack_from("<H", buffer, vtable + 4 + 2 * number)[0]
    return table + offset if offset else None


def _cell(pictures: Any, row: int, folder: Path) -> str | bytes:
    try:
        value = pictures[row].as_py()
    except (ValueError, OverflowError) as error:  # other fields of the struct, such as dates that Python has not
        raise UnreadableError(f"a cell that Python cannot hold ({error})") from error
    return picture_value(value, folder)


def _holds_pictures(arrow: Any, kind: Any) -> bool:
    types = arrow.types
    if types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _check_type(arrow: Any, field: Any, where: str) -> None:
    text = arrow.types.is_string(field.type) or arrow.types.is_large_string(field.type)
    if not text and not _holds_pictures(arrow, field.type):
        raise DataError(
            f"{where}: column {field.name!r} has type {field.type}; pictures are encoded bytes (PNG, JPEG ...), a "
            "struct with a field 'bytes', or paths. Save raw pixels as .npz instead"
        )


def _declared_names(schema: Any, label: str, highest: int) -> list[str] | None:
    """The class names that Hugging Face wrote into the schema, if they reach up to the highest class, or None."""
    try:
        names = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    fits = isinstance(names, list) and highest < len(names)
    return [printable(str(name)) for name in names] if fits else None


def _row_names(paths: Sequence[Path], counts: Sequence[int]) -> list[str]:
    if len(paths) == 1:
        return [f"row {i}" for i in range(counts[0])]
    return [f"{path.name} row {i}" for path, count in zip(paths, counts, strict=True) for i in range(count)]


def _entry(path: Path, key: str, default: Any = None) -> list[Any]:
    """A list in a small JSON file; DataError if it is not there."""
    try:
        check_memory(8 * path.stat().st_size, str(path))
        value = json.loads(path.read_text(encoding="utf-8"))
    except DataError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged or missing; not the state of a Hugging Face dataset ({error})") from error
    found = value.get(key, default) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{path}: not the state of a Hugging Face dataset; it has no list {key!r}")
    return found


def _inside(folder: Path, name: Any, listed_in: Path) -> Path:
    """The file or folder of that name in a folder; DataError if the name leads elsewhere."""
    if not isinstance(name, str) or name in ("", "..") or Path(name).name != name:
        raise DataError(f"{listed_in} lists {shortened(str(name))!r}, which is no name of a file beside it")
    return folder / name
