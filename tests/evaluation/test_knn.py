from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from twofold.errors import ConfigError, DataError
from twofold.evaluation import weighted_knn


def _random(n: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_votes_of_three_neighbours_by_hand() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    result = weighted_knn(bank, torch.tensor([5, 7, 7, 9]), torch.tensor([[3.0, 4.0]]), k=2, temperature=0.5)
    a, b = math.exp(0.6 / 0.5), math.exp(0.8 / 0.5)
    assert result.classes.tolist() == [5, 7, 9]
    torch.testing.assert_close(result.scores, torch.tensor([[a / (a + b), b / (a + b), 0.0]]))
    assert result.predictions.tolist() == [7]


@pytest.mark.parametrize("k", [1, 7, 60])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_equals_scikit_learn_with_the_same_weights(k: int, temperature: float) -> None:
    bank, queries = _random(60, 6, 0), _random(25, 6, 1)
    labels = torch.arange(60) * 7 % 3
    reference = KNeighborsClassifier(
        k, weights=lambda distance: np.exp((1 - distance) / temperature), metric="cosine", algorithm="brute"
    ).fit(bank.numpy(), labels.numpy())
    result = weighted_knn(bank, labels, queries, k=k, temperature=temperature)
    np.testing.assert_allclose(result.scores.numpy(), reference.predict_proba(queries.numpy()), rtol=1e-9)
    assert result.predictions.tolist() == reference.predict(queries.numpy()).tolist()


def _dense(bank: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
    """The definition: item by item, the k places shared among those that tie for the last one."""
    bank, queries = (x / x.norm(dim=1, keepdim=True) for x in (bank.double(), queries.double()))
    scores = torch.zeros(len(queries), int(labels.max()) + 1, dtype=torch.float64)
    for row, query in enumerate(queries):
        cosine = bank @ query
        last = cosine.sort(descending=True).values[min(k, len(bank)) - 1]
        tied = (cosine - last).abs() < 1e-9
        free = min(k, len(bank)) - int((~tied & (cosine > last)).sum())
        part = torch.where(tied, free / tied.sum(), (cosine > last).double())
        scores[row].index_add_(0, labels, part * (cosine / temperature).exp())
    return scores / scores.sum(dim=1, keepdim=True)


@given(
    items=st.integers(1, 400),
    k=st.integers(1, 60),
    block=st.integers(1, 300),
    chunk=st.integers(1, 12),
    distinct=st.integers(1, 400),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_equals_the_definition_with_duplicates_in_any_blocks(
    items: int, k: int, block: int, chunk: int, distinct: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(distinct, 4, generator=generator, dtype=torch.float64)
    bank = values[torch.randint(distinct, (items,), generator=generator)]
    queries = torch.randn(11, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (items,), generator=generator)
    labels[0] = 4
    found = weighted_knn(bank, labels, queries, k=k, temperature=0.2, chunk=chunk, block=block)
    expected = _dense(bank, labels, queries, k, 0.2)[:, found.classes]
    torch.testing.assert_close(found.scores, expected, rtol=1e-7, atol=1e-9)


def test_float32_and_blocks_agree_with_float64_at_some_size() -> None:
    bank, queries, labels = _random(3000, 24, 0), _random(50, 24, 1), torch.arange(3000) % 11
    bank[2000:2100] = bank[:100]
    for k in (5, 200):
        found = weighted_knn(bank.float(), labels, queries.float(), k=k, chunk=17, block=700).scores
        torch.testing.assert_close(found.double(), _dense(bank, labels, queries, k, 0.1), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("chunk", "block"), [(5, 333), (1, 17), (512, 1000)])
def test_ties_of_duplicates_are_seen_though_products_round(chunk: int, block: int) -> None:
    generator = torch.Generator().manual_seed(0)
    bank = _random(300, 512, 0).float().repeat(7, 1)[torch.randperm(2100, generator=generator)]
    labels, queries = torch.randint(5, (2100,), generator=generator), _random(37, 512, 1).float()
    found = weighted_knn(bank, labels, queries, chunk=chunk, block=block).scores
    torch.testing.assert_close(found.double(), _dense(bank, labels, queries, 20, 0.1), rtol=1e-4, atol=1e-5)


@given(chunk=st.integers(1, 30), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=25)
def test_chunks_scale_and_order_of_the_bank_do_not_matter(chunk: int, seed: int) -> None:
    bank, queries, labels = _random(40, 5, seed), _random(17, 5, seed + 1), torch.arange(40) % 5
    bank[30:] = bank[20:30]  # exact ties, with other labels
    labels[30:] = (labels[20:30] + 1) % 5
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    whole = weighted_knn(bank, labels, queries, k=9)
    other = weighted_knn(3 * bank[order], labels[order], 2 * queries, k=9, chunk=chunk)
    torch.testing.assert_close(other.scores, whole.scores)
    torch.testing.assert_close(whole.scores.sum(dim=1), torch.ones(17, dtype=torch.float64))


def test_items_tied_for_the_last_place_share_it() -> None:
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    labels = torch.tensor([0, 1, 2, 2])
    scores = weighted_knn(bank, labels, torch.tensor([[1.0, 0.0]]), k=2, temperature=1.0).scores
    e = math.exp(-1)
    torch.testing.assert_close(scores, torch.tensor([[1.0, e / 3, 2 * e / 3]]) / (1 + e))


def test_collapsed_features_vote_for_the_most_frequent_class() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1, 2])
    result = weighted_knn(torch.ones(6, 3), labels, torch.ones(4, 3), k=2)
    assert result.predictions.tolist() == [1] * 4
    torch.testing.assert_close(result.scores[0], torch.tensor([2.0, 3.0, 1.0]) / 6)


def test_equal_votes_go_to_the_smallest_label() -> None:
    result = weighted_knn(torch.eye(2), torch.tensor([8, 3]), torch.ones(1, 2), k=2)
    assert result.predictions.tolist() == [3]


def test_k_is_capped_and_said_so() -> None:
    result = weighted_knn(torch.eye(3), torch.arange(3), torch.eye(3), k=20)
    assert result.k == 3
    assert "k = 20" in result.message
    assert "3 items" in result.message
    assert weighted_knn(torch.eye(3), torch.arange(3), torch.eye(3), k=3).message == ""


def test_small_temperatures_do_not_overflow() -> None:
    result = weighted_knn(_random(30, 4, 0).float(), torch.arange(30) % 3, _random(9, 4, 1).float(), temperature=1e-4)
    assert result.scores.isfinite().all()


def test_half_precision_is_raised() -> None:
    bank, queries = _random(30, 4, 0), _random(9, 4, 1)
    half = weighted_knn(bank.bfloat16(), torch.arange(30) % 3, queries.bfloat16(), k=5)
    exact = weighted_knn(bank.bfloat16().double(), torch.arange(30) % 3, queries.bfloat16().double(), k=5)
    assert half.scores.dtype == torch.float32
    torch.testing.assert_close(half.scores.double(), exact.scores, rtol=1e-4, atol=1e-4)


def test_bad_input_is_named() -> None:
    good, labels = torch.eye(4), torch.arange(4)
    with pytest.raises(ConfigError, match=r"k must be positive, got 0[\s\S]*temperature must be positive, got -1"):
        weighted_knn(good, labels, good, k=0, temperature=-1)
    with pytest.raises(ConfigError, match=r"chunk must be positive, got 0[\s\S]*block must be positive, got -3"):
        weighted_knn(good, labels, good, chunk=0, block=-3)
    with pytest.raises(DataError, match="same width"):
        weighted_knn(good, labels, torch.ones(2, 3))
    with pytest.raises(DataError, match="4 rows of features but 3 labels"):
        weighted_knn(good, labels[:3], good)
    broken = good.clone()
    broken[[1, 3], 0] = torch.nan
    with pytest.raises(DataError, match=r"queries: 2 rows \(1, 3\) are NaN"):
        weighted_knn(good, labels, broken)
    with pytest.raises(DataError, match="no rows"):
        weighted_knn(good[:0], labels[:0], good)
