"""The usual evaluation: every user's held-out items among all items, beside popularity."""

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
from twofold.modalities.interactions.data import Interactions, read
from twofold.options import did_you_mean

NAME = "ranking"
DEPTHS, KINDS = (20,), ("recall", "ndcg")


def ranking_task(source: Any, spec: Mapping[str, Any], *, test: Any, name: str | None, reading: dict[str, Any]) -> Task:
    """Rank all items for the users of ``source``, by the product of vectors.

    Args:
        source: What is known: interactions.
        spec: What the recipe was built for.
        test: What is held out, if it is apart from ``source``; of interactions in both, none is held out.
        name: ``ranking``, or None.
        reading: Options with which both are read.

    Raises:
        ConfigError: If there is no such task, or nothing was held out.
        DataError: If no user has a held-out item.
    """
    if name not in (None, NAME):
        raise ConfigError(f"There is no task {name!r} for interactions{did_you_mean(str(name), [NAME])}")
    if test is None:
        known, held_out, words = _own_part(source, spec, reading)
    else:
        known, held_out, words = _given_part(source, test, reading)
    users, items = known.graph.users, known.graph.items
    have = ItemLists.from_pairs(known.graph.edges[0], known.graph.edges[1], users)
    wanted = ItemLists.from_pairs(held_out[0], held_out[1], users)

    def ranked(score: Score) -> Ranking:
        return full_ranking(score, wanted, have, items=items, depth=max(DEPTHS))

    def measure(sides: Mapping[str, Tensor]) -> dict[str, Measurement]:
        rows = sides["nodes"]
        return measurements(ranked(by_product(rows[:users], rows[users:])), DEPTHS, KINDS)

    def popularity() -> dict[str, Measurement]:
        return measurements(ranked(by_popularity(have, items)), DEPTHS, KINDS)

    blank = ranked(lambda index: torch.zeros(len(index), items))
    return Task(
        name=NAME,
        sides={"nodes": known},
        measure=measure,
        metrics=metric_infos(DEPTHS, KINDS),
        protocol={
            "split": words,
            "ranking": (
                f"all {items:,} items but those known of the user, by the product of vectors; mean over the "
                f"{len(blank.users):,} users with held-out items; recall is over all held-out items of a user"
            ),
        },
        chance=chance_levels(blank, DEPTHS, KINDS),
        baselines={"popularity": popularity},
        held_out=True,
    )


def _own_part(source: Any, spec: Mapping[str, Any], reading: dict[str, Any]) -> tuple[Interactions, Tensor, str]:
    """The source as the recipe was trained on it, and what was held out of it then."""
    if spec.get("split") != "train" or not spec.get("held_out"):
        raise ConfigError(
            "All interactions of its source were trained on, so nothing is held out to measure on: give other ones as "
            "test (--test FILE), or train with split='train' (the default)."
        )
    wrong = [key for key in ("split", "held_out", "split_seed") if reading.get(key, spec[key]) != spec[key]]
    if wrong:
        raise ConfigError(
            f"{' and '.join(wrong)} must be as in the training, or what is measured may have been trained on."
        )
    known = _read(source, reading | {"split": "train"})
    if not known.held_out.shape[1]:
        raise DataError("nothing of this source is held out, as every user has few interactions; give others as test")
    words = (
        f"{known.held_out.shape[1]:,} interactions held out ({spec['held_out']:.0%}, seed {spec['split_seed']}), the "
        f"same as in the training; {known.graph.edges.shape[1]:,} known"
    )
    return known, known.held_out, words


def _given_part(source: Any, test: Any, reading: dict[str, Any]) -> tuple[Interactions, Tensor, str]:
    """A source whose interactions are all known, and others."""
    known, other = (_read(part, reading | {"split": "all"}) for part in (source, test))
    items = known.graph.items
    pairs = torch.cat([other.graph.edges, other.held_out], 1)
    fresh = ~torch.isin(pairs[0] * items + pairs[1], known.graph.edges[0] * items + known.graph.edges[1])
    unknown = sum(name.startswith(("user:", "item:")) for name in other.skipped)
    words = f"{int(fresh.sum()):,} interactions given apart, {known.graph.edges.shape[1]:,} known"
    if not bool(fresh.all()):
        words += f"; {int((~fresh).sum()):,} of the test are known already and do not count"
    if unknown:
        words += f"; {unknown:,} users and items of the test are unknown to the encoder and do not count"
    return known, pairs[:, fresh], words


def _read(source: Any, reading: dict[str, Any]) -> Interactions:
    found = read(source, **reading)
    if not isinstance(found, Interactions):
        raise DataError(
            f"interactions are measured on files, columns or a data set of them, not on a {type(found).__name__}"
        )
    return found
