"""Columns of a table: which are numbers, which are categories, which say nothing; and rows made from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from twofold.errors import DataError
from twofold.modalities.tables import told

UNKNOWN, MISSING, FIRST = 0, 1, 2
"""Codes of a category that the form does not list and of an empty cell; the listed ones follow from FIRST on."""
MAX_CATEGORIES = 256
"""The most frequent categories of a column have codes of their own; the rest count as unknown."""

_EMPTY = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-"})  # in lower case: how tables write a gap
_LARGEST = 1e100  # beyond it a square, and so a deviation, might not be finite
_FARTHEST = 1e6  # deviations from the mean; new data is cut there so that float32 stays finite
_FEW_ROWS = 20  # in fewer rows all values may well differ without being names of rows


@dataclass(frozen=True)
class Number:
    """A column of numbers: gaps are filled with the median; then mean and deviation are those after filling."""

    name: str
    median: float
    mean: float
    std: float
    gaps: bool
    """Whether it had gaps: then a column of 0 and 1 tells where."""


@dataclass(frozen=True)
class Category:
    """A column of categories, the most frequent first."""

    name: str
    values: list[str]

    @property
    def codes(self) -> int:
        """How many codes there are, with those of unknown and missing."""
        return FIRST + len(self.values)


@dataclass(frozen=True)
class Form:
    """What rows are made of: numbers, then one column for each number with gaps, then codes of categories."""

    numbers: list[Number] = field(default_factory=list)
    categories: list[Category] = field(default_factory=list)

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Form:
        """The form that a data set's ``spec`` states.

        Raises:
            DataError: If it states none.
        """
        try:
            numbers = [Number(**one) for one in spec["numbers"]]
            return cls(numbers, [Category(one["name"], list(one["values"])) for one in spec["categories"]])
        except (KeyError, TypeError) as error:
            raise DataError(f"this is no form of a table: {error} is wrong or not there") from error

    def to_spec(self) -> dict[str, Any]:
        """As plain values."""
        return {"numbers": [asdict(one) for one in self.numbers], "categories": [asdict(c) for c in self.categories]}

    @property
    def names(self) -> list[str]:
        """Of all columns that it needs."""
        return [*(one.name for one in self.numbers), *(one.name for one in self.categories)]

    @property
    def owners(self) -> list[int]:
        """For each column of the rows, which feature (number or category) it belongs to."""
        gaps = [i for i, one in enumerate(self.numbers) if one.gaps]
        return [*range(len(self.numbers)), *gaps, *range(len(self.numbers), len(self.names))]

    @property
    def blank(self) -> list[float]:
        """The row of which every cell is empty."""
        filled = [(one.median - one.mean) / one.std for one in self.numbers]
        return [*filled, *(1.0 for one in self.numbers if one.gaps), *(float(MISSING) for _ in self.categories)]


def find_form(
    table: Any, names: Sequence[str], *, numeric: Collection[str] = (), categorical: Collection[str] = ()
) -> tuple[Form, list[str]]:
    """The form of a table's columns, and what was left out and why.

    Numbers, dates (in days) and text that reads as numbers are numbers; other text is categories. Left out: columns
    without a second value; columns of other types; and, unless they were asked for, columns of text that names (nearly)
    every row anew and whole numbers that count the rows.

    Args:
        table: A ``pyarrow.Table``.
        names: The columns to look at.
        numeric: Columns that shall be numbers.
        categorical: Columns that shall be categories.

    Raises:
        DataError: If a column that shall be numbers holds mostly other things.
    """
    form, notes = Form(), []
    for name in names:
        column = table.column(name)
        values = None if name in categorical else numbers_of(column, forced=name in numeric)
        if name in numeric and values is None:
            raise DataError(f"column {name!r} is no column of numbers (numeric=): it holds {_examples(column)}")
        asked = name in numeric or name in categorical
        found = _category(name, column, asked) if values is None else _number(name, values, column, asked)
        if isinstance(found, Number):
            form.numbers.append(found)
        elif isinstance(found, Category):
            form.categories.append(found)
            if len(found.values) == MAX_CATEGORIES:
                notes.append(f"of column {name!r} the {MAX_CATEGORIES} most frequent categories are told apart")
        else:
            notes.append(f"column {name!r} is left out: {found}")
        if values is not None and (infinite := int(np.isinf(values).sum())):
            notes.append(f"{infinite:,} infinite values of column {name!r} count as missing")
    return form, notes


def rows_of(table: Any, form: Form) -> tuple[np.ndarray, np.ndarray]:
    """Rows float32 ``(n, columns)`` of a table in a form, and which of them hold anything, bool ``(n,)``.

    Numbers are standardized with the form's moments, gaps filled with its medians.

    Raises:
        DataError: If the table lacks columns, or a column of numbers holds mostly other things.
    """
    if lacking := [name for name in form.names if name not in table.column_names]:
        raise DataError(f"it has no column {told(lacking)}, which the encoder was trained on; it has: {_names(table)}")
    numbers, gaps = [], []
    present = np.zeros(table.num_rows, dtype=bool)
    for one in form.numbers:
        values = numbers_of(table.column(one.name), forced=True)
        if values is None:
            shown = _examples(table.column(one.name))
            raise DataError(f"column {one.name!r} must hold numbers, as in training; it holds {shown}")
        empty = ~np.isfinite(values)
        present |= ~empty
        standard = (np.where(empty, one.median, values) - one.mean) / one.std
        numbers.append(np.clip(standard, -_FARTHEST, _FARTHEST).astype(np.float32))
        gaps += [empty.astype(np.float32)] if one.gaps else []
    codes = []
    for category in form.categories:
        code = _codes(table.column(category.name), category)
        present |= code != MISSING
        codes.append(code.astype(np.float32))
    return np.stack([*numbers, *gaps, *codes], axis=1), present


def numbers_of(column: Any, *, forced: bool = False) -> np.ndarray | None:
    """A column as float64 ``(n,)``, NaN where it is empty; None if it holds something else.

    Args:
        column: A ``pyarrow.ChunkedArray``.
        forced: Take text for numbers if at least half of it reads as such; the rest is NaN. Otherwise all must.
    """
    import pyarrow as arrow

    kind, types = column.type, arrow.types
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_boolean(kind):
        column = column.cast(arrow.uint8())
    elif types.is_date(kind) or types.is_timestamp(kind):
        microseconds = column.cast(arrow.timestamp("us", getattr(kind, "tz", None)), safe=False).cast(arrow.int64())
        return _floats(microseconds) / 86_400e6
    elif types.is_string(kind) or types.is_large_string(kind):
        return _parsed(column, forced)
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        return None
    return _floats(column)


def _floats(column: Any) -> np.ndarray:
    """float64, a copy; what is too large to be squared is infinite."""
    import pyarrow as arrow

    values = np.array(column.cast(arrow.float64(), safe=False).to_numpy(), dtype=np.float64)
    values[np.abs(values) > _LARGEST] = np.inf
    return values


def _parsed(column: Any, forced: bool) -> np.ndarray | None:
    """Text that reads as numbers; each different text is read once."""
    words, place = _distinct(column)
    read = [_number_in(word) for word in words]
    values = np.array([math.nan if one is None else one for one in read] + [math.nan])[place]
    unread = np.array([one is None for one in read] + [False])[place]
    known = (~np.isnan(values) | unread).sum()
    if unread.sum() > (known / 2 if forced else 0) or (not known and not forced):
        return None
    values[np.abs(values) > _LARGEST] = np.inf
    return values


def _number_in(word: str) -> float | None:
    """The number that a text states; NaN for a gap, None if it states none."""
    word = word.strip()
    if word.lower() in _EMPTY:
        return math.nan
    try:
        return None if "_" in word else float(word)
    except ValueError:
        return None


def _number(name: str, values: np.ndarray, column: Any, asked: bool) -> Number | str:
    """What a column of numbers is, or why it is none."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return "it holds no value"
    if not asked and _is_whole(column) and _counts_rows(known, len(values)):
        return "it counts the rows"
    median = float(np.median(known))
    filled = np.where(np.isfinite(values), values, median)
    mean, std = float(filled.mean()), float(filled.std())
    if known.min() == known.max() or std == 0:
        return "all its values are equal"
    return Number(name, median, mean, std, gaps=len(known) < len(values))


def _counts_rows(values: np.ndarray, count: int) -> bool:
    if len(values) < max(count, _FEW_ROWS):
        return False
    return bool(values.max() - values.min() + 1 == count) and len(np.unique(values)) == count


def _is_whole(column: Any) -> bool:
    import pyarrow as arrow

    return bool(arrow.types.is_integer(column.type))


def _category(name: str, column: Any, asked: bool) -> Category | str:
    """What a column of categories is, or why it is none."""
    import pyarrow as arrow

    if arrow.types.is_nested(column.type) or arrow.types.is_binary(column.type) or arrow.types.is_null(column.type):
        return f"it holds {column.type}" if not arrow.types.is_null(column.type) else "it holds no value"
    words, place = _distinct(column)
    counts = np.bincount(place, minlength=len(words) + 1)
    shares: Counter[str] = Counter()
    for word, count in zip(words, counts.tolist(), strict=False):
        shares[word] += 0 if word.lower() in _EMPTY else count
    shares = +shares  # without those that are empty
    filled = shares.total()
    if len(shares) + (filled < len(column)) < 2:
        return "all its values are equal" if shares else "it holds no value"
    if not asked and filled >= _FEW_ROWS and len(shares) > 0.9 * filled:
        return f"it names the rows ({len(shares):,} different values); to take it as a category, say categorical={name}"
    frequent = sorted(shares, key=lambda word: (-shares[word], word))
    return Category(name, frequent[:MAX_CATEGORIES])


def _codes(column: Any, category: Category) -> np.ndarray:
    """int64 codes ``(n,)`` of the cells."""
    words, place = _distinct(column)
    numbers = {word: FIRST + i for i, word in enumerate(category.values)}
    codes = [MISSING if word.lower() in _EMPTY else numbers.get(word, UNKNOWN) for word in words]
    return np.array([*codes, MISSING])[place]


def _distinct(column: Any) -> tuple[list[str], np.ndarray]:
    """The different cells as text, and which of them each cell is; an empty cell is the one after the last."""
    import pyarrow as arrow

    if arrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, arrow.ChunkedArray):  # of a column without rows
        encoded = encoded.combine_chunks()
    values = encoded.dictionary.to_pylist()
    indices = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return [_text(value) for value in values], np.asarray(indices, dtype=np.int64)


def _text(value: Any) -> str:
    """A cell as text; a whole number is the same with and without a decimal point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _examples(column: Any) -> str:
    return f"{column.type}, such as {', '.join(repr(_text(cell))[:40] for cell in column.slice(0, 3).to_pylist())}"


def _names(table: Any) -> str:
    return told(table.column_names)
