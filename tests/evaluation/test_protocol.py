from __future__ import annotations

import math

import pytest
import torch

from twofold.errors import ConfigError, DataError
from twofold.evaluation import (
    METRIC_GROUPS,
    METRICS,
    PROTOCOL,
    Features,
    Measurement,
    evaluate_features,
    few_shot_probe,
    mean_interval,
)

_BY_ITEM = {"knn", "linear", "few_shot", "recall_at_1", "recall_at_5", "map"}
_LABEL_METRICS = _BY_ITEM | {"nmi", "ari", "cluster_accuracy", "tolerance"}


def test_separable_features_are_perfect_in_everything(separable: tuple[Features, Features]) -> None:
    measured = evaluate_features(*separable)
    assert set(measured) == set(METRICS) - {"alignment"}
    for key in _LABEL_METRICS - {"tolerance"}:
        assert measured[key].value == pytest.approx(1.0), key
        assert measured[key].low == pytest.approx(1.0)
    assert measured["tolerance"].value > 0.9
    assert list(measured) == [key for key in METRICS if key in measured]


def test_every_number_has_unit_count_and_interval(noise: tuple[Features, Features]) -> None:
    for key, measurement in evaluate_features(*noise).items():
        assert measurement.unit
        assert measurement.n == 400
        if key in _LABEL_METRICS - {"tolerance"}:
            assert measurement.low is not None
            assert measurement.high is not None
            assert measurement.low <= measurement.value <= measurement.high
            assert measurement.low < measurement.high
        assert (measurement.per_item is not None) == (key in _BY_ITEM)


def test_values_are_means_of_the_scores_of_the_items(noise: tuple[Features, Features]) -> None:
    measured = evaluate_features(*noise)
    for key in _BY_ITEM:
        per_item = measured[key].per_item
        assert per_item is not None
        assert per_item.shape == (400,)
        assert float(per_item.mean()) == pytest.approx(measured[key].value)


def test_same_seed_same_numbers_and_order_of_test_items_does_not_matter(noise: tuple[Features, Features]) -> None:
    bank, test = noise
    groups = ("knn", "linear", "few_shot", "retrieval", "geometry")
    first, second = evaluate_features(bank, test, metrics=groups), evaluate_features(bank, test, metrics=groups)
    assert first == second
    shuffled = evaluate_features(
        bank, test.take(torch.randperm(400, generator=torch.Generator().manual_seed(0))), metrics=groups
    )
    for key in first:
        assert shuffled[key].value == pytest.approx(first[key].value, abs=1e-5), key


def test_unlabelled_items_count_only_in_the_geometry(separable: tuple[Features, Features]) -> None:
    bank, test = separable
    labels = test.labels.clone() if test.labels is not None else None
    assert labels is not None
    labels[::2] = -1
    measured = evaluate_features(bank, Features(test.x, labels))
    assert measured["knn"].n == measured["nmi"].n == measured["recall_at_1"].n == 20
    assert measured["uniformity"].n == 40
    per_item = measured["knn"].per_item
    assert per_item is not None
    assert per_item.isnan().tolist() == [True, False] * 20


def test_unlabelled_bank_items_teach_nothing(separable: tuple[Features, Features]) -> None:
    bank, test = separable
    assert bank.labels is not None
    labels = bank.labels.clone()
    labels[:50] = -1
    part = evaluate_features(Features(bank.x, labels), test)
    assert part == evaluate_features(bank.take(torch.arange(50, 80)), test)


def test_few_shot_interval_is_over_episodes(noise: tuple[Features, Features]) -> None:
    (bank, test), measured = noise, evaluate_features(*noise, metrics=("few_shot",), seed=3)["few_shot"]
    episodes = few_shot_probe(bank.x, bank.labels, test.x, test.labels, shots=5, episodes=10, seed=3)
    assert (measured.value, measured.low, measured.high) == pytest.approx(mean_interval(episodes.accuracy.numpy()))


@pytest.mark.parametrize("labels", [None, torch.full((40,), -1)])
def test_without_labels_only_geometry(separable: tuple[Features, Features], labels: torch.Tensor | None) -> None:
    measured = evaluate_features(separable[0], Features(separable[1].x, labels))
    assert set(measured) == {"uniformity", "effective_rank", "dimension_std"}


def test_rows_that_are_not_finite_are_left_out_of_everything(separable: tuple[Features, Features]) -> None:
    bank, test = separable
    broken_bank, broken_test = bank.x.clone(), test.x.clone()
    broken_bank[5], broken_test[[0, 7], 1] = torch.nan, torch.inf
    measured = evaluate_features(Features(broken_bank, bank.labels), Features(broken_test, test.labels))
    rest = torch.tensor([i for i in range(40) if i not in (0, 7)])
    clean_bank = bank.take(torch.tensor([i for i in range(80) if i != 5]))
    assert measured == evaluate_features(clean_bank, test.take(rest))
    per_item = measured["linear"].per_item
    assert per_item is not None
    assert per_item.isnan().nonzero().flatten().tolist() == [0, 7]


def test_nothing_finite_gives_nothing_and_no_crash(separable: tuple[Features, Features]) -> None:
    bank, test = separable
    assert evaluate_features(bank, Features(torch.full_like(test.x, torch.nan), test.labels)) == {}


def test_collapsed_features_give_chance_and_no_crash(separable: tuple[Features, Features]) -> None:
    bank, test = (Features(torch.ones_like(side.x), side.labels) for side in separable)
    measured = evaluate_features(bank, test)
    assert measured["knn"].value == measured["linear"].value == pytest.approx(0.25)
    assert measured["recall_at_1"].value == 0
    assert measured["effective_rank"].value == pytest.approx(0, abs=1e-6)
    assert measured["tolerance"].value == pytest.approx(1.0)
    assert "only 1 of 4 clusters" in measured["nmi"].note


def test_one_class_leaves_out_what_compares_classes(separable: tuple[Features, Features]) -> None:
    bank, test = (Features(side.x, torch.zeros(len(side), dtype=torch.int64)) for side in separable)
    assert set(evaluate_features(bank, test)) == {"uniformity", "effective_rank", "dimension_std", "tolerance"}


def test_small_bank_is_noted(separable: tuple[Features, Features]) -> None:
    bank, test = separable
    measured = evaluate_features(bank.take(torch.arange(8)), test)
    assert "all 8 items vote" in measured["knn"].note
    assert "4 classes have fewer than 5" in measured["few_shot"].note


def test_keys_decide_over_labels_and_bring_alignment() -> None:
    a = torch.eye(6)
    test = Features(torch.cat([a, a + 0.01]), torch.arange(12) % 2, [*"abcdef", *"abcdef"])
    measured = evaluate_features(test, test, metrics=("retrieval", "geometry"))
    assert measured["recall_at_1"].value == 1.0
    assert measured["map"].value == 1.0
    assert measured["alignment"].value == pytest.approx(0.0, abs=1e-3)


def test_cross_gallery_retrieval_by_key() -> None:
    one_vendor = Features(torch.eye(4), keys=["smile", "cat", "sun", "only here"])
    other = Features(torch.eye(4)[[1, 0, 3]], keys=["smile", "cat", "unseen"])
    measured = evaluate_features(one_vendor, one_vendor, metrics=("retrieval",), gallery=other)
    assert measured["recall_at_1"].value == 0.0
    assert measured["recall_at_5"].value == 1.0
    assert measured["recall_at_1"].n == 2
    assert "2 queries with nothing relevant" in measured["map"].note
    per_item = measured["map"].per_item
    assert per_item is not None
    assert [math.isnan(score) for score in per_item.tolist()] == [False, False, True, True]


def test_cross_gallery_retrieval_by_label_when_one_side_has_no_keys() -> None:
    test = Features(torch.eye(3), torch.tensor([0, 1, -1]), keys=list("abc"))
    gallery = Features(torch.eye(3), torch.tensor([0, 1, 0]))
    measured = evaluate_features(test, test, metrics=("retrieval", "geometry"), gallery=gallery)
    assert measured["recall_at_1"].value == 1.0
    assert measured["recall_at_1"].n == 2
    assert "alignment" not in measured


def test_only_what_is_asked_for(separable: tuple[Features, Features]) -> None:
    assert list(evaluate_features(*separable, metrics=("knn",))) == ["knn"]
    assert set(PROTOCOL) == set(METRIC_GROUPS)


def test_bad_input_is_named(separable: tuple[Features, Features]) -> None:
    bank, test = separable
    with pytest.raises(ConfigError, match="unknown metric group knnn; there are knn, linear"):
        evaluate_features(bank, test, metrics=("knnn",))
    with pytest.raises(DataError, match=r"widths are \[3, 8\]"):
        evaluate_features(bank, Features(test.x[:, :3], test.labels))


def test_measurement_compares_by_its_numbers() -> None:
    assert Measurement(1.0, per_item=torch.ones(2)) == Measurement(1.0)
    assert Measurement(1.0) != Measurement(2.0)
