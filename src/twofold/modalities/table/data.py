"""Tables from anywhere: `read` turns a source into a data set of rows, `summary` says what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from twofold.dataset import Dataset, Subset
from twofold.errors import ConfigError, DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities.labels import checked_index, encode_labels, label_sentence
from twofold.modalities.table.columns import Form, find_form, numbers_of, rows_of
from twofold.modalities.table.sources import Source, open_source
from twofold.modalities.tables import LABEL_COLUMNS, damage_reported, pick, told

__all__ = ["TableRows", "read", "summary"]

_MEASURED_FROM = 50  # so many different whole numbers, if they are a tenth of the rows too, are no classes
_SHOWN = 6  # cells of a row in a snippet
_NOTES = 6  # of a summary


@dataclass(frozen=True)
class Answers:
    """What is not learned from: classes, a number to predict, or neither.

    Attributes:
        labels: int64 (n,), -1 = none; or None.
        class_names: Names of the classes, or None.
        target: float32 (n,), NaN = none; or None.
        columns: Which columns they stood in: "label" and "target" to a name.
        notes: What a user should know of the choice.
    """

    labels: Tensor | None = None
    class_names: list[str] | None = None
    target: Tensor | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


class TableRows:
    """The rows of a table, in memory. A row that is broken, or without a single value, is left out; see `skipped`.

    Args:
        source: What was read.
        form: Which columns, with which categories, medians and moments.
        answers: Labels and target.
        notes: What else a user should know.

    Attributes:
        rows: float32 (n, columns): standardized numbers, flags of gaps, codes of categories; see `Form`.
        target: float32 (n,), NaN = none; or None.

    Raises:
        DataError: If columns are missing or of the wrong kind, or more than half of the rows are empty.
    """

    def __init__(self, source: Source, form: Form, answers: Answers, notes: Sequence[str] = ()) -> None:
        self.source, self.form, self.answers = source, form, answers
        count = source.table.num_rows
        check_memory(count * (8 * len(form.owners) + SAMPLE_BYTES), f"{source.name}: {count:,} rows")
        with damage_reported(source.name):
            rows, present = rows_of(source.table, form)
        self.rows, self._present = torch.from_numpy(rows), torch.from_numpy(present)
        self.labels, self.class_names, self.target = answers.labels, answers.class_names, answers.target
        self.ids: Sequence[str] = [f"row {i + 1}" for i in range(count)]
        empty = (~self._present).nonzero().flatten().tolist()
        if 2 * len(empty) > count:
            raise DataError(f"{source.name}: {len(empty):,} of {count:,} rows hold no value in any column that is used")
        self.skipped = {self.ids[i]: source.broken.get(i, "all its cells are empty") for i in empty}
        self.notes = [*notes, *answers.notes]
        self.spec: dict[str, Any] = {"modality": "table", "samples": count, **form.to_spec()}
        self.spec |= {"columns": len(form.owners), "answers": dict(answers.columns), "target": _range(self.target)}
        self.spec["unnamed"] = 0 if source.named else len(source.table.column_names)

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """Rows that are not empty: "inputs" float32 (b, columns), "index", and "label" and "target" where there are."""
        index = checked_index(index, len(self))
        index = index[self._present[index]]
        batch = {"inputs": self.rows[index], "index": index}
        if self.labels is not None:
            batch["label"] = self.labels[index]
        return batch if self.target is None else batch | {"target": self.target[index]}

    def in_form(self, spec: Mapping[str, Any]) -> TableRows:
        """The same rows, in the form of another table's ``spec``.

        Raises:
            DataError: If columns of that form are missing here or of another kind.
        """
        form = Form.of(spec)
        if form == self.form:
            return self
        _check_width(self.source, spec)
        return TableRows(self.source, form, self.answers, self.notes)

    def snippet(self, row: int) -> str:
        """The first cells of a row, for people."""
        shown = [(name, self.source.table.column(name)[row].as_py()) for name in self.form.names[:_SHOWN]]
        words = [f"{name} {_brief(value)}" for name, value in shown]
        return ", ".join(words) + (", ..." if len(self.form.names) > _SHOWN else "")


def read(
    source: Any,
    *,
    numeric: str | None = None,
    categorical: str | None = None,
    label_column: str | None = None,
    target_column: str | None = None,
    form: dict[str, Any] | None = None,
) -> Dataset:
    """Read the rows of a table, and labels or a target where the source has some.

    Sources: a file .csv, .tsv, .jsonl or .parquet; a data frame (pandas, Polars, Arrow); an array (rows, columns); a
    dictionary of columns; a list of rows; a pair of one of these and the labels, or the numbers to predict; what
    scikit-learn's loaders give; a data set of ours. `twofold.modalities.table.columns.find_form` says which columns
    are taken for numbers, which for categories, and which are left out.

    Args:
        source: See above.
        numeric: Names of columns that are numbers, with commas between; text in them that is none is missing.
        categorical: Names of columns that are categories, with commas between, such as codes written as numbers.
        label_column: The column of classes. Default: a usual name (label, class, target, y ...), if there is one.
        target_column: The column of numbers to predict. Default: a column of a usual name that holds fractions, or
            more than 50 different numbers that are a tenth of the rows.
        form: The ``spec`` of another table: its columns, categories, medians and moments are taken.

    Raises:
        ConfigError: If a column is asked for twice.
        DataError: If the source is no table, lacks a column, or nothing can be learned from its columns.
    """
    wishes = {"numeric": _listed(numeric), "categorical": _listed(categorical)}
    _check_wishes(wishes, label_column, target_column)
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        return source if form is None else _in_form(source, form)
    opened = open_source(source)
    known = dict(form["answers"]) if form else {}
    with damage_reported(opened.name):
        answers = _answers(opened, label_column, target_column, known)
        if form is not None:
            _check_width(opened, form)
            return TableRows(opened, Form.of(form), answers)
        return _read_new(opened, answers, wishes)


def summary(dataset: Dataset) -> str:
    """One paragraph: how many rows and columns of which kind, labels or target, and what was left out and why."""
    form = Form.of(dataset.spec)
    kinds = [(len(form.numbers), "of numbers"), (len(form.categories), "of categories")]
    columns = " and ".join(f"{count} {kind}" for count, kind in kinds if count)
    gaps = [one.name for one in form.numbers if one.gaps]
    parts = [f"{len(dataset):,} rows with {len(form.names)} columns, {columns}"]
    parts[0] += f"; gaps in {told(gaps)} are filled with the median and marked." if gaps else "."
    target = dataset.spec["target"]
    if target is not None:
        parts.append(f"A target from {target['low']:g} to {target['high']:g}.")
    if target is None or dataset.labels is not None:
        parts.append(label_sentence(dataset.labels, dataset.class_names, items="rows"))
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        parts.append(f"Rows are left out ({len(dataset.skipped):,}), such as {name} ({reason}).")
    notes = getattr(dataset, "notes", [])
    parts += [f"{note[0].upper()}{note[1:]}." for note in notes[:_NOTES]]
    return " ".join(parts) + (f" And {len(notes) - _NOTES} more remarks." if len(notes) > _NOTES else "")


def targets_of(dataset: Dataset) -> Tensor | None:
    """The numbers to predict, float32 (n,), of a table or of a part of one; NaN where there is none."""
    if isinstance(dataset, Subset):
        whole = targets_of(dataset.dataset)
        return None if whole is None else whole[dataset.positions]
    return cast("Tensor | None", getattr(dataset, "target", None))


def snippets(dataset: Dataset, index: Tensor) -> list[str]:
    """The first cells of some rows of a table, or of a part of one, for people."""
    if isinstance(dataset, Subset):
        return snippets(dataset.dataset, dataset.positions[index])
    return [dataset.snippet(i) if isinstance(dataset, TableRows) else dataset.ids[i] for i in index.tolist()]


def _read_new(source: Source, answers: Answers, wishes: Mapping[str, list[str]]) -> TableRows:
    taken = set(answers.columns.values())
    names = [name for name in source.table.column_names if name not in taken]
    for option, wanted in wishes.items():
        for name in wanted:
            pick(names, name, (), source.name, option)
    form, notes = find_form(source.sound_rows, names, **wishes)
    if not form.names:
        raise DataError(f"{source.name}: no column is left to learn from: {'; '.join(notes) or told(names)}")
    return TableRows(source, form, answers, notes)


def _in_form(dataset: Any, spec: Mapping[str, Any]) -> Dataset:
    """A data set that is read already, in the form of a spec; what is no table of ours is handed back."""
    if isinstance(dataset, TableRows):
        return dataset.in_form(spec)
    if isinstance(dataset, Subset) and isinstance(dataset.dataset, TableRows):
        return Subset(dataset.dataset.in_form(spec), dataset.positions)
    return cast(Dataset, dataset)


def _answers(source: Source, label: str | None, target: str | None, known: Mapping[str, str]) -> Answers:
    """Labels and target: of the columns named; else those that came apart from the table, or of a usual name."""
    names = source.table.column_names
    pick(names, label, (), source.name, "label_column")
    pick(names, target, (), source.name, "target_column")
    if label is None and target is None:  # as in training, where the new data has such columns
        label, target = (name if (name := known.get(key)) in names else None for key in ("label", "target"))
    if label is not None or target is not None:
        named = {key: name for key, name in (("label", label), ("target", target)) if name is not None}
        labels, class_names = (None, None) if label is None else _labels(source, source.table.column(label), label)
        return Answers(labels, class_names, None if target is None else _target(source, target), named)
    if source.answers is not None:
        return _undeclared(source, source.answers, None)
    usual = pick(names, None, LABEL_COLUMNS, source.name, "label_column")
    return Answers() if usual is None else _undeclared(source, source.table.column(usual), usual)


def _undeclared(source: Source, column: Any, name: str | None) -> Answers:
    """Answers of which nobody said what they are: classes, or numbers to predict if they look like measurements."""
    values = numbers_of(column)
    if values is None or not _measured(values):
        labels, class_names = _labels(source, column, name)
        return Answers(labels, class_names, columns={} if name is None else {"label": name})
    notes = [] if name is None else [f"column {name!r} is taken for a number to predict; for classes, say label_column"]
    return Answers(target=_as_target(values), columns={} if name is None else {"target": name}, notes=notes)


def _measured(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    different = len(np.unique(known))
    return not np.array_equal(known, np.floor(known)) or different > max(_MEASURED_FROM, len(known) / 10)


def _labels(source: Source, column: Any, name: str | None) -> tuple[Tensor, list[str] | None]:
    where = f"{source.name}: {'labels' if name is None else f'column {name!r}'}"
    return encode_labels(column.to_pylist(), where, source.table.num_rows)


def _target(source: Source, name: str) -> Tensor:
    values = numbers_of(source.table.column(name), forced=True)
    if values is None or not np.isfinite(values).any():
        raise DataError(f"{source.name}: column {name!r} holds no numbers to predict (target_column=)")
    return _as_target(values)


def _as_target(values: np.ndarray) -> Tensor:
    target = torch.from_numpy(values).float()
    return target.masked_fill(~target.isfinite(), torch.nan)


def _range(target: Tensor | None) -> dict[str, float] | None:
    if target is None:
        return None
    known = target[target.isfinite()]
    return {"low": float(known.min()), "high": float(known.max())}


def _check_width(source: Source, spec: Mapping[str, Any]) -> None:
    """Columns without names are told apart by their place, so there must be as many as in training."""
    width = 0 if source.named else len(source.table.column_names)
    if width and spec["unnamed"] and width != spec["unnamed"]:
        raise DataError(f"{source.name} has {width} columns, the encoder was trained on {spec['unnamed']}")


def _check_wishes(wishes: Mapping[str, list[str]], label: str | None, target: str | None) -> None:
    named = [*wishes["numeric"], *wishes["categorical"], *(name for name in (label, target) if name is not None)]
    if repeated := sorted({name for name in named if named.count(name) > 1}):
        raise ConfigError(
            f"{told(repeated)}: a column can stand in one of numeric, categorical, label_column and target_column"
        )


def _listed(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _brief(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)[:40]
