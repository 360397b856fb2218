"""The usual evaluation: which item comes next, among all items, beside popularity and a Markov chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Task
from twofold.evaluation.recommendation import (
    ItemLists,
    Ranking,
    Score,
    by_popularity,
    by_product,
    chance_levels,
    full_ranking,
    measurements,
    metric_infos,
)
from twofold.evaluation.result import Measurement
from twofold.modalities.sequences.data import Candidates, Sequences, read
from twofold.options import did_you_mean

NAMES = ("next-item", "validation")
DEPTHS, KINDS = (5, 10), ("hit_rate", "ndcg")


def next_item_task(
    source: Any, spec: Mapping[str, Any], *, test: Any, name: str | None, reading: dict[str, Any]
) -> Task:
    """Rank all items for the users of ``source`` by the product of their vectors with the items'.

    Args:
        source: Sequences.
        spec: What the recipe was built for.
        test: Later events, if they are apart from ``source``: the first of each user is what comes next.
        name: ``next-item`` (or None) for the last item of each user; ``validation`` for the one before.
        reading: Options with which both are read.

    Raises:
        ConfigError: If there is no such task, or nothing was held out.
        DataError: If no user has an item that comes next.
    """
    if name is not None and name not in NAMES:
        raise ConfigError(f"There is no task {name!r} for sequences{did_you_mean(name, NAMES)}")
    if test is None:
        histories, target, words = _own_part(source, spec, reading, back=2 if name == "validation" else 1)
    else:
        histories, target, words = _given_part(source, test, reading)
    items = len(spec["items"])
    seen, everyone = _seen(histories), torch.arange(len(histories))
    wanted = ItemLists.from_pairs(everyone, target - 1, len(histories))
    repeats = _any_twice(torch.cat([seen[0], everyone]) * items + torch.cat([seen[1], target - 1]))
    nothing = torch.empty(0, dtype=torch.int64)
    known = ItemLists.from_pairs(*((nothing, nothing) if repeats else seen), len(histories))

    def ranked(score: Score) -> Ranking:
        return full_ranking(score, wanted, known, items=items, depth=max(DEPTHS))

    def measured(score: Score) -> dict[str, Measurement]:
        return measurements(ranked(score), DEPTHS, KINDS)

    blank = ranked(lambda index: torch.zeros(len(index), items))
    left = "all of them" if repeats else "those but what the user had before"
    return Task(
        name=name or NAMES[0],
        sides={"histories": histories, "items": Candidates(histories.spec)},
        measure=lambda sides: measured(by_product(sides["histories"], sides["items"])),
        metrics=metric_infos(DEPTHS, KINDS),
        protocol={
            "split": words,
            "ranking": f"{left} of {items:,} items, by the product of vectors; mean over {len(histories):,} users",
        },
        chance=chance_levels(blank, DEPTHS, KINDS),
        baselines={
            "popularity": lambda: measured(by_popularity(ItemLists.from_pairs(*seen, len(histories)), items)),
            "Markov chain": lambda: measured(by_transitions(histories, items)),
        },
        held_out=True,
    )


def by_transitions(histories: Sequences, items: int) -> Score:
    """Scores of a Markov chain: how often an item followed the user's last one; of equals, the more popular first."""
    user, item = _seen(histories)
    together = user[1:] == user[:-1]
    follows = ItemLists.from_pairs(item[:-1][together], item[1:][together], items)
    counts = torch.bincount(item, minlength=items).float()
    last = histories.fetch(torch.arange(len(histories)))["inputs"][:, -1] - 1

    def score(index: Tensor) -> Tensor:
        scores = (counts / (counts.max() + 1)).repeat(len(index), 1)
        place = follows.of(last[index])
        return scores.index_put_(place, torch.ones(len(place[0])), accumulate=True)

    return score


def _own_part(
    source: Any, spec: Mapping[str, Any], reading: dict[str, Any], *, back: int
) -> tuple[Sequences, Tensor, str]:
    if spec.get("split") != "train":
        raise ConfigError(
            "All events of its source were trained on, so nothing is held out to measure on: give later ones as test "
            "(--test FILE), or train with split='train' (the default)."
        )
    histories, target = _read(source, reading).until(back)
    if not len(histories):
        raise DataError("no user has three events or more, so there is nothing to measure on")
    which = "last" if back == 1 else "last but one"
    return histories, target, f"leave-one-out: the {which} item of every user with at least three"


def _given_part(source: Any, test: Any, reading: dict[str, Any]) -> tuple[Sequences, Tensor, str]:
    known, later = (_read(part, reading | {"split": "all"}) for part in (source, test))
    next_item = dict(
        zip(later.histories.users, later.histories.items[later.histories.start[:-1]].tolist(), strict=True)
    )
    target = torch.tensor([next_item.get(user, 0) for user in known.histories.users])
    if not bool(target.any()):
        raise DataError("no user of the test occurs in the source, so there are no sequences to go on from")
    wanted = (target > 0).nonzero().flatten()
    words = (
        f"the first event of {len(wanted):,} users in the events given apart; their sequences are those of the source"
    )
    return known.some(wanted), target[wanted], words


def _seen(histories: Sequences) -> tuple[Tensor, Tensor]:
    """User and item (from 0) of every event that counts, in the order of time within a user."""
    start, stop = histories.histories.start[:-1], histories.stop
    user = torch.repeat_interleave(torch.arange(len(stop)), stop)
    first = torch.cat([stop.new_zeros(1), stop.cumsum(0)[:-1]])
    place = torch.arange(len(user)) - first[user]
    return user, histories.histories.items[start[user] + place] - 1


def _any_twice(keys: Tensor) -> bool:
    return len(keys.unique()) < len(keys)


def _read(source: Any, reading: dict[str, Any]) -> Sequences:
    found = read(source, **reading)
    if not isinstance(found, Sequences):
        raise DataError(
            f"sequences are measured on files, columns or a data set of them, not on a {type(found).__name__}"
        )
    return found
