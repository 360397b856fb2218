from __future__ import annotations

import numpy as np
import pytest
import torch

from twofold.evaluation import Features, evaluate_features
from twofold.evaluation.chance import chance_levels


def _features(labels: list[int], keys: list[str] | None = None) -> Features:
    return Features(torch.ones(len(labels), 2), torch.tensor(labels), keys)


def test_levels_by_hand() -> None:
    bank, test = _features([0, 1, 1, 1, 2, 2, -1]), _features([0, 0, 1, 2, 2, -1])
    levels = chance_levels(bank, test, generator=np.random.default_rng(0))
    assert levels["knn"] == levels["linear"] == pytest.approx(1 / 5)
    assert levels["few_shot"] == pytest.approx(1 / 3)
    # ranked against 4 others: classes 0 and 2 have 1 relevant, class 1 none and does not count
    assert levels["recall_at_1"] == pytest.approx(1 / 4)
    assert levels["recall_at_5"] == 1.0
    assert levels["map"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert 0 < levels["nmi"] < 1
    assert 1 / 3 <= levels["cluster_accuracy"] <= 1


def test_test_classes_that_the_bank_lacks_lower_the_few_shot_level() -> None:
    levels = chance_levels(_features([0, 0, 1, 1]), _features([0, 1, 2, 2]), generator=np.random.default_rng(0))
    assert levels["few_shot"] == pytest.approx(0.5 * 0.5)


def test_keys_need_no_labels() -> None:
    test = Features(torch.ones(4, 2), keys=["a", "b", "a", "b"])
    levels = chance_levels(Features(torch.ones(1, 2)), test, generator=np.random.default_rng(0))
    assert set(levels) == {"recall_at_1", "recall_at_5", "map"}
    assert levels["recall_at_1"] == pytest.approx(1 / 3)


def test_gallery_size_sets_the_level() -> None:
    test, gallery = _features([0, 1], ["a", "b"]), _features([0] * 4, ["a", "b", "c", "d"])
    levels = chance_levels(_features([0, 1]), test, gallery=gallery, generator=np.random.default_rng(0))
    assert levels["recall_at_1"] == pytest.approx(1 / 4)


def test_nothing_known_gives_no_levels() -> None:
    nothing = Features(torch.ones(3, 2))
    assert chance_levels(nothing, nothing, generator=np.random.default_rng(0)) == {}


def test_random_features_score_at_chance(noise: tuple[Features, Features]) -> None:
    bank, test = noise
    levels = chance_levels(bank, test, generator=np.random.default_rng(0))
    measured = evaluate_features(bank, test)
    for key in ("knn", "linear", "few_shot", "nmi", "ari", "recall_at_1", "map"):
        assert measured[key].value == pytest.approx(levels[key], abs=0.06), key
