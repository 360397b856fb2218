from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Features, cluster_accuracy, kmeans_agreement
from twofold.evaluation.clustering import partition_agreement

_partition = arrays(np.int64, 12, elements=st.integers(0, 3))


def test_matched_accuracy_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    assert cluster_accuracy(labels, np.array([2, 2, 2, 0, 0, 1])) == 1.0
    assert cluster_accuracy(labels, np.zeros(6, dtype=int)) == 0.5
    assert cluster_accuracy(labels, np.arange(6)) == 0.5


@given(_partition, _partition)
@settings(deadline=None, max_examples=50)
def test_matching_is_the_best_of_all(labels: np.ndarray, clusters: np.ndarray) -> None:
    best = max(float((np.array(renaming)[clusters] == labels).mean()) for renaming in permutations(range(4)))
    assert cluster_accuracy(labels, clusters) == pytest.approx(best)


@given(_partition, _partition, st.permutations(range(4)))
@settings(deadline=None, max_examples=50)
def test_agreement_is_bounded_and_blind_to_names(labels: np.ndarray, clusters: np.ndarray, names: list[int]) -> None:
    nmi, ari, accuracy = partition_agreement(labels, clusters)
    assert -1e-9 <= nmi <= 1 + 1e-9
    assert -1 <= ari <= 1
    assert 0 < accuracy <= 1
    assert partition_agreement(labels, np.array(names)[clusters]) == pytest.approx((nmi, ari, accuracy))
    assert nmi == pytest.approx(normalized_mutual_info_score(labels, clusters))
    assert ari == pytest.approx(adjusted_rand_score(labels, clusters))


def test_separable_classes_are_found_by_every_seed(separable: tuple[Features, Features]) -> None:
    test = separable[1]
    result = kmeans_agreement(test.x, test.labels, seeds=(3, 4, 5))
    for scores in (result.nmi, result.ari, result.accuracy):
        np.testing.assert_allclose(scores, np.ones(3))
    assert result.clusters == 4
    assert result.message == ""


@given(seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_length_of_vectors_does_not_matter(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, labels = torch.randn(40, 3, generator=generator, dtype=torch.float64), torch.arange(40) % 3
    lengths = 2.0 ** torch.randint(-3, 4, (40, 1), generator=generator)
    plain, scaled = (kmeans_agreement(points, labels, seeds=(0,)) for points in (x, lengths * x))
    np.testing.assert_allclose(plain.nmi, scaled.nmi)


def test_unrelated_features_score_near_nothing(noise: tuple[Features, Features]) -> None:
    test = noise[1]
    result = kmeans_agreement(test.x, test.labels)
    assert abs(result.ari.mean()) < 0.05
    assert result.accuracy.mean() < 0.4


def test_collapse_is_said_without_a_warning() -> None:
    result = kmeans_agreement(torch.ones(20, 3), torch.arange(20) % 4)
    assert "only 1 of 4 clusters" in result.message
    assert result.nmi.tolist() == [0.0] * 5


def test_bad_input_is_named() -> None:
    with pytest.raises(DataError, match="3 rows of features but 2 labels"):
        kmeans_agreement(torch.eye(3), torch.arange(2))
    with pytest.raises(ConfigError, match="at least one cluster and one seed"):
        kmeans_agreement(torch.eye(3), torch.arange(3), seeds=())
