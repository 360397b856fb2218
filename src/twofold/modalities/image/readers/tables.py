"""Tables with a column of pictures: Parquet (encoded bytes), CSV, TSV and JSON Lines (paths)."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twofold.errors import DataError
from twofold.modalities.image.readers.decode import UnreadableError
from twofold.modalities.image.readers.files import Pictures
from twofold.modalities.image.readers.labels import encode_labels

TEXT_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")
_IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "file_name", "filename", "file", "path", "image_path")
_LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "y", "fine_label")


def pick_column(
    columns: Sequence[str], wanted: str | None, usual: Sequence[str], where: str, option: str, sole: Sequence[str] = ()
) -> str | None:
    """The column that was asked for, or the first of the usual names, or the only one of a fitting type.

    Raises:
        DataError: If the column asked for is not there.
    """
    if wanted is not None:
        if wanted not in columns:
            raise DataError(f"{where} has no column {wanted!r} ({option}=); it has: {', '.join(columns)}")
        return wanted
    lowered = {column.lower(): column for column in reversed(columns)}
    found = next((lowered[name] for name in usual if name in lowered), None)
    return found or (sole[0] if len(sole) == 1 else None)


def pick_columns(
    columns: Sequence[str], where: str, column: str | None, label_column: str | None, sole: Sequence[str] = ()
) -> tuple[str, str | None]:
    """The image column and the label column (or None) of a table; DataError if there is no image column."""
    image = pick_column(columns, column, _IMAGE_COLUMNS, where, "column", sole)
    if image is None:
        raise DataError(
            f"{where}: which column holds the pictures? Name it with column=; there are: {', '.join(columns)}"
        )
    return image, pick_column(columns, label_column, _LABEL_COLUMNS, where, "label_column")


def read_text_table(path: Path, *, column: str | None, label_column: str | None) -> Pictures:
    """A CSV, TSV or JSON Lines file with a column of paths (relative to the table's folder) and maybe one of labels."""
    rows = _json_rows(path) if path.suffix.lower() in (".jsonl", ".ndjson") else _csv_rows(path)
    if not rows:
        raise DataError(f"{path} has no rows")
    image, label = pick_columns(list(rows[0]), str(path), column, label_column)
    names = [row.get(image) for row in rows]
    for number, name in enumerate(names, 1):
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{path}, row {number}: column {image!r} holds {name!r}, not the path of a picture")
    paths = [str(path.parent / str(name)) for name in names]
    labels, class_names = (None, None)
    if label is not None:
        labels, class_names = encode_labels([row.get(label) for row in rows], f"{path}: column {label!r}")
    return Pictures(
        load=paths.__getitem__,
        ids=[str(name) for name in names],
        source=str(path),
        labels=labels,
        class_names=class_names,
        label_source=None if label is None else f"column {label!r}",
    )


def read_parquet(paths: Sequence[Path], *, column: str | None, label_column: str | None) -> Pictures:
    """Parquet files with a column of encoded pictures: bytes, or struct{bytes, path} as Hugging Face writes them.

    The encoded pictures (not the decoded ones) are kept in memory. Class names come from the Hugging Face metadata
    where there is some. Text in the image column is taken for paths, from the file's own folder.
    """
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    where = str(paths[0]) if len(paths) == 1 else f"{paths[0].parent} ({len(paths)} Parquet files)"
    try:
        schema = parquet.read_schema(paths[0])
        picture_like = [field.name for field in schema if _holds_pictures(arrow, field.type)]
        image, label = pick_columns(schema.names, where, column, label_column, picture_like)
        _check_type(arrow, schema.field(image), where)
        wanted = [image] if label is None else [image, label]
        tables = [parquet.read_table(path, columns=wanted, partitioning=None) for path in paths]
        pictures = arrow.chunked_array([chunk for table in tables for chunk in table[image].chunks])
        labels = [value for table in tables if label is not None for value in table[label].to_pylist()]
    except (arrow.ArrowException, OSError, KeyError) as error:
        raise DataError(f"{where}: damaged, or its files have different columns ({error})") from error
    encoded, class_names = (None, None)
    if label is not None:
        encoded, class_names = encode_labels(labels, f"{where}: column {label!r}")
        class_names = _declared_names(schema, label) or class_names
    return Pictures(
        load=lambda i: picture_value(pictures[i].as_py(), paths[0].parent),
        ids=_row_names(paths, [len(table) for table in tables]),
        source=where,
        labels=encoded,
        class_names=class_names,
        label_source=None if label is None else f"column {label!r}",
    )


def picture_value(value: Any, folder: Path | None) -> str | bytes:
    """A cell (bytes, {"bytes", "path"} or a path) as bytes or a path; UnreadableError for anything else."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value:
        return value if folder is None else str(folder / value)
    raise UnreadableError("empty cell" if value is None or value == "" else f"a cell of type {type(value).__name__}")


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            tab = path.suffix.lower() == ".tsv" or ("\t" in header and "," not in header)
            delimiter = "\t" if tab else ";" if ";" in header and "," not in header else ","
            return list(csv.DictReader(file, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a UTF-8 table ({error})") from error


def _json_rows(path: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}, line {number}: a JSON object is needed, found {type(row).__name__}")
                rows.append(row)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {number}: not JSON ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from error
    return rows


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


def _declared_names(schema: Any, label: str) -> list[str] | None:
    """The class names that Hugging Face wrote into the schema, or None."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names]


def _row_names(paths: Sequence[Path], counts: Sequence[int]) -> list[str]:
    if len(paths) == 1:
        return [f"row {i}" for i in range(counts[0])]
    return [f"{path.name} row {i}" for path, count in zip(paths, counts, strict=True) for i in range(count)]
