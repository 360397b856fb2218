"""Sequences of items from anywhere: what each user chose, in the order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.events import Columns, Events, read_events
from twofold.modalities.labels import checked_index

Split = Literal["train", "all"]
HELD_OUT = 2
"""Last items of a user that training does not see: one to test on, one to choose by."""
LONGEST = 50
_COVERED = 0.95


@dataclass(frozen=True)
class Histories:
    """All items of each user in the order of time.

    Attributes:
        users: Names of users.
        start: int64 ``(users + 1,)``: the items of user u are ``items[start[u] : start[u + 1]]``.
        items: int64, from 1.
    """

    users: Sequence[str]
    start: Tensor
    items: Tensor

    @property
    def counts(self) -> Tensor:
        """How many items each user has, int64 ``(users,)``."""
        return self.start.diff()


class Sequences:
    """Users' sequences, the last items of each in ``inputs`` int64 ``(n, length)``, with 0 before the first.

    Args:
        histories: All that is known of the users.
        stop: int64 ``(users,)``: how many items of each count.
        spec: Facts; ``samples`` is set here.
        skipped: What was left out, and why.
        notes: What else a user should know.
    """

    def __init__(
        self,
        histories: Histories,
        stop: Tensor,
        *,
        spec: Mapping[str, Any],
        skipped: dict[str, str],
        notes: Sequence[str] = (),
    ) -> None:
        self.histories, self.stop = histories, stop
        self.skipped, self.notes = skipped, list(notes)
        self.labels: Tensor | None = None
        self.class_names: list[str] | None = None
        self.ids: Sequence[str] = [f"user:{name}" for name in histories.users]
        self.spec: dict[str, Any] = dict(spec) | {"samples": len(self.ids)}

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The last items of some users."""
        index = checked_index(index, len(self))
        back = torch.arange(int(self.spec["length"]), 0, -1)
        place = self.stop[index][:, None] - back
        items = self.histories.items[(self.histories.start[index][:, None] + place).clamp(min=0)]
        return {"inputs": items.masked_fill(place < 0, 0), "index": index}

    def some(self, users: Tensor) -> Sequences:
        """Some users, by their numbers, with all of their items."""
        counts, start = self.histories.counts[users], self.histories.start[users]
        ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        place = torch.repeat_interleave(start - ends[:-1], counts)
        items = self.histories.items[place + torch.arange(len(place))]
        part = Histories([self.histories.users[i] for i in users.tolist()], ends, items)
        return Sequences(part, counts, spec=self.spec, skipped=dict(self.skipped))

    def until(self, back: int) -> tuple[Sequences, Tensor]:
        """The users with more than two items, up to ``back`` items before their end, and the item that comes next."""
        part = self.some((self.histories.counts > HELD_OUT).nonzero().flatten())
        part.stop = part.histories.counts - back
        return part, part.histories.items[part.histories.start[1:] - back]


class Candidates:
    """Every item as a sample of its own: a row with −i in its last place.

    Args:
        spec: Of sequences: "items", their names, and "length".
    """

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.ids: Sequence[str] = [f"item:{name}" for name in spec["items"]]
        self.spec: dict[str, Any] = dict(spec) | {"samples": len(self.ids)}
        self.labels: Tensor | None = None
        self.class_names: list[str] | None = None
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """Some items."""
        index = checked_index(index, len(self))
        inputs = torch.zeros(len(index), int(self.spec["length"]), dtype=torch.int64)
        inputs[:, -1] = -(index + 1)
        return {"inputs": inputs, "index": index}


def read(
    source: Any,
    *,
    split: Split = "train",
    length: int | None = None,
    min_rating: float | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    time_column: str | None = None,
    rating_column: str | None = None,
    like: Mapping[str, Any] | None = None,
) -> Dataset:
    """Read sequences; see :func:`twofold.modalities.events.read_events` for the sources.

    Events are sorted by time, and where it is the same or there is none, stay in the order of the source.

    Args:
        source: See there; or a data set of ours, which is handed back.
        split: ``train`` leaves the last two items of each user with more than two aside; ``all`` takes everything.
        length: Items that are kept of a user, the last ones, 2 to 1000. Default: what 95 % of the users do not exceed,
            at most 50.
        min_rating: Events with a lower rating are left out.
        user_column: Of a table, the column of users.
        item_column: Of a table, the column of items.
        time_column: Of a table, the column of times.
        rating_column: Of a table, the column of ratings.
        like: The ``spec`` of other sequences, whose items are meant, in its order; others are left out.

    Raises:
        ConfigError: If an option is out of range.
        DataError: If there is nothing to read, or fewer than two users or items.
    """
    if split not in ("train", "all"):
        raise ConfigError(f"split is {split!r}; it must be 'train' (the last items are held out) or 'all'.")
    if length is not None and not 2 <= length <= 1000:
        raise ConfigError(f"length is {length}; it must be at least 2 and at most 1000.")
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        return source
    columns = Columns(user_column, item_column, time_column, rating_column, timed=True, least=min_rating)
    events = read_events(source, columns)
    numbers, names, unknown = _item_numbers(events, like)
    histories, repeated = _histories(events, numbers)
    if like is None and min(len(histories.users), len(names)) < 2:
        raise DataError(f"{events.source}: {len(histories.users)} user and {len(names)} item are no data to learn from")
    stop = histories.counts if split == "all" else training_length(histories.counts)
    if length is None:
        length = like["length"] if like is not None else _usual_length(histories.counts)
    spec: dict[str, Any] = {"modality": "sequences", "samples": 0, "length": int(length), "split": split}
    named = {"user_column": user_column, "item_column": item_column, "time_column": time_column}
    named |= {"rating_column": rating_column}
    spec |= {name: column for name, column in named.items() if column is not None}
    spec |= {"min_rating": min_rating, "items": list(names)}
    notes = [f"{repeated:,} events were given more than once and count once"] if repeated else []
    if events.times is None:
        notes.append("there are no times, so the order of the source is taken as that of time")
    return Sequences(histories, stop, spec=spec, skipped=dict(events.skipped) | unknown, notes=notes)


def training_length(counts: Tensor) -> Tensor:
    """How many items of each user training sees: all but the last two, or all of those with two or fewer."""
    return torch.where(counts > HELD_OUT, counts - HELD_OUT, counts)


def summary(dataset: Dataset) -> str:
    """One paragraph: how many users, items and events, and what was held out or left out."""
    spec = dataset.spec
    text = [f"{len(dataset):,} users, {len(spec['items']):,} items; the last {spec['length']} items of each are seen."]
    if isinstance(dataset, Sequences):
        counts = dataset.histories.counts
        text.append(f"{int(counts.sum()):,} events, {int(counts.median())} of a user at the median.")
        held_out = int((counts - dataset.stop).sum())
        if held_out:
            text.append(f"{held_out:,} of them, the last two of each, are held out (split=all takes them too).")
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        text.append(f"{len(dataset.skipped):,} rows or names were left out, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in getattr(dataset, "notes", ())]
    return " ".join(text)


def _item_numbers(events: Events, like: Mapping[str, Any] | None) -> tuple[Tensor, Sequence[str], dict[str, str]]:
    """The item of each event from 1 (0: unknown), the names of all items, and those that are unknown.

    Raises:
        DataError: If none is known.
    """
    if like is None:
        return events.items + 1, events.item_names, {}
    place = {name: number + 1 for number, name in enumerate(like["items"])}
    numbers = torch.tensor([place.get(name, 0) for name in events.item_names])[events.items]
    if not bool(numbers.any()):
        raise DataError(
            f"{events.source}: the encoder knows none of the items, such as {', '.join(events.item_names[:3])}; it "
            f"knows {', '.join(like['items'][:3])} and others. Vectors of items are learned: train on the new ones"
        )
    unknown = {f"item:{name}": "the encoder does not know it" for name in events.item_names if name not in place}
    return numbers, like["items"], unknown


def _histories(events: Events, numbers: Tensor) -> tuple[Histories, int]:
    """Known items by user and time, and how many events were repetitions of another at the same time."""
    known = numbers > 0
    users, items = events.users[known], numbers[known]
    times = np.zeros(len(users)) if events.times is None else events.times[known].numpy()
    order = torch.from_numpy(np.lexsort((times, users.numpy())))
    users, items, times = users[order], items[order], times[order.numpy()]
    repeated = np.zeros(len(users), dtype=bool)
    if events.times is not None:  # without times, the same item again is another event
        by_item = np.lexsort((items.numpy(), times, users.numpy()))
        same = [np.diff(values[by_item]) == 0 for values in (users.numpy(), items.numpy(), times)]
        repeated[by_item[1:]] = np.logical_and.reduce(same)
    users, items = users[~repeated], items[~repeated]
    present, counts = users.unique_consecutive(return_counts=True)
    names = [events.user_names[i] for i in present.tolist()]
    return Histories(names, torch.cat([counts.new_zeros(1), counts.cumsum(0)]), items), int(repeated.sum())


def _usual_length(counts: Tensor) -> int:
    covered = float(torch.quantile(counts.double(), _COVERED)) if len(counts) < 10**7 else float(LONGEST)
    return max(2, min(LONGEST, int(np.ceil(covered))))
