"""Tables of any kind of data: CSV, TSV, JSON Lines and Parquet, in bounded memory, with every fault as a DataError.

Rows of a text table that cannot be read, for they have too many cells or too few or are no JSON, keep their place, so
that the numbers of the rows after them stay true: they are empty, and `Loaded` says what is wrong with them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from twofold.errors import DataError
from twofold.limits import SAMPLE_BYTES, check_memory

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Suffixes of files that are read as tables."""
LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "y")
"""Usual names of the column of classes."""
_JSON = (".jsonl", ".ndjson")
_SHOWN = 20
_BATCH, _BATCH_OF_BLOBS = 65_536, 64  # rows at once; a row may be a whole sound
_TEXT_FACTOR = 8  # of a text table's size: what Arrow may need to parse it


class Loaded(NamedTuple):
    """Columns of a table.

    Attributes:
        table: A validated ``pyarrow.Table``. Broken rows are null in every column.
        broken: Row, counted from 0 → what is wrong with it. Never more than half of the rows.
    """

    table: Any
    broken: Mapping[int, str]

    def sound_rows(self) -> Any:
        """The table without the broken rows."""
        if not self.broken:
            return self.table
        sound = np.ones(len(self.table), dtype=bool)
        sound[list(self.broken)] = False
        return self.table.filter(sound)

    def told(self, item: str = "rows") -> list[str]:
        """A remark on the broken rows, if there are any."""
        if not self.broken:
            return []
        row, reason = next(iter(self.broken.items()))
        return [f"{item} that cannot be read are left out ({len(self.broken):,}), such as row {row + 1:,} ({reason})"]


def column_names(path: Path, *, holding: Callable[[Any], bool] = lambda kind: False) -> tuple[list[str], list[str]]:
    """All columns of a table, and those of a Parquet file whose Arrow type is wanted.

    Args:
        path: A file of :data:`TABLES`.
        holding: Whether an Arrow type is wanted, such as encoded sounds. Text tables have none.

    Raises:
        DataError: If the table is damaged.
    """
    with damage_reported(str(path)):
        suffix = path.suffix.lower()
        if suffix in _JSON:
            return _json_table(path).table.column_names, []
        if suffix != ".parquet":
            return _csv_names(path), []
        import pyarrow.parquet as parquet

        schema = parquet.read_schema(path)
        return schema.names, [one.name for one in schema if holding(one.type)]


def load(path: Path, wanted: Sequence[str]) -> Loaded:
    """Some columns of a table; what needs more memory than there is is refused.

    Cells of text tables have the types that Arrow infers; empty ones are null.

    Raises:
        DataError: If the table is damaged, or too large, or more than half of its rows are broken.
    """
    with damage_reported(str(path)):
        suffix = path.suffix.lower()
        if suffix == ".parquet":
            return Loaded(_parquet(path, list(wanted)), {})
        table, broken = _json_table(path) if suffix in _JSON else _csv_table(path)
        return Loaded(table.select(list(wanted)), broken)


def load_whole(path: Path, wanted: Sequence[str]) -> Any:
    """As :func:`load`, but only the ``pyarrow.Table``, of which no row may be broken.

    Raises:
        DataError: If one is, naming it.
    """
    table, broken = load(path, wanted)
    if broken:
        row, reason = next(iter(broken.items()))
        raise DataError(
            f"{path}: {len(broken):,} of {len(table):,} rows cannot be read, such as row {row + 1:,} ({reason})"
        )
    return table


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


def _csv_names(path: Path) -> list[str]:
    """The columns of a CSV or TSV file, from its beginning alone unless that is broken."""
    import pyarrow as arrow
    from pyarrow import csv

    options = _csv_options(path)
    try:
        names: list[str] = csv.open_csv(path, **options).schema.names
    except arrow.ArrowInvalid:
        names = _csv_table(path).table.column_names
    counted = [[str(i) for i in range(start, start + len(names))] for start in (0, 1)]  # as pandas names columns
    if all(_is_number(name) for name in names) and names not in counted:
        raise DataError(f"{path}: the first line must name the columns, and it holds numbers: {told(names)}")
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _csv_table(path: Path) -> Loaded:
    import pyarrow as arrow
    from pyarrow import csv

    check_memory(_TEXT_FACTOR * path.stat().st_size, f"{path}: the table")
    options = _csv_options(path)
    try:
        return Loaded(csv.read_csv(path, **options), {})
    except arrow.ArrowInvalid:
        # Arrow hands over the text of a broken row, and for that it must be UTF-8.
        content = io.BytesIO(path.read_bytes().decode("utf-8-sig", "replace").encode())
        broken: dict[int, str] = {}
        options["parse_options"].invalid_row_handler = lambda row: _noted(row, broken)
        table = csv.read_csv(content, **options)
        _check_broken(path, broken, len(table) + len(broken))
        return Loaded(_with_gaps(table, list(broken)), broken)


def _csv_options(path: Path) -> dict[str, Any]:
    """Of Arrow's readers, for this file."""
    from pyarrow import csv

    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline(2**16)
    tab = path.suffix.lower() == ".tsv" or ("\t" in header and "," not in header)
    delimiter = "\t" if tab else ";" if ";" in header and "," not in header else ","
    return {
        "read_options": csv.ReadOptions(use_threads=False),  # with threads, broken rows have no numbers
        "parse_options": csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        "convert_options": csv.ConvertOptions(strings_can_be_null=True, null_values=[""]),
    }


def _noted(row: Any, broken: dict[int, str]) -> str:
    """What Arrow is to do with a broken row, which is noted with its number, and what is wrong with it."""
    if row.number is None:
        return "error"
    cells = "1 cell" if row.actual_columns == 1 else f"{row.actual_columns:,} cells"
    broken[row.number - 2] = f"{cells}, the header has {row.expected_columns:,}"  # the header is 1
    return "skip"


def _with_gaps(table: Any, gaps: list[int]) -> Any:
    """The table with empty rows put in, so that they are at these places."""
    import pyarrow as arrow

    if not gaps:
        return table
    empty = np.zeros(len(table) + len(gaps), dtype=bool)
    empty[gaps] = True
    return table.take(arrow.array(np.cumsum(~empty) - 1, mask=empty))


def _json_table(path: Path) -> Loaded:
    import pyarrow as arrow
    from pyarrow import json as arrow_json

    check_memory(_TEXT_FACTOR * path.stat().st_size, f"{path}: the table")
    options = arrow_json.ReadOptions(use_threads=False)
    try:
        return Loaded(arrow_json.read_json(path, read_options=options), {})
    except arrow.ArrowInvalid:
        rows = [line for line in path.read_bytes().splitlines() if line.strip()]
        broken = {i: reason for i, line in enumerate(rows) if (reason := _json_fault(line))}
        if not broken:
            raise
        _check_broken(path, broken, len(rows))
        mended = b"\n".join(b"{}" if i in broken else line for i, line in enumerate(rows))
        return Loaded(arrow_json.read_json(io.BytesIO(mended), read_options=options), broken)


def _json_fault(line: bytes) -> str | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # no JSON or no UTF-8; numbers of thousands of digits; nested too deeply
        return "not JSON"
    return None if isinstance(row, dict) else "no JSON object"


def _check_broken(path: Path, broken: Mapping[int, str], rows: int) -> None:
    if 2 * len(broken) > rows:
        row, reason = next(iter(broken.items()))
        raise DataError(
            f"{path}: {len(broken):,} of {rows:,} rows cannot be read, such as row {row + 1:,} ({reason}). Is it a "
            "table, with the names of the columns in its first line?"
        )
