"""Tables with a row a step (long format): CSV, TSV, JSON Lines, Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import DataError
from twofold.modalities.labels import encode_labels
from twofold.modalities.series.recordings import Recordings
from twofold.modalities.tables import LABEL_COLUMNS, column_names, damage_reported, load, pick, told

SERIES_COLUMNS = ("series", "series_id", "recording", "sequence", "session", "trial", "id")
TIME_COLUMNS = ("time", "timestamp", "datetime", "date", "seconds", "t", "step", "frame")
GROUP_COLUMNS = ("group", "subject", "subject_id", "participant", "person", "user", "patient")
CLASS_COLUMNS = (*(name for name in LABEL_COLUMNS if name != "y"), "activity")
"""Without y, which in tables of series is a direction."""


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; None takes a usual name where the table has it.

    Attributes:
        series: The recording that a row is of; without such a column, one recording for each group, or a single one.
        time: When; rows are put in its order. Without it they stay as they are.
        label: The class, which may change within a recording.
        group: The subject, session ...
        channels: What was measured, separated by commas; None: all other columns of numbers.
    """

    series: str | None = None
    time: str | None = None
    label: str | None = None
    group: str | None = None
    channels: str | None = None


def read_table(path: Path, columns: Columns) -> Recordings:
    """The recordings of a table.

    Raises:
        DataError: If the table is damaged, has no rows, or lacks a column; the message lists those it has.
    """
    where = str(path)
    names, _ = column_names(path)
    series = pick(names, columns.series, SERIES_COLUMNS, where, "series_column")
    time = pick(names, columns.time, TIME_COLUMNS, where, "time_column")
    label = pick(names, columns.label, CLASS_COLUMNS, where, "label_column")
    group = pick(names, columns.group, GROUP_COLUMNS, where, "group_column")
    taken = [name for name in (series, time, label, group) if name is not None]
    wanted = _wanted(names, columns.channels, taken, where)
    loaded = load(path, list(dict.fromkeys([*taken, *wanted])))
    table = loaded.sound_rows()
    if len(table) == 0:
        raise DataError(f"{where} has no rows")
    with damage_reported(where):
        channels = _channels(table, wanted, where, chosen=columns.channels is not None)
        orders, ids, notes, skipped = _order(table, series or group, time, where)
        values = np.stack([channels[name] for name in channels], axis=1)
        cells = None if label is None else table.column(label).to_pylist()
        groups = None if group is None else table.column(group).to_pylist()
    notes += loaded.told()
    found = Recordings([values[rows] for rows in orders], ids, where, channels=list(channels), notes=notes)
    found.skipped = skipped
    if cells is not None:
        encoded, found.class_names = encode_labels(cells, f"{where}: column {label!r}", len(table))
        steps = encoded.numpy()
        found.step_labels = [steps[rows] for rows in orders]
    if groups is not None:
        found.groups = [str(groups[int(rows[0])]) for rows in orders]
    return found


def _wanted(names: Sequence[str], channels: str | None, taken: Sequence[str], where: str) -> list[str]:
    if channels is None:
        return [name for name in names if name not in taken]
    wanted = [name.strip() for name in channels.split(",")]
    if missing := [name for name in wanted if name not in names]:
        raise DataError(f"{where} has no column {missing[0]!r} (channels=); it has: {told(names)}")
    if len(set(wanted)) < len(wanted):
        raise DataError(f"{where}: channels= names a column twice: {channels}")
    return wanted


def _channels(table: Any, wanted: Sequence[str], where: str, *, chosen: bool) -> dict[str, np.ndarray]:
    """The columns of numbers as float64, missing values as NaN."""
    import pyarrow as arrow

    found: dict[str, np.ndarray] = {}
    for name in wanted:
        kind = table.schema.field(name).type
        if not (arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_null(kind)):
            if chosen:
                raise DataError(f"{where}: column {name!r} (channels=) holds {kind}, not numbers")
            continue
        found[name] = table.column(name).cast(arrow.float64()).to_numpy()
    if not found:
        raise DataError(f"{where} has no columns of numbers to be channels; name them with channels=")
    return found


def _order(
    table: Any, series: str | None, time: str | None, where: str
) -> tuple[list[np.ndarray], list[str], list[str], dict[str, str]]:
    """The rows of each recording in the order of time, the recordings' names, notes, and those that are left out."""
    rows = np.arange(len(table))
    names, owner = ["0"], np.zeros(len(table), np.int64)
    if series is not None:
        encoded = table.column(series).combine_chunks().dictionary_encode()
        names = [str(value) for value in encoded.dictionary.to_pylist()]
        owner = encoded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
    notes, skipped = [], {}
    if (lost := int((owner == len(names)).sum())) > 0:
        notes.append(f"{lost:,} rows without a name of their recording ({series}) are left out")
    by_owner = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[by_owner], np.arange(len(names) + 1))
    moments = None if time is None else _moments(table.column(time), f"{where}: column {time!r}")
    orders, ids, unsorted = [], [], 0
    for i, name in enumerate(names):
        own = rows[by_owner[bounds[i] : bounds[i + 1]]]
        if moments is not None:
            if reason := _fault_of_time(moments[own]):
                skipped[name] = reason
                continue
            order = np.argsort(moments[own], kind="stable")
            unsorted += bool((np.diff(order) < 0).any())
            own = own[order]
        orders.append(own)
        ids.append(name)
    if unsorted:
        notes.append(f"the rows of {unsorted} recordings were not in the order of time and were sorted")
    if not orders:
        name, reason = next(iter(skipped.items()), ("", f"column {series!r} is empty"))
        raise DataError(f"{where} has no recording that can be used: {name}: {reason}")
    return orders, ids, notes, skipped


def _moments(column: Any, where: str) -> np.ndarray:
    """Times as float64; NaN where there is none."""
    import pyarrow as arrow

    kind = column.type
    if arrow.types.is_temporal(kind):
        if arrow.types.is_date(kind):
            column = column.cast(arrow.timestamp("ms"))
        width = arrow.int32() if kind.bit_width == 32 and not arrow.types.is_date(kind) else arrow.int64()
        column = column.cast(width)
    elif not (arrow.types.is_integer(kind) or arrow.types.is_floating(kind)):
        raise DataError(f"{where} holds {kind}; times are numbers, dates or time stamps")
    return column.cast(arrow.float64(), safe=False).to_numpy()


def _fault_of_time(moments: np.ndarray) -> str | None:
    if not np.isfinite(moments).all():
        return "a row has no time"
    values, counts = np.unique(moments, return_counts=True)
    if len(values) < len(moments):
        return f"{int((counts > 1).sum())} times come more than once, such as {values[counts > 1][0]:g}"
    return None
