"""Tables of any kind of data: CSV, TSV, JSON Lines and Parquet, in bounded memory, with every fault as a DataError."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twofold.errors import DataError
from twofold.limits import SAMPLE_BYTES, check_memory

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Suffixes of files that are read as tables."""
LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "y")
"""Usual names of the column of classes."""
_SHOWN = 20
_BATCH, _BATCH_OF_BLOBS = 65_536, 64  # rows at once; a row may be a whole sound
_TEXT_FACTOR = 8  # of a text table's size: what Arrow may need to parse it


def column_names(path: Path, *, holding: Callable[[Any], bool] = lambda kind: False) -> tuple[list[str], list[str]]:
    """All columns of a table, and those of a Parquet file whose Arrow type is wanted.

    Args:
        path: A file of :data:`TABLES`.
        holding: Whether an Arrow type is wanted, such as encoded sounds. Text tables have none.

    Raises:
        DataError: If the table is damaged.
    """
    with damage_reported(str(path)):
        if path.suffix.lower() != ".parquet":
            return _text_table(path).column_names, []
        import pyarrow.parquet as parquet

        schema = parquet.read_schema(path)
        return schema.names, [one.name for one in schema if holding(one.type)]


def load(path: Path, wanted: Sequence[str]) -> Any:
    """Some columns of a table as a validated ``pyarrow.Table``; what needs more memory than there is is refused.

    Cells of text tables have the types that Arrow infers; empty ones are null.

    Raises:
        DataError: If the table is damaged, or too large.
    """
    with damage_reported(str(path)):
        if path.suffix.lower() != ".parquet":
            return _text_table(path).select(list(wanted))
        return _parquet(path, list(wanted))


def pick(
    names: Sequence[str], wanted: str | None, usual: Sequence[str], where: str, option: str, sole: Sequence[str] = ()
) -> str | None:
    """The column that was asked for, or the first of the usual names, or the only one of a fitting type.

    Args:
        names: The table's columns.
        wanted: What the user asked for.
        usual: Names to look for otherwise, in any case of letters.
        where: The table, for messages.
        option: The option behind ``wanted``, for messages.
        sole: Columns of a fitting type: taken if it is one.

    Raises:
        DataError: If the table lacks the column that was asked for.
    """
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{where} has no column {wanted!r} ({option}=); it has: {told(names)}")
        return wanted
    lowered = {name.lower(): name for name in reversed(names)}
    found = next((lowered[name] for name in usual if name in lowered), None)
    return found or (sole[0] if len(sole) == 1 else None)


def told(names: Sequence[str]) -> str:
    """The first names of a list, for a message."""
    more = " and more" if len(names) > _SHOWN else ""
    return ", ".join(str(name)[:80] for name in names[:_SHOWN]) + more


@contextmanager
def damage_reported(where: str) -> Iterator[None]:
    """Turn what Arrow and the operating system raise inside into a DataError that names the table."""
    import pyarrow as arrow

    try:
        yield
    except DataError:
        raise
    except (arrow.ArrowException, OSError, LookupError, ValueError, OverflowError, MemoryError) as error:
        text = " ".join(str(error).split())[:300]
        raise DataError(f"{where}: damaged, or not a table of its kind ({text})") from error


def _parquet(path: Path, wanted: list[str]) -> Any:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    batches = []
    with parquet.ParquetFile(path) as file:
        check_memory(max(0, file.metadata.num_rows) * SAMPLE_BYTES, f"{path}: {file.metadata.num_rows:,} rows")
        schema = arrow.schema([file.schema_arrow.field(name) for name in wanted])
        rows = _BATCH if all(_fixed_width(arrow, field.type) for field in schema) else _BATCH_OF_BLOBS
        for batch in file.iter_batches(batch_size=rows, columns=wanted, use_threads=False):
            batch.validate(full=True)
            check_memory(batch.nbytes, f"{path}: its columns {told(wanted)}")
            batches.append(batch.select(wanted))
    return arrow.Table.from_batches(batches, schema)


def _fixed_width(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_primitive(kind) or arrow.types.is_dictionary(kind))


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
