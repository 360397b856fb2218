"""From two columns of cells to pairs: rows that lack a side are left out, and what is the same is recognized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import DataError
from twofold.modalities.labels import encode_labels
from twofold.modalities.paired.dataset import Pairs
from twofold.modalities.paired.readers.columns import Column


def assemble(
    columns: Sequence[Column],
    where: str,
    *,
    labels: Sequence[Any] | None = None,
    keys: Sequence[Any] | None = None,
    swapped: Column | None = None,
    names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    broken: Mapping[int, str] | None = None,
) -> Pairs:
    """Pairs of the rows that have both sides.

    Args:
        columns: Cells of the first and of the second side; a cell of the second may hold several texts.
        where: What was read, for messages.
        labels: A class a row.
        keys: A key a row; without it rows that share an item (the same file, the same text) share a key.
        swapped: Wrong texts of the second side, for the swap test; None where a row has none.
        names: What rows are called; by default their number from 1.
        notes: What else a user should know.
        broken: Row → why it could not be read.

    Raises:
        DataError: If no row has both sides, or more than half lack one.
    """
    first, second = columns
    count = len(first.cells)
    if count != len(second.cells):
        words = " and ".join(f"{len(column.cells):,} {column.side.item}s" for column in columns)
        raise DataError(f"{where}: {words} cannot be paired row by row; give as many of each, in the same order")
    names = names or [f"row {i + 1}" for i in range(count)]
    faults = _faults(columns, names, where, broken or {})
    rows = [row for row in range(count) if row not in faults]
    with _named(where):
        one, first_places = first.dataset(rows)
        other, second_places = second.dataset(rows)
    encoded, class_names = (None, None)
    if labels is not None and any(label is not None for label in labels):
        encoded, class_names = encode_labels([labels[row] for row in rows], f"{where}: labels", len(rows))
        if class_names is None:
            class_names = _declared_names(one, [places[0] for places in first_places], encoded)
    return Pairs(
        one,
        other,
        first_rows=torch.tensor([places[0] for places in first_places]),
        second_rows=second_places,
        labels=encoded,
        class_names=class_names,
        keys=[keys[row] for row in rows]
        if keys is not None
        else shared_keys(first.identities(rows, first_places), second.identities(rows, second_places)),
        ids=[names[row] for row in rows],
        skipped={names[row]: fault for row, fault in faults.items()},
        notes=notes,
        swapped=None if swapped is None else _swapped(swapped, rows),
    )


def _faults(columns: Sequence[Column], names: Sequence[str], where: str, broken: Mapping[int, str]) -> dict[int, str]:
    """Row → why it is no pair; a DataError if that is most of them, or all."""
    found: dict[int, str] = {}
    for row in range(len(names)):
        fault = broken.get(row) or next(filter(None, (column.fault(row) for column in columns)), None)
        if fault:
            found[row] = fault
    if 2 * len(found) > len(names) or len(found) == len(names):
        row, fault = next(iter(found.items()), (0, "there are no rows"))
        first = names[row] if names else "row 1"
        raise DataError(f"{where}: {len(found):,} of {len(names):,} rows are no pairs, such as {first}: {fault}")
    return found


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Put the name of the source before what a side's reader refuses."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def shared_keys(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> list[int]:
    """A key a row: rows that share an item of either side, directly or through other rows, have the same."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = [
        (row, side, item) for side, column in enumerate((first, second)) for row, i in enumerate(column) for item in i
    ]
    rows, which, items = (torch.tensor(part) for part in zip(*edges, strict=True))
    firsts = max(max(places) for places in first) + 1
    items = items + which * firsts + len(first)
    nodes = int(items.max()) + 1
    graph = coo_array((torch.ones(len(rows)).numpy(), (rows.numpy(), items.numpy())), shape=(nodes, nodes))
    keys: list[int] = connected_components(graph, directed=False)[1][: len(first)].tolist()
    return keys


def _declared_names(dataset: Dataset, rows: Sequence[int], labels: Tensor) -> list[str] | None:
    """The class names that a side read with the same labels, such as those in a Hugging Face file; or None."""
    same = dataset.labels is not None and torch.equal(dataset.labels[torch.tensor(rows)], labels)
    return dataset.class_names if same else None


def _swapped(column: Column, rows: Sequence[int]) -> tuple[Dataset, Tensor]:
    """Wrong texts, and the number of the sample that each is wrong for."""
    owners = [i for i, row in enumerate(rows) if column.cells[row]]
    if not owners:
        raise DataError(f"column {column.name!r} holds no text, so nothing can be swapped")
    found, places = column.dataset([rows[i] for i in owners])
    return found, torch.tensor([[owner, place[0]] for owner, place in zip(owners, places, strict=True)])
