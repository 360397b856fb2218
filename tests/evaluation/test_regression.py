"""Regression on frozen features: against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from twofold.errors import ConfigError, DataError
from twofold.evaluation.regression import METRICS, errors, knn_regression, measure_regression, ridge_probe


def problem(count=200, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 5, generator=draw)
    y = 3 * x[:, 0] - 2 * x[:, 1] + 10 + 0.1 * torch.randn(count, generator=draw)
    return x, y


def test_errors_are_those_of_scikit_learn():
    predictions, targets = problem()[1], problem(seed=1)[1]
    found = errors(predictions, targets, prefix="a_")
    assert set(found) == {"a_r2", "a_mae"}
    assert found["a_r2"].value == pytest.approx(r2_score(targets, predictions))
    assert found["a_mae"].value == pytest.approx(mean_absolute_error(targets, predictions))
    for measured in found.values():
        assert measured.low < measured.value < measured.high
        assert len(measured.per_item) == measured.n == 200


def test_the_mean_scores_nothing_and_the_truth_all():
    targets = problem()[1]
    assert errors(targets.mean().expand(200), targets)["r2"].value == pytest.approx(0)
    perfect = errors(targets, targets)
    assert (perfect["r2"].value, perfect["mae"].value) == (1, 0)


def test_a_linear_target_is_found_by_the_ridge_probe():
    (x, y), (queries, truth) = problem(), problem(seed=1)
    assert errors(ridge_probe(x, y, queries), truth)["r2"].value > 0.99
    scaled = x * torch.tensor([1.0, 100.0, 1.0, 0.01, 1.0])
    again = ridge_probe(scaled, y, queries * torch.tensor([1.0, 100.0, 1.0, 0.01, 1.0]))
    torch.testing.assert_close(again, ridge_probe(x, y, queries), rtol=1e-4, atol=1e-4)


def test_neighbours_by_hand():
    bank = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    targets = torch.tensor([1.0, 2.0, 4.0])
    query = torch.tensor([[1.0, 1.0]])
    weights = np.exp(np.array([np.sqrt(0.5), np.sqrt(0.5)]) / 0.1)
    expected = float((weights * [1, 2]).sum() / weights.sum())
    assert float(knn_regression(bank, targets, query, k=2)) == pytest.approx(expected)
    assert float(knn_regression(bank, targets, bank[2:], k=1)) == 4
    assert knn_regression(bank, targets, query, k=99).shape == (1,)


def test_items_without_target_or_features_do_not_count():
    (x, y), (queries, truth) = problem(), problem(seed=1)
    expected = measure_regression(x[2:], y[2:], queries[1:], truth[1:])
    x, y, truth = x.clone(), y.clone(), truth.clone()
    x[0, 3], y[1], truth[0] = torch.nan, torch.nan, torch.nan
    found = measure_regression(x, y, queries, truth)
    assert found.keys() == METRICS.keys()
    assert {key: value.value for key, value in found.items()} == {key: value.value for key, value in expected.items()}


def test_what_cannot_be_measured_is_refused():
    x, y = problem(10)
    with pytest.raises(DataError, match="all targets of the test part are equal"):
        errors(y, torch.ones(10))
    with pytest.raises(DataError, match="training part: 1 items have features and a target"):
        measure_regression(x, torch.where(torch.arange(10) == 0, y, torch.nan), x, y)
    with pytest.raises(DataError, match="test part: 9 targets for 10 rows"):
        measure_regression(x, y, x, y[:9])
    with pytest.raises(DataError, match=r"got \(10, 5\), \(10,\) and \(10, 4\)"):
        ridge_probe(x, y, x[:, :4])
    with pytest.raises(DataError, match="training features hold NaN"):
        knn_regression(x * torch.nan, y, x)
    with pytest.raises(ConfigError, match=r"must be positive, got 0 and 0\.1"):
        knn_regression(x, y, x, k=0)
