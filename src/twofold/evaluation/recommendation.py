"""Recommendation, ranked over the whole catalogue: recall, NDCG and hit rate at k, popularity, and chance.

Items that a user is known to have are left out; all others are ranked, none are sampled (sampled rankings order methods
differently: Krichene & Rendle, KDD 2020). Users go through in blocks, so memory does not grow with users × items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.evaluation.intervals import bootstrap_mean
from twofold.evaluation.result import Measurement, MetricInfo

Score = Callable[[Tensor], Tensor]
"""Numbers of users, int64 ``(b,)``, to their scores of all items, ``(b, items)``."""

BLOCK_SCORES = 1 << 23
"""Scores that are held at once, 32 MiB."""
_USERS = "95 % bootstrap over users"


@dataclass(frozen=True)
class ItemLists:
    """Items of each user, of any number each.

    Attributes:
        start: int64 ``(users + 1,)``: the items of user u are ``items[start[u] : start[u + 1]]``.
        items: int64, in ascending order within a user.
    """

    start: Tensor
    items: Tensor

    @classmethod
    def from_pairs(cls, users: Tensor, items: Tensor, count: int) -> Self:
        """The lists of ``count`` users from pairs in any order.

        Args:
            users: int64 ``(m,)``, from 0 below ``count``.
            items: int64 ``(m,)``.
            count: How many users there are.
        """
        order = torch.from_numpy(np.lexsort((items.numpy(), users.numpy())))
        return cls(_starts(torch.bincount(users, minlength=count)), items[order])

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def counts(self) -> Tensor:
        """How many items each user has, int64 ``(users,)``."""
        return self.start.diff()

    def of(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """The pairs of some users: their positions in ``users`` and the items, each int64 ``(pairs,)``."""
        counts = self.counts[users]
        row = torch.repeat_interleave(torch.arange(len(users)), counts)
        place = torch.arange(len(row)) - _starts(counts)[:-1][row]
        return row, self.items[self.start[users][row] + place]


@dataclass(frozen=True)
class Ranking:
    """The first items that users were given, and which of them are relevant.

    Attributes:
        users: int64 ``(u,)``: the users that were ranked, all those with a relevant item.
        hits: bool ``(u, depth)``: whether the item at each rank is relevant.
        relevant: int64 ``(u,)``: how many items are relevant to each.
        candidates: int64 ``(u,)``: among how many items they were ranked.
    """

    users: Tensor
    hits: Tensor
    relevant: Tensor
    candidates: Tensor

    def recall(self, k: int) -> Tensor:
        """Share of a user's relevant items among the first k, ``(u,)``; can reach 1 only with at most k of them."""
        return self.hits[:, :k].sum(1).double() / self.relevant

    def hit_rate(self, k: int) -> Tensor:
        """1 for a user with a relevant item among the first k, ``(u,)``."""
        return self.hits[:, :k].any(1).double()

    def ndcg(self, k: int) -> Tensor:
        """Discounted gain of the first k, Σ 1/log2(rank + 1) over relevant ones, over the best possible, ``(u,)``."""
        discount = 1 / torch.arange(2, k + 2, dtype=torch.float64).log2()
        best = discount.cumsum(0)[self.relevant.clamp(max=k) - 1]
        return (self.hits[:, :k].double() @ discount[: self.hits[:, :k].shape[1]]) / best


def full_ranking(
    score: Score, relevant: ItemLists, known: ItemLists, *, items: int, depth: int = 20, seed: int = 0
) -> Ranking:
    """Rank all items for every user with relevant ones, those that the user is known to have left out.

    Of items with the same score none is preferred: the items are shuffled before ranking, anew for each block of users.
    So a score that says nothing measures as chance does. Scores that are NaN come last.

    Args:
        score: Gives the scores of users.
        relevant: Held-out items of each user.
        known: Items that are not to be recommended; relevant ones must not be among them.
        items: How many items there are.
        depth: Ranks that are looked at.
        seed: Of the shuffling.

    Raises:
        DataError: If no user has relevant items, or an item is both relevant and known.
    """
    users = relevant.counts.nonzero().flatten()
    if not len(users):
        raise DataError("no user has an item held out, so there is nothing to measure recommendations on")
    generator = torch.Generator().manual_seed(seed)
    depth = min(depth, items)
    hits = []
    for block in users.split(max(1, BLOCK_SCORES // max(1, items))):
        shuffle = torch.randperm(items, generator=generator)
        scores = score(block).detach().float().cpu()
        scores = scores.nan_to_num(nan=-torch.inf)
        wanted = torch.zeros(scores.shape, dtype=torch.bool)
        wanted[relevant.of(block)] = True
        have = known.of(block)
        if bool(wanted[have].any()):
            raise DataError("an item that a user is known to have is also held out; remove it from one of the two")
        scores[have] = -torch.inf
        best = shuffle[scores[:, shuffle].topk(depth, dim=1).indices]
        left = scores.gather(1, best) > -torch.inf
        hits.append(wanted.gather(1, best) & left)
    return Ranking(users, torch.cat(hits), relevant.counts[users], items - known.counts[users])


def by_product(users: Tensor, items: Tensor) -> Score:
    """Scores by the product of vectors.

    Args:
        users: ``(users, d)``.
        items: ``(items, d)``.
    """
    return lambda index: users[index] @ items.T


def by_popularity(known: ItemLists, items: int) -> Score:
    """The same scores for every user: how many users have an item."""
    counts = torch.bincount(known.items, minlength=items).float()
    return lambda index: counts.repeat(len(index), 1)


def measurements(
    ranking: Ranking, depths: Sequence[int], kinds: Sequence[str], *, seed: int = 0
) -> dict[str, Measurement]:
    """Means over users with their intervals; keys such as ``ndcg_at_20``.

    Args:
        ranking: From :func:`full_ranking`, at least as deep.
        depths: The k.
        kinds: Some of ``recall``, ``ndcg``, ``hit_rate``.
        seed: Of the bootstrap.
    """
    measured = {}
    for kind in kinds:
        for k in depths:
            values: Tensor = getattr(ranking, kind)(k)
            interval = bootstrap_mean(values.numpy(), generator=np.random.default_rng(seed))
            measured[f"{kind}_at_{k}"] = Measurement(*interval, unit=kind, n=len(values), per_item=values)
    return measured


def metric_infos(depths: Sequence[int], kinds: Sequence[str]) -> dict[str, MetricInfo]:
    """How to read what :func:`measurements` gives; arguments as there."""
    titles = {"recall": "Recall", "ndcg": "NDCG", "hit_rate": "hit rate"}
    return {f"{kind}_at_{k}": MetricInfo(f"{titles[kind]}@{k}", True, _USERS) for kind in kinds for k in depths}


def chance_levels(ranking: Ranking, depths: Sequence[int], kinds: Sequence[str]) -> dict[str, float]:
    """What rankings in random order have on average; arguments as in :func:`measurements`."""
    share = (ranking.relevant / ranking.candidates).double()
    levels: dict[str, float] = {}
    for k in depths:
        drawn = ranking.candidates.clamp(max=k)
        discount = 1 / torch.arange(2, k + 2, dtype=torch.float64).log2()
        gain = discount.cumsum(0)
        expected = {
            "recall": drawn / ranking.candidates,
            "ndcg": share * gain[drawn - 1] / gain[ranking.relevant.clamp(max=k) - 1],
            "hit_rate": 1 - _no_hit(ranking.candidates, ranking.relevant, drawn),
        }
        levels |= {f"{kind}_at_{k}": float(expected[kind].double().mean()) for kind in kinds}
    return levels


def _no_hit(candidates: Tensor, relevant: Tensor, drawn: Tensor) -> Tensor:
    """Probability that none of ``drawn`` out of ``candidates`` is one of ``relevant``: C(n − r, k) / C(n, k)."""
    n, r, k = candidates.double(), relevant.double(), drawn.double()
    others = n - r
    logarithm = others.add(1).lgamma() - (others - k).clamp(min=0).add(1).lgamma() - n.add(1).lgamma()
    logarithm = logarithm + (n - k).add(1).lgamma()
    return torch.where(others >= k, logarithm.exp(), 0.0)


def _starts(counts: Tensor) -> Tensor:
    """Where runs of these lengths begin, and where the last ends: int64 ``(len + 1,)``."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
