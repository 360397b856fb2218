"""Pairs as a data set: two data sets of any modalities, and which sample of one belongs to which of the other."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import DataError
from twofold.modalities.labels import checked_index
from twofold.modalities.paired.sides import SIDES, select

MOST_CHOICES = 16
"""Of more that belong to a sample (captions of an image), the first so many are trained on."""


class Pairs:
    """Samples that consist of one item of a first modality and one or several of a second.

    Where several belong to a sample (captions), views choose one of them anew in each step; in use, the first counts.

    Args:
        first: Items of the first modality.
        second: Items of the second.
        first_rows: int64 ``(n,)``, each sample's item in ``first``. Default: in order.
        second_rows: Each sample's items in ``second``, one or more. Default: in order, one each.
        labels: int64 ``(n,)``, −1 = none. Default: those of a side whose items are one a sample.
        class_names: Names of the classes.
        keys: One hashable a sample: samples of the same key belong together in retrieval, such as drawings of the
            same thing. Default: each sample for itself.
        ids: One readable name a sample. Default: those of ``first``.
        skipped: What was left out before, and why.
        notes: What else a user should know.
        swapped: Wrong items of the second modality (captions with two words swapped), and int64 ``(m, 2)``: the sample
            that each is wrong for, and its position among them.

    Raises:
        DataError: If lengths do not fit, or nothing is paired.
    """

    def __init__(
        self,
        first: Dataset,
        second: Dataset,
        *,
        first_rows: Tensor | None = None,
        second_rows: Sequence[Sequence[int]] | None = None,
        labels: Tensor | None = None,
        class_names: list[str] | None = None,
        keys: Sequence[Hashable] | None = None,
        ids: Sequence[str] | None = None,
        skipped: dict[str, str] | None = None,
        notes: Sequence[str] = (),
        swapped: tuple[Dataset, Tensor] | None = None,
    ) -> None:
        if first_rows is None and second_rows is None and len(first) != len(second):
            raise DataError(
                f"{len(first):,} and {len(second):,} items cannot be paired row by row; give as many of each, or a "
                "table with a column of each side"
            )
        self.first, self.second = first, second
        self.first_rows = torch.arange(len(first)) if first_rows is None else first_rows
        self.second_rows: Sequence[Sequence[int]] = second_rows or [[i] for i in range(len(self.first_rows))]
        _check(self.first_rows, self.second_rows, len(first), len(second))
        self.choices, self.choice_count = _padded(self.second_rows)
        self.class_names = class_names
        self.labels, self.swapped = labels, swapped
        if labels is None:
            self.labels, self.class_names = self._labels_of_a_side()
        self.keys: list[Hashable] = list(range(len(self))) if keys is None else list(keys)
        self.ids: Sequence[str] = ids or [first.ids[i] for i in self.first_rows.tolist()]
        self.skipped: dict[str, str] = dict(skipped or {})
        self.notes = [*notes, *(note for side in (first, second) for note in getattr(side, "notes", ()))]
        self.spec: dict[str, Any] = {
            "modality": "paired",
            "first": first.spec,
            "second": second.spec,
            "samples": len(self),
        }
        self._lock = threading.Lock()
        self._take_over_skipped()

    def __len__(self) -> int:
        return len(self.first_rows)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The samples of ``index`` (int64 ``(b,)``) of which both sides can be read.

        Returns:
            "inputs" = {"first": ..., "second": ...} as the sides give them (where samples have several of the second,
            its tensors are ``(b, choices, ...)``, and "second_count" says how many each sample has), "index", "label"
            if there are labels, and "first_extra", "second_extra" with whatever else the sides give.
        """
        index = checked_index(index, len(self))
        first = self.first.fetch(self.first_rows[index])
        index = index[torch.isin(self.first_rows[index], first["index"])]
        asked = self.choices[index].T.flatten()  # choice after choice
        second = self.second.fetch(asked)
        if len(second["index"]) < len(asked):
            readable = torch.isin(asked, second["index"])
            by_choice = (self.choices.shape[1], len(index))
            kept = readable.reshape(by_choice).all(0).nonzero().flatten()
            row = (readable.cumsum(0) - 1).reshape(by_choice)[:, kept].flatten()
            first, second, index = select(first, kept), select(second, row), index[kept]
        with self._lock:
            self._take_over_skipped()
        return self._batch(first, second, index)

    def subset(self, index: Tensor) -> Pairs:
        """The samples of ``index`` (int64), in that order, as pairs of their own."""
        chosen = checked_index(index, len(self))
        rows = chosen.tolist()
        swapped = self.swapped
        if swapped is not None:
            place = {row: i for i, row in enumerate(rows)}
            kept = [[place[row], item] for row, item in swapped[1].tolist() if row in place]
            swapped = (swapped[0], torch.tensor(kept)) if kept else None
        return Pairs(
            self.first,
            self.second,
            first_rows=self.first_rows[chosen],
            second_rows=[self.second_rows[i] for i in rows],
            labels=None if self.labels is None else self.labels[chosen],
            class_names=self.class_names,
            keys=[self.keys[i] for i in rows],
            ids=[self.ids[i] for i in rows],
            skipped=self.skipped,
            swapped=swapped,
        )

    def _batch(self, first: dict[str, Any], second: dict[str, Any], index: Tensor) -> dict[str, Any]:
        choices = self.choices.shape[1]
        batch: dict[str, Any] = {"index": index}
        inputs, extra = {}, {}
        inputs["first"], extra["first"] = _split_batch(first)
        inputs["second"], extra["second"] = _split_batch(second)
        if choices > 1:
            inputs["second"], extra["second"] = (
                _by_sample(one, choices) for one in (inputs["second"], extra["second"])
            )
            batch["second_count"] = self.choice_count[index]
        batch |= {"inputs": inputs} | {f"{side}_extra": extra[side] for side in SIDES if extra[side]}
        return batch if self.labels is None else batch | {"label": self.labels[index]}

    def _take_over_skipped(self) -> None:
        for side in (self.first, self.second):
            if side.skipped:
                self.skipped |= side.skipped

    def _labels_of_a_side(self) -> tuple[Tensor | None, list[str] | None]:
        if self.first.labels is not None:
            return self.first.labels[self.first_rows], self.first.class_names
        if self.second.labels is not None:
            return self.second.labels[self.choices[:, 0]], self.second.class_names
        return None, None


class OneSide:
    """Items of one side of pairs, as a data set that the recipes of pairs take.

    Args:
        dataset: The items, as their modality reads them.
        side: "first" or "second".
        rows: int64 ``(n,)``, which of them; one may occur several times. Default: all, in order.
        ids: One readable name a row. Default: those of ``dataset``.
    """

    def __init__(
        self, dataset: Dataset, side: str, *, rows: Tensor | None = None, ids: Sequence[str] | None = None
    ) -> None:
        self.dataset, self.side = dataset, side
        self.rows = torch.arange(len(dataset)) if rows is None else rows
        self.spec: dict[str, Any] = {"modality": "paired", side: dataset.spec, "samples": len(self)}
        self.labels = None if dataset.labels is None else dataset.labels[self.rows]
        self.class_names = dataset.class_names
        self.ids: Sequence[str] = ids or [dataset.ids[i] for i in self.rows.tolist()]
        self.skipped = dataset.skipped

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The readable ones of ``index`` (int64 ``(b,)``): "inputs" = {side: ...}, and what else the side gives."""
        index = checked_index(index, len(self))
        batch = self.dataset.fetch(self.rows[index])
        index = index[torch.isin(self.rows[index], batch["index"])]
        inputs, extra = _split_batch(batch)
        found: dict[str, Any] = {"inputs": {self.side: inputs}, "index": index}
        found |= {f"{self.side}_extra": extra} if extra else {}
        return found if self.labels is None else found | {"label": self.labels[index]}


def _split_batch(batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Inputs, and what else the views of that modality may want."""
    return batch["inputs"], {name: v for name, v in batch.items() if name not in ("inputs", "index", "label")}


def _by_sample(value: Any, choices: int) -> Any:
    """From rows choice after choice to ``(n, choices, ...)``."""
    if isinstance(value, Tensor):
        return value.reshape(choices, len(value) // choices, *value.shape[1:]).transpose(0, 1)
    if isinstance(value, dict):
        return {name: _by_sample(item, choices) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_by_sample(item, choices) for item in value]
    raise DataError(f"samples cannot have several items of a modality whose batches are {type(value).__name__}")


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Positions as a table ``(n, choices)``, short rows repeated, and how many each sample has."""
    count = torch.tensor([min(len(row), MOST_CHOICES) for row in rows])
    width = int(count.max())
    table = [[row[k % min(len(row), MOST_CHOICES)] for k in range(width)] for row in rows]
    return torch.tensor(table, dtype=torch.int64), count


def _check(first_rows: Tensor, second_rows: Sequence[Sequence[int]], first: int, second: int) -> None:
    if len(first_rows) == 0:
        raise DataError("There are no pairs: nothing of one side belongs to anything of the other")
    if len(first_rows) != len(second_rows) or not all(len(row) for row in second_rows):
        raise DataError("every sample needs one item of the first side and at least one of the second")
    highest = (int(first_rows.max()), max(max(row) for row in second_rows))
    if highest[0] >= first or highest[1] >= second or int(first_rows.min()) < 0:
        raise DataError(f"pairs name items {highest} of sides that have {first:,} and {second:,}")
