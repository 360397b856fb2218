"""Full ranking against a naive one, ties, chance, and what must not be ranked."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import DataError
from twofold.evaluation import recommendation
from twofold.evaluation.recommendation import (
    ItemLists,
    by_popularity,
    by_product,
    chance_levels,
    full_ranking,
    measurements,
    metric_infos,
)


def lists(*items):
    users = torch.tensor([u for u, own in enumerate(items) for _ in own], dtype=torch.int64)
    return ItemLists.from_pairs(users, torch.tensor([i for own in items for i in own], dtype=torch.int64), len(items))


def naive(scores, relevant, known, k):
    """Recall, NDCG and hit rate of each user with relevant items."""
    found = []
    for row, wanted, have in zip(scores.tolist(), relevant, known, strict=True):
        if not wanted:
            continue
        ranked = sorted((i for i in range(len(row)) if i not in have), key=lambda i: -row[i])[:k]
        hits = [i in wanted for i in ranked]
        gain = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits))
        best = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(wanted))))
        found.append((sum(hits) / len(wanted), gain / best, float(any(hits))))
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), k=st.integers(1, 9))
def test_it_is_the_naive_ranking(seed, k):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(7, 8, generator=draw)
    kind = torch.randint(0, 3, (7, 8), generator=draw)
    kind[0, 0] = 1
    relevant, known = ([(row == which).nonzero().flatten().tolist() for row in kind] for which in (1, 2))
    ranking = full_ranking(lambda u: scores[u], lists(*relevant), lists(*known), items=8, depth=9)
    expected = naive(scores, relevant, known, k)
    ours = torch.stack([ranking.recall(k), ranking.ndcg(k), ranking.hit_rate(k)], 1)
    assert torch.allclose(ours, torch.tensor(expected, dtype=torch.float64))


def test_blocks_change_nothing(monkeypatch):
    draw = torch.Generator().manual_seed(0)
    users, items = torch.randn(20, 4, generator=draw), torch.randn(30, 4, generator=draw)
    relevant = lists(*[[u % 30, (u + 7) % 30] for u in range(20)])
    known = lists(*[[(u + 1) % 30] for u in range(20)])
    whole = full_ranking(by_product(users, items), relevant, known, items=30)
    monkeypatch.setattr(recommendation, "BLOCK_SCORES", 90)
    asked = []

    def score(index):
        asked.append(len(index))
        return by_product(users, items)(index)

    assert torch.equal(full_ranking(score, relevant, known, items=30).hits, whole.hits)
    assert asked == [3] * 6 + [2]


def test_scores_that_say_nothing_measure_as_chance():
    draw = torch.Generator().manual_seed(0)
    relevant = lists(*[torch.randperm(40, generator=draw)[: 1 + u % 4].tolist() for u in range(3000)])
    known = lists(*[[] for _ in range(3000)])
    measured: dict[str, list[float]] = {}
    for seed in range(8):
        ranking = full_ranking(lambda u: torch.zeros(len(u), 40), relevant, known, items=40, seed=seed)
        for key, m in measurements(ranking, (5,), ("recall", "ndcg", "hit_rate")).items():
            measured.setdefault(key, []).append(m.value)
    expected = chance_levels(ranking, (5,), ("recall", "ndcg", "hit_rate"))
    for key, values in measured.items():
        assert abs(sum(values) / 8 - expected[key]) < 0.03, key
    blank = full_ranking(lambda u: torch.full((len(u), 40), math.nan), relevant, known, items=40)
    assert not blank.hits.any()


def test_chance_of_known_small_cases():
    ranking = full_ranking(lambda u: torch.zeros(len(u), 4), lists([0]), lists([3]), items=4)
    levels = chance_levels(ranking, (1, 3), ("recall", "hit_rate", "ndcg"))
    assert levels["recall_at_1"] == pytest.approx(1 / 3)
    assert levels["hit_rate_at_1"] == pytest.approx(1 / 3)
    assert levels["ndcg_at_1"] == pytest.approx(1 / 3)
    assert levels["recall_at_3"] == levels["hit_rate_at_3"] == pytest.approx(1.0)
    assert levels["ndcg_at_3"] == pytest.approx((1 + 1 / math.log2(3) + 0.5) / 3)


def test_popularity_counts_who_has_an_item():
    known = lists([2], [2, 1], [1, 2])
    assert by_popularity(known, 4)(torch.tensor([0, 2])).tolist() == [[0, 2, 3, 0]] * 2


def test_measurements_have_intervals_and_scores_of_users():
    ranking = full_ranking(lambda u: torch.eye(4)[u], lists([0], [0], [2], []), lists([], [], [], []), items=4)
    measured = measurements(ranking, (1,), ("recall",))
    assert measured.keys() == metric_infos((1,), ("recall",)).keys() == {"recall_at_1"}
    one = measured["recall_at_1"]
    assert one.n == 3
    assert one.per_item.tolist() == [1, 0, 1]
    assert one.value == pytest.approx(2 / 3)
    assert one.low <= one.value <= one.high


def test_what_cannot_be_measured_is_told():
    with pytest.raises(DataError, match="no user has an item held out"):
        full_ranking(lambda u: torch.zeros(len(u), 3), lists([], []), lists([0], [1]), items=3)
    with pytest.raises(DataError, match="known to have is also held out"):
        full_ranking(lambda u: torch.zeros(len(u), 3), lists([1], []), lists([1], []), items=3)
