"""Where tables come from: files, data frames, arrays and dictionaries of columns, all as one ``pyarrow.Table``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities import tables
from twofold.modalities.folders import existing

_CELL_BYTES = 16  # of a cell, in Arrow and as a number


@dataclass(frozen=True)
class Source:
    """A table, and what is known of it beside its columns.

    Attributes:
        table: A ``pyarrow.Table`` with at least one row and names that differ.
        name: What was read, for messages.
        answers: One value a row that came apart from the table (the y of an (x, y)), as a ``pyarrow.ChunkedArray``.
        named: Whether the columns have names of their own; those of an array are counted.
        broken: Row → why it could not be read; its cells are null.
    """

    table: Any
    name: str
    answers: Any = None
    named: bool = True
    broken: Mapping[int, str] = field(default_factory=dict)

    @property
    def sound_rows(self) -> Any:
        """The table without the broken rows."""
        return tables.Loaded(self.table, self.broken).sound_rows()


def open_source(source: Any) -> Source:
    """Bring anything that holds a table into one form.

    Raises:
        DataError: If it is no table, is damaged, has no rows, or two columns of the same name.
    """
    found = _opened(source)
    columns = found.table.column_names
    if found.table.num_rows == 0 or not columns:
        raise DataError(f"{found.name} has no {'rows' if columns else 'columns'}")
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise DataError(f"{found.name} has several columns called {tables.told(repeated)}; rename all but one")
    if found.answers is not None and len(found.answers) != found.table.num_rows:
        raise DataError(f"{found.name}: {len(found.answers):,} labels for {found.table.num_rows:,} rows; one each")
    return found


def _opened(source: Any) -> Source:
    if isinstance(source, str | Path):
        return _from_file(existing(source))
    if isinstance(source, list | tuple) and len(source) == 1 and isinstance(source[0], str | Path):
        return _from_file(existing(source[0]))
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str | Path):
        rows = _opened(source[0])
        return Source(rows.table, rows.name, _column(source[1], "the labels"), rows.named)
    if hasattr(source, "feature_names") and isinstance(source, Mapping) and {"data", "target"} <= set(source):
        return _from_bunch(source)
    if isinstance(source, Mapping):
        return Source(_from_columns(source), "the dictionary of columns")
    if isinstance(source, np.ndarray | Tensor):
        return _from_array(source)
    if (table := _frame(source)) is not None:
        return Source(table, f"the {type(source).__name__}")
    if isinstance(source, list) and source and all(isinstance(row, Mapping) for row in source):
        return Source(_from_records(source), "the list of rows")
    if isinstance(source, list) and source and all(isinstance(row, list | tuple | np.ndarray) for row in source):
        return _from_array(_rectangle(source))
    if isinstance(source, list) and any(isinstance(item, str | Path) for item in source):
        raise DataError("one table is read at a time; put several files together first, such as by pandas.concat")
    raise DataError(
        f"cannot read a table from {'an empty ' if source == [] else 'a '}{type(source).__name__}; give a file "
        f"({' '.join(tables.TABLES)}), a data frame, an array (rows, columns) or a dictionary of columns"
    )


def _from_file(path: Path) -> Source:
    if path.is_dir():
        inside = sorted(one.name for one in path.iterdir() if one.suffix.lower() in tables.TABLES)
        hint = f"name one of its tables: {tables.told(inside)}" if inside else "it holds no tables"
        raise DataError(f"{path} is a folder; {hint}")
    if path.suffix.lower() not in tables.TABLES:
        raise DataError(f"{path}: tables are read from {' '.join(tables.TABLES)}")
    names, _ = tables.column_names(path)
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path} has several columns called {tables.told(repeated)}; rename all but one")
    table, broken = tables.load(path, names)
    return Source(table, str(path), broken=broken)


def _from_array(array: Any, names: list[str] | None = None) -> Source:
    import pyarrow as arrow

    array = array.detach().cpu().numpy() if isinstance(array, Tensor) else array
    if array.dtype.names:
        return Source(_from_columns({name: array[name] for name in array.dtype.names}), "the array")
    if array.ndim != 2:
        raise DataError(f"the array has shape {array.shape}; a table is (rows, columns)")
    check_memory(_CELL_BYTES * array.size, f"the array of {array.shape[0]:,} rows")
    labels = names or [f"column {i + 1}" for i in range(array.shape[1])]
    with tables.damage_reported("the array"):
        columns = [_values(column) for column in array.T]
        return Source(arrow.table(columns, names=labels), "the array", named=names is not None)


def _from_bunch(source: Any) -> Source:
    """What scikit-learn's ``load_wine()`` and its like give."""
    data, names = source["data"], [str(name) for name in source["feature_names"]]
    answers = _column(source["target"], "the target")
    if not isinstance(data, np.ndarray):
        return Source(_opened(data).table, "the data", answers)
    return Source(_from_array(data, names).table, "the data", answers)


def _from_columns(columns: Mapping[Any, Any]) -> Any:
    import pyarrow as arrow

    made = {str(name): _column(values, f"column {name!r}") for name, values in columns.items()}
    lengths = {name: len(values) for name, values in made.items()}
    if len(set(lengths.values())) > 1:
        told = tables.told([f"{name} {length:,}" for name, length in lengths.items()])
        raise DataError(f"the columns are of different lengths: {told}")
    return arrow.table(made)


def _from_records(rows: list[Any]) -> Any:
    import pyarrow as arrow

    with tables.damage_reported("the list of rows"):
        names = list(dict.fromkeys(name for row in rows for name in row))
        return arrow.table({str(name): _values([row.get(name) for row in rows]) for name in names})


def _frame(source: Any) -> Any:
    """The Arrow table of a data frame (pandas, Polars, Arrow); None for anything else."""
    import pyarrow as arrow

    if isinstance(source, arrow.Table):
        return source
    with tables.damage_reported(f"the {type(source).__name__}"):
        if hasattr(source, "to_arrow"):
            return source.to_arrow()
        if not (hasattr(source, "columns") and hasattr(source, "iloc")):
            return None
        columns = [_values(source.iloc[:, i]) for i in range(source.shape[1])]
        return arrow.table(columns, names=[str(name) for name in source.columns])


def _column(values: Any, where: str) -> Any:
    """Values as a ``pyarrow.ChunkedArray``."""
    import pyarrow as arrow

    values = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    if getattr(values, "ndim", 1) == 2 and values.shape[1] == 1 and isinstance(values, np.ndarray):
        values = values[:, 0]
    if getattr(values, "ndim", 1) != 1:
        raise DataError(f"{where} has shape {tuple(values.shape)}; it must be one value a row")
    with tables.damage_reported(where):
        made = _values(values)
        return made if isinstance(made, arrow.ChunkedArray) else arrow.chunked_array([made])


def _values(values: Any) -> Any:
    """An Arrow array; of a column that mixes text and numbers the text."""
    import pyarrow as arrow

    try:
        return arrow.array(np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values, from_pandas=True)
    except (arrow.ArrowInvalid, arrow.ArrowTypeError):
        return arrow.array([None if value is None or value != value else str(value) for value in values])


def _rectangle(rows: list[Any]) -> np.ndarray:
    """Rows of one length as an array of objects.

    Raises:
        DataError: If they are ragged.
    """
    lengths = [len(row) for row in rows]
    if odd := next((i for i, length in enumerate(lengths) if length != lengths[0]), None):
        raise DataError(
            f"row {odd + 1} has {lengths[odd]} values, the first has {lengths[0]}; rows must be equally long"
        )
    array = np.empty((len(rows), lengths[0]), dtype=object)
    for i, row in enumerate(rows):
        array[i] = row
    return array
