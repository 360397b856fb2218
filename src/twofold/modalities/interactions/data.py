"""Interactions from anywhere: who chose what, a part held out, and the graph of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.events import Columns, Events, read_events
from twofold.modalities.hashed import hashed, hashed_names, share
from twofold.modalities.interactions.graph import Bipartite
from twofold.modalities.interactions.nodes import Nodes
from twofold.modalities.labels import checked_index

Split = Literal["train", "all"]
HELD_OUT = 0.2
_MOST_HELD_OUT = 0.9


class Interactions:
    """Users and items, in one graph; the samples are all users, then all items.

    Args:
        users: Names of users.
        items: Names of items.
        edges: int64 ``(2, m)``, user and item of each interaction that is known, each once.
        held_out: int64 ``(2, k)``, those that the graph must not show.
        facts: Further entries of ``spec``: how it was split.
        skipped: What was left out, and why.
        notes: What else a user should know.
    """

    def __init__(
        self,
        users: Sequence[str],
        items: Sequence[str],
        edges: Tensor,
        held_out: Tensor,
        *,
        facts: Mapping[str, Any],
        skipped: dict[str, str],
        notes: Sequence[str] = (),
    ) -> None:
        self.graph = Bipartite(len(users), len(items), edges)
        self.held_out = held_out
        self.skipped, self.notes = skipped, list(notes)
        self.labels: Tensor | None = None
        self.class_names: list[str] | None = None
        self.ids: Sequence[str] = [f"user:{name}" for name in users] + [f"item:{name}" for name in items]
        self.spec: dict[str, Any] = {
            "modality": "interactions",
            "samples": len(self.ids),
            "interactions": edges.shape[1],
            **facts,
            "users": list(users),
            "items": list(items),
        }

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """Some nodes and the whole graph."""
        index = checked_index(index, len(self))
        return {"inputs": Nodes(self.graph, index), "index": index}


def read(
    source: Any,
    *,
    split: Split = "train",
    held_out: float = HELD_OUT,
    split_seed: int = 0,
    min_rating: float | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    rating_column: str | None = None,
    like: Mapping[str, Any] | None = None,
) -> Dataset:
    """Read interactions; see :func:`twofold.modalities.events.read_events` for the sources.

    Whether an interaction is held out follows from its user, its item and ``split_seed`` alone: another file with the
    same interactions, or a longer one, holds out the same ones. A user keeps at least one.

    Args:
        source: See there; or a data set of ours, which is handed back.
        split: ``train`` leaves what is held out aside, for an evaluation; ``all`` takes everything.
        held_out: Share of the interactions that is held out, 0 to 0.9.
        split_seed: Which ones.
        min_rating: Interactions with a lower rating are left out.
        user_column: Of a table, the column of users.
        item_column: Of a table, the column of items.
        rating_column: Of a table, the column of ratings.
        like: The ``spec`` of other interactions, whose users and items are meant, in its order; others are skipped.

    Raises:
        ConfigError: If an option is out of range.
        DataError: If there is nothing to read, or fewer than two users or items.
    """
    if split not in ("train", "all"):
        raise ConfigError(f"split is {split!r}; it must be 'train' (a part is held out) or 'all'.")
    if not 0 <= held_out <= _MOST_HELD_OUT:
        raise ConfigError(f"held_out is {held_out}; it must be at least 0 and at most {_MOST_HELD_OUT}.")
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        return source
    columns = Columns(user=user_column, item=item_column, rating=rating_column, least=min_rating)
    events = read_events(source, columns)
    users, items = events.user_names, events.item_names
    pairs, skipped = torch.stack([events.users, events.items]), dict(events.skipped)
    if like is not None:
        pairs, unknown = _translated(events, like)
        skipped |= unknown
        users, items = like["users"], like["items"]
    pairs, repeated = _once(pairs, len(items))
    if min(len(users), len(items)) < 2:
        raise DataError(f"{events.source}: {len(users)} user and {len(items)} item are no data to recommend from")
    test = torch.zeros(pairs.shape[1], dtype=torch.bool)
    if split == "train":
        test = held_out_mask(pairs, users, items, fraction=held_out, seed=split_seed)
    facts: dict[str, Any] = {"split": split, "held_out": held_out, "split_seed": split_seed, "min_rating": min_rating}
    named = {"user_column": user_column, "item_column": item_column, "rating_column": rating_column}
    facts |= {name: column for name, column in named.items() if column is not None}
    notes = [f"{repeated:,} interactions were given more than once and count once"] if repeated else []
    return Interactions(users, items, pairs[:, ~test], pairs[:, test], facts=facts, skipped=skipped, notes=notes)


def held_out_mask(pairs: Tensor, users: Sequence[str], items: Sequence[str], *, fraction: float, seed: int) -> Tensor:
    """Which interactions are held out, bool ``(m,)``: a share of all; of each user at least one is not.

    Args:
        pairs: int64 ``(2, m)``, user and item.
        users: Names of users.
        items: Names of items.
        fraction: The share.
        seed: Of the choice.
    """
    user, item = pairs
    drawn = hashed(seed, hashed_names(users)[user], hashed_names(items)[item])
    test = share(drawn, fraction)
    largest = torch.zeros(len(users), dtype=torch.int64).scatter_reduce(0, user, drawn, "amax")
    return test & (drawn < largest[user])


def summary(dataset: Dataset) -> str:
    """One paragraph: how many users, items and interactions, and what was held out or left out."""
    spec = dataset.spec
    users, items, count = len(spec["users"]), len(spec["items"]), spec["interactions"]
    text = [
        f"{count:,} interactions of {users:,} users with {items:,} items ({count / (users * items):.2%} of all pairs)."
    ]
    held_out = getattr(dataset, "held_out", None)
    if held_out is not None and held_out.shape[1]:
        text.append(f"{held_out.shape[1]:,} more are held out for the evaluation (split=all takes them too).")
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        text.append(f"{len(dataset.skipped):,} rows or names were left out, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in getattr(dataset, "notes", ())]
    return " ".join(text)


def _translated(events: Events, like: Mapping[str, Any]) -> tuple[Tensor, dict[str, str]]:
    """The interactions in the numbers of other data, and the users and items that it does not know.

    Raises:
        DataError: If none is known.
    """
    sides = ((events.users, events.user_names, "user"), (events.items, events.item_names, "item"))
    numbers: list[Tensor] = []
    unknown: dict[str, str] = {}
    for values, names, what in sides:
        place = {name: number for number, name in enumerate(like[f"{what}s"])}
        numbers.append(torch.tensor([place.get(name, -1) for name in names])[values])
        unknown |= {f"{what}:{name}": "the encoder does not know it" for name in names if name not in place}
    pairs = torch.stack(numbers)
    known = (pairs >= 0).all(0)
    if not bool(known.any()):
        raise DataError(
            f"{events.source}: no interaction is between a user and an item that the encoder knows. It knows users "
            f"such as {told(like['users'])} and items such as {told(like['items'])}; here are users such as "
            f"{told(events.user_names)} and items such as {told(events.item_names)}. Vectors are learned for each: "
            "train on the new ones"
        )
    return pairs[:, known], unknown


def _once(pairs: Tensor, items: int) -> tuple[Tensor, int]:
    """Each pair once, and how many were repetitions."""
    keys = (pairs[0] * items + pairs[1]).unique()
    return torch.stack([keys // items, keys % items]), pairs.shape[1] - len(keys)


def told(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(names[:3])
