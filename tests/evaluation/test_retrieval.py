from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Features, random_ranking, retrieve_across, retrieve_within
from twofold.evaluation.retrieval import retrieval_task, shared_codes


def _random(n: int, dim: int, seed: int) -> torch.Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _angles(*degrees: float) -> torch.Tensor:
    radians = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_ranking_across_by_hand() -> None:
    gallery, keys = _angles(10, 20, 30, 40), ["b", "a", "b", "a"]
    result = retrieve_across(_angles(0, 0, 0), gallery, ["a", "b", "c"], keys, ks=(1, 2))
    assert result.recall[1].tolist()[:2] == [0.0, 1.0]
    assert result.recall[2].tolist()[:2] == [1.0, 1.0]
    assert result.average_precision.tolist()[:2] == pytest.approx([(1 / 2 + 2 / 4) / 2, (1 + 2 / 3) / 2])
    assert math.isnan(result.average_precision[2])
    assert math.isnan(result.recall[1][2])
    assert result.relevant.tolist() == [2, 2, 0]
    assert result.counted.tolist() == [True, True, False]


def test_an_item_does_not_find_itself() -> None:
    result = retrieve_within(_angles(0, 1, 90, 200), torch.tensor([0, 1, 0, 2]), ks=(1, 2))
    assert result.relevant.tolist() == [1, 0, 1, 0]
    assert result.gallery_size == 3
    both = [0, 2]
    assert result.recall[1][both].tolist() == [0.0, 0.0]
    assert result.recall[2][both].tolist() == [1.0, 1.0]
    assert result.average_precision[both].tolist() == [0.5, 0.5]
    assert result.average_precision[[1, 3]].isnan().all()


@given(seed=st.integers(0, 1000), chunk=st.integers(1, 40))
@settings(deadline=None, max_examples=20)
def test_average_precision_equals_scikit_learn(seed: int, chunk: int) -> None:
    x, labels = _random(30, 4, seed), torch.arange(30) % 4
    result = retrieve_within(x, labels, chunk=chunk)
    unit = torch.nn.functional.normalize(x, dim=1)
    for i in range(30):
        others = torch.arange(30) != i
        relevant = (labels[others] == labels[i]).numpy()
        expected = average_precision_score(relevant, (unit[others] @ unit[i]).numpy())
        assert float(result.average_precision[i]) == pytest.approx(expected)


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_order_of_items_does_not_matter_even_with_ties(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-1, 2, (24, 2), generator=generator).double()  # many equal vectors
    labels, order = torch.arange(24) % 3, torch.randperm(24, generator=generator)
    plain, shuffled = retrieve_within(x, labels), retrieve_within(x[order], labels[order])
    torch.testing.assert_close(shuffled.average_precision, plain.average_precision[order])
    torch.testing.assert_close(shuffled.recall[5], plain.recall[5][order])


@given(seed=st.integers(0, 1000), n=st.integers(3, 40))
@settings(deadline=None, max_examples=20)
def test_recall_grows_with_depth_and_all_is_within_range(seed: int, n: int) -> None:
    result = retrieve_within(_random(n, 3, seed), torch.arange(n) % 2, ks=(1, 2, 100))
    counted = result.counted
    assert counted.any()
    assert (result.recall[1][counted] <= result.recall[2][counted]).all()
    assert (result.recall[100][counted] == 1).all()
    assert ((result.average_precision[counted] > 0) & (result.average_precision[counted] <= 1)).all()


def test_perfect_features(separable: tuple[Features, Features]) -> None:
    result = retrieve_within(separable[1].x, separable[1].labels)
    assert result.average_precision.tolist() == pytest.approx([1.0] * 40)


def test_collapsed_features_retrieve_nothing() -> None:
    result = retrieve_within(torch.ones(20, 3), torch.arange(20) % 2)
    assert result.recall[5].tolist() == [0.0] * 20


def test_across_the_same_set_equals_within_apart_from_itself() -> None:
    x, labels = _random(20, 4, 0), torch.arange(20) % 4
    within, across = retrieve_within(x, labels, ks=(1,)), retrieve_across(x, x, labels, labels, ks=(2,))
    assert across.recall[2].tolist() == [1.0] * 20
    assert within.relevant.tolist() == (across.relevant - 1).tolist()
    assert (across.average_precision > within.average_precision).all()


@pytest.mark.parametrize(("relevant", "size"), [(1, 1), (1, 6), (3, 6), (6, 6)])
def test_random_ranking_equals_simulation(relevant: int, size: int) -> None:
    recall, precision = random_ranking(torch.tensor([relevant, 0]), size, ks=(1, 5))
    generator = np.random.default_rng(0)
    hits = generator.permuted(np.tile(np.arange(size) < relevant, (40_000, 1)), axis=1)
    ranked = (hits.cumsum(1) / np.arange(1, size + 1) * hits).sum(1) / relevant
    assert precision == pytest.approx(ranked.mean(), abs=0.006)
    assert recall[1] == pytest.approx(relevant / size)
    assert recall[5] == pytest.approx(hits[:, :5].any(1).mean(), abs=0.006)


def test_keys_of_any_kind_share_their_codes() -> None:
    left, right = shared_codes(["😀", ("a", 1), "😀"], [("a", 1), "new"])
    assert left.tolist() == [0, 1, 0]
    assert right.tolist() == [1, 2]


def test_task_takes_keys_before_labels_and_leaves_out_the_unlabelled() -> None:
    x = torch.eye(4)
    by_key = retrieval_task(Features(x, torch.tensor([0, 0, 1, 1]), ["a", "b", "a", "c"]))
    assert by_key is not None
    assert by_key.by_key
    assert by_key.relevant().tolist() == [1, 0, 1, 0]
    by_label = retrieval_task(Features(x, torch.tensor([2, -1, 2, 5])))
    assert by_label is not None
    assert by_label.queries.tolist() == [0, 2, 3]
    assert by_label.relevant().tolist() == [1, 1, 0]
    assert retrieval_task(Features(x)) is None
    assert retrieval_task(Features(x, keys=list("abcd"))) is None
    assert retrieval_task(Features(x, torch.zeros(4, dtype=torch.int64))) is None


def test_bad_input_is_named() -> None:
    x = torch.eye(3)
    with pytest.raises(ConfigError, match="at least 1"):
        retrieve_within(x, [0, 0, 1], ks=(0,))
    with pytest.raises(DataError, match="3 rows of features but 2 labels"):
        retrieve_within(x, ["a", "b"])
    with pytest.raises(DataError, match="at least two items"):
        retrieve_within(x[:1], ["a"])
    with pytest.raises(DataError, match="3 dimensions, the gallery 2"):
        retrieve_across(x, torch.eye(2), list("abc"), list("ab"))
    with pytest.raises(DataError, match="nothing to retrieve"):
        random_ranking(torch.zeros(3, dtype=torch.int64), 5)
