"""Events of users and items, and when they happened: tables, plain lists and columns in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities import tables
from twofold.modalities.folders import existing

USERS = (
    *("user", "user_id", "userid", "uid", "user_id:token", "reviewerid", "reviewer_id", "customer_id", "customer"),
    *("visitorid", "visitor_id", "session_id", "session", "session_id:token", "account_id"),
)
ITEMS = (
    *("item", "item_id", "itemid", "iid", "item_id:token", "movieid", "movie_id", "product_id", "productid", "asin"),
    *("parent_asin", "business_id", "article_id", "track_id", "artist_id", "artistid", "book_id", "song_id", "sku"),
)
TIMES = ("time", "timestamp", "timestamp:float", "ts", "unixreviewtime", "event_time", "datetime", "date", "created_at")
RATINGS = ("rating", "rating:float", "stars", "overall", "score")
TABLES = (*tables.TABLES, ".inter")
"""Files with a header, ``.inter`` as RecBole writes it."""
LISTS = (".txt", ".dat", ".data")
"""Files without a header, of which each line is an event, or a user with all their items."""

_LINE_FACTOR = 24  # of a list's size: what its words need as Python objects


@dataclass(frozen=True)
class Events:
    """Who chose what, in the order of the source.

    Attributes:
        users: int64 ``(m,)``, numbers into ``user_names``.
        items: int64 ``(m,)``, numbers into ``item_names``.
        times: float64 ``(m,)``, or None: not asked for, or not known.
        user_names: Of users, in the order of their first event.
        item_names: Of items, the same.
        source: What was read, for messages.
        skipped: Row → why it was left out.
    """

    users: Tensor
    items: Tensor
    times: Tensor | None
    user_names: list[str]
    item_names: list[str]
    source: str
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what; None takes a usual name.

    Attributes:
        user: Users.
        item: Items.
        time: Times; looked for only if ``timed``.
        rating: Ratings; looked for only if ``least`` is given.
        timed: Whether times are wanted.
        least: Events with a lower rating are left out.
    """

    user: str | None = None
    item: str | None = None
    time: str | None = None
    rating: str | None = None
    timed: bool = False
    least: float | None = None


def read_events(source: Any, columns: Columns) -> Events:
    """Read events from a file, several files, or columns in memory.

    Files: tables with a header (:data:`TABLES`), and lists without one (:data:`LISTS`), whose lines are
    ``user item [rating [time]]`` if a user stands on several lines, else ``user item item ...`` in the order of time.
    In memory: a mapping of columns, a pandas, pyarrow or Hugging Face table, or an integer array ``(m, 2 or 3)`` of
    user, item and time. Ids are text or whole numbers. Rows without a user, an item or a time are left out and counted.

    Args:
        source: See above.
        columns: Which columns hold what.

    Raises:
        DataError: If there is nothing to read, a column is missing or of the wrong kind, or more than half of the rows
            are faulty.
    """
    if isinstance(source, list | tuple) and source and all(isinstance(one, str | Path) for one in source):
        parts = [_part(existing(one), columns) for one in source]
        return _joined(parts, ", ".join(map(str, source)))
    if isinstance(source, str | Path):
        return _joined([_part(existing(source), columns)], str(source))
    picked = _picked(_in_memory(source), "the table", columns)
    return _joined([_of_columns(picked, "the table", columns)], "the table")


@dataclass(frozen=True)
class _Part:
    """Events of one file, as Arrow arrays of equal length; null where something is missing."""

    users: Any
    items: Any
    times: Any
    kept: np.ndarray
    """bool: False where the rating is too low."""
    broken: Mapping[int, str] = field(default_factory=dict)
    """Row → why it could not be read; everything else of it is null."""


def _part(path: Path, columns: Columns) -> _Part:
    if path.is_dir():
        raise DataError(f"{path} is a folder; name the file or files with the events in it")
    suffix = path.suffix.lower()
    if suffix in LISTS:
        with tables.damage_reported(str(path)):
            return _of_columns(_picked(_of_lines(path), str(path), columns), str(path), columns)
    if suffix not in TABLES:
        readable = " ".join((*TABLES, *LISTS))
        raise DataError(f"{path}: files ending in {suffix or 'nothing'} are not read as events. Readable: {readable}")
    names, _ = tables.column_names(path)
    wanted = _chosen(names, str(path), columns)
    table, broken = tables.load(path, list(dict.fromkeys(wanted.values())))
    read = _of_columns({name: table.column(column) for name, column in wanted.items()}, str(path), columns)
    return replace(read, broken=broken)


def _chosen(names: Sequence[str], where: str, columns: Columns) -> dict[str, str]:
    """The columns by what they hold.

    Raises:
        DataError: If users, items, or a column that was asked for cannot be found.
    """
    found = {
        "user": tables.pick(names, columns.user, USERS, where, "user_column"),
        "item": tables.pick(names, columns.item, ITEMS, where, "item_column"),
        "time": tables.pick(names, columns.time, TIMES, where, "time_column") if columns.timed else None,
        "rating": None,
    }
    if columns.least is not None:
        found["rating"] = tables.pick(names, columns.rating, RATINGS, where, "rating_column")
    needed = ("user", "item", "rating") if columns.least is not None else ("user", "item")
    for what in needed:
        if found[what] is None:
            raise DataError(
                f"{where}: which column holds the {what}s? Name it with {what}_column=; there are: "
                f"{tables.told(names)}. The first line must name the columns"
            )
    if found["user"] == found["item"]:
        raise DataError(f"{where}: column {found['user']!r} cannot hold both users and items")
    return {what: name for what, name in found.items() if name is not None}


def _of_lines(path: Path) -> dict[str, Any]:
    """The columns of a file without header; see :func:`read_events`."""
    check_memory(_LINE_FACTOR * path.stat().st_size, f"{path}: its lines")
    text = path.read_text(encoding="utf-8-sig")
    lines = [line.replace("::", " ").split() for line in text.splitlines()]
    lines = [words for words in lines if words]
    users = [words[0] for words in lines]
    if len(set(users)) == len(users):
        counts = [len(words) - 1 for words in lines]
        repeated = [user for user, count in zip(users, counts, strict=True) for _ in range(count)]
        return {"user": repeated, "item": [item for words in lines for item in words[1:]]}
    width = max(len(words) for words in lines)
    if width > 4:
        raise DataError(
            f"{path}: a line has {width} words, and users stand on several lines: lines must be 'user item [rating "
            "[time]]', or each user with all their items on one line"
        )
    padded = [words + [""] * (4 - len(words)) for words in lines]
    user, item, rating, time = (list(column) for column in zip(*padded, strict=True))
    found = {"user": user, "item": item, "rating": [_number(word) for word in rating]}
    return found | ({"time": [_number(word) for word in time]} if any(time) else {})


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _in_memory(source: Any) -> dict[str, Any]:
    """The columns of something in memory, by their names."""
    if isinstance(source, np.ndarray | Tensor):
        array = np.asarray(source)
        if array.ndim != 2 or array.shape[1] not in (2, 3) or array.dtype.kind not in "iu":
            raise DataError(
                f"an array of events must be whole numbers (m, 2) of user and item, or (m, 3) with the time; this is "
                f"{array.dtype} of shape {array.shape}"
            )
        return {name: array[:, i] for i, name in enumerate(("user", "item", "time")[: array.shape[1]])}
    names = getattr(source, "column_names", None) or getattr(source, "columns", None)
    if isinstance(source, Mapping):
        names = list(source)
    if names is None:
        raise DataError(
            f"cannot read events from a {type(source).__name__}: give a file ({' '.join((*TABLES, *LISTS))}), columns "
            "by name, or an array (m, 2) of users and items"
        )
    return {str(name): source[name] for name in names}


def _picked(found: Mapping[str, Any], where: str, columns: Columns) -> dict[str, Any]:
    return {what: found[name] for what, name in _chosen(list(found), where, columns).items()}


def _of_columns(picked: Mapping[str, Any], where: str, columns: Columns) -> _Part:
    """Events from columns by what they hold: ``user``, ``item``, and where wanted ``time`` and ``rating``."""
    with tables.damage_reported(where):
        users, items = (_as_names(picked[what], where, what) for what in ("user", "item"))
        times = _as_numbers(picked["time"], where, "time") if "time" in picked else None
        kept = np.ones(len(users), dtype=bool)
        if columns.least is not None:
            ratings = _as_numbers(picked["rating"], where, "rating").to_numpy(zero_copy_only=False)
            kept = np.nan_to_num(ratings, nan=-np.inf) >= columns.least
    if not len(users) == len(items) == len(users if times is None else times):
        raise DataError(f"{where}: the columns differ in length")
    return _Part(users, items, times, kept)


def _arrow(values: Any) -> Any:
    """One Arrow array."""
    import pyarrow as arrow

    if isinstance(values, arrow.ChunkedArray):
        return values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    if isinstance(values, arrow.Array):
        return values
    values = values.numpy() if isinstance(values, Tensor) else values
    return arrow.array(values if isinstance(values, np.ndarray) else list(values))


def _as_names(values: Any, where: str, what: str) -> Any:
    """Ids as text; null where there is none."""
    import pyarrow as arrow
    from pyarrow import compute

    column = _arrow(values)
    kind = column.type
    if arrow.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if arrow.types.is_null(kind):
        return column.cast(arrow.string())
    if arrow.types.is_floating(kind):  # as pandas holds whole numbers beside missing ones
        column = compute.if_else(compute.is_finite(column), column, arrow.scalar(None, kind))
        if not compute.all(compute.equal(compute.floor(column), column), min_count=0).as_py():
            raise DataError(f"{where}: the {what}s are fractions; ids are text or whole numbers")
        return column.cast(arrow.int64()).cast(arrow.string())
    if arrow.types.is_integer(kind):
        return column.cast(arrow.string())
    if not (arrow.types.is_string(kind) or arrow.types.is_large_string(kind)):
        raise DataError(f"{where}: the {what}s are of type {kind}; ids are text or whole numbers")
    column = compute.utf8_trim_whitespace(column.cast(arrow.string()))
    return compute.if_else(compute.equal(column, ""), arrow.scalar(None, arrow.string()), column)


def _as_numbers(values: Any, where: str, what: str) -> Any:
    """Times or ratings as float64; null where there is none. Times of a calendar become seconds since 1970."""
    import pyarrow as arrow
    from pyarrow import compute

    column = _arrow(values)
    kind = column.type
    if what == "time" and (arrow.types.is_string(kind) or arrow.types.is_date(kind)):
        column = column.cast(arrow.timestamp("us"))
        kind = column.type
    if arrow.types.is_timestamp(kind):
        column = compute.divide(column.cast(arrow.timestamp("us")).cast(arrow.int64()).cast(arrow.float64()), 1e6)
    elif not (arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_null(kind)):
        raise DataError(f"{where}: the {what}s are of type {kind}, not numbers")
    column = column.cast(arrow.float64(), safe=False)
    return compute.if_else(compute.is_finite(column), column, arrow.scalar(None, arrow.float64()))


def _joined(parts: Sequence[_Part], where: str) -> Events:
    import pyarrow as arrow

    users = arrow.concat_arrays([part.users for part in parts])
    items = arrow.concat_arrays([part.items for part in parts])
    timed = all(part.times is not None for part in parts)
    times = _to_numpy(arrow.concat_arrays([part.times for part in parts])) if timed else None
    kept = np.concatenate([part.kept for part in parts])
    if not len(users):
        raise DataError(f"{where} has no events")
    if not kept.any():
        raise DataError(f"{where}: no event has a rating of at least min_rating")
    check_memory(SAMPLE_BYTES * len(users), f"{where}: {len(users):,} events")
    faults = _faults(users, items, times) * kept
    bad = np.flatnonzero(faults)
    reasons = ("", "no user", "no item", "no time", "a negative time")
    broken = _in_order(parts)
    bad_rows = {i: reasons[faults[i]] for i in bad.tolist()} | broken
    skipped = {f"row {i + 1}": bad_rows[i] for i in sorted(bad_rows)}
    rows = int(kept.sum()) + int((~kept[list(broken)]).sum())  # broken ones have no rating
    if 2 * len(skipped) > rows:
        row, reason = next(iter(skipped.items()))
        raise DataError(f"{where}: {len(skipped):,} of {rows:,} rows are faulty, such as {row} ({reason})")
    good = np.flatnonzero(kept & (faults == 0))
    user_numbers, user_names = _numbered(users.take(arrow.array(good)))
    item_numbers, item_names = _numbered(items.take(arrow.array(good)))
    chosen = None if times is None else torch.from_numpy(times[good])
    return Events(user_numbers, item_numbers, chosen, user_names, item_names, where, skipped)


def _in_order(parts: Sequence[_Part]) -> dict[int, str]:
    """What is wrong with broken rows, counted through all parts."""
    starts = np.cumsum([0, *(len(part.users) for part in parts)]).tolist()
    return {start + row: why for start, part in zip(starts, parts, strict=False) for row, why in part.broken.items()}


def _to_numpy(column: Any) -> np.ndarray:
    return np.array(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _faults(users: Any, items: Any, times: np.ndarray | None) -> np.ndarray:
    """0 for a good row, else the number of its (first) fault."""
    faults = np.zeros(len(users), dtype=np.int64)
    if times is not None:
        faults[times < 0] = 4
        faults[np.isnan(times)] = 3
    faults[items.is_null().to_numpy(zero_copy_only=False)] = 2
    faults[users.is_null().to_numpy(zero_copy_only=False)] = 1
    return faults


def _numbered(names: Any) -> tuple[Tensor, list[str]]:
    """Numbers in the order of first occurrence, and the names that they stand for."""
    coded = names.dictionary_encode()
    numbers = torch.from_numpy(np.array(coded.indices.to_numpy(zero_copy_only=False), dtype=np.int64))
    return numbers, coded.dictionary.to_pylist()
