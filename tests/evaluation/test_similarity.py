"""Rank correlation of similarities with scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from twofold.errors import DataError
from twofold.evaluation.similarity import pair_cosines, readable_pairs, spearman


def test_it_is_scipys_with_ties():
    draw = np.random.default_rng(0)
    scores = torch.from_numpy(draw.integers(0, 6, 200).astype(float))
    similarity = scores + torch.from_numpy(draw.normal(size=200)).round(decimals=1)
    found = spearman(similarity, scores)
    assert found.mean == pytest.approx(spearmanr(similarity, scores).statistic, abs=1e-12)
    assert found.low < found.mean < found.high
    assert 0.02 < found.high - found.low < 0.3


def test_only_the_order_counts():
    x = torch.tensor([0.1, 0.4, 0.2, 0.9])
    assert spearman(x.exp(), x).mean == pytest.approx(1.0)
    assert spearman(-x, x).mean == pytest.approx(-1.0)
    assert spearman(torch.ones(4), x).mean == 0.0


def test_cosines_of_pairs():
    first, second = torch.randn(5, 3), torch.randn(5, 3)
    expected = torch.nn.functional.cosine_similarity(first, second)
    torch.testing.assert_close(pair_cosines(first, 7 * second), expected)
    first[2] = torch.nan
    assert readable_pairs(first, second).tolist() == [0, 1, 3, 4]
    with pytest.raises(DataError, match="two matrices of one shape"):
        pair_cosines(first, second[:, :2])


@pytest.mark.parametrize(
    ("similarity", "scores", "message"),
    [
        (torch.zeros(3), torch.zeros(4), "one score a pair"),
        (torch.zeros(2), torch.zeros(2), "at least 3 pairs"),
        (torch.tensor([0.0, torch.nan, 1.0]), torch.arange(3.0), r"1 row \(1\) is NaN"),
        (torch.arange(3.0), torch.ones(3), "no order to agree with"),
    ],
)
def test_what_cannot_be_correlated(similarity, scores, message):
    with pytest.raises(DataError, match=message):
        spearman(similarity, scores)
