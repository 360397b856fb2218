"""Rankings with judgements, beside the same by scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score

from twofold.errors import ConfigError, DataError
from twofold.evaluation.judged import rank_by_cosine, rank_by_scores


def ranked(scores, relevance, **depths):
    return rank_by_scores(iter([scores]), relevance, scores.shape[1], **depths)


def test_it_is_scikit_learns_ndcg():
    draw = np.random.default_rng(0)
    scores = torch.from_numpy(draw.normal(size=(6, 40)))
    grades = draw.integers(0, 4, (6, 40)) * (draw.random((6, 40)) < 0.2)
    relevance = [{i: float(g) for i, g in enumerate(row) if g} for row in grades]
    found = ranked(scores, relevance, ndcg_at=(5, 10))
    for k in (5, 10):
        expected = [ndcg_score(grades[i : i + 1], scores[i : i + 1].numpy(), k=k) for i in range(6)]
        np.testing.assert_allclose(found.ndcg[k].numpy(), expected, rtol=1e-12)
    assert 0 < float(found.ndcg[10].mean()) < 1


def test_recall_and_reciprocal_rank_by_hand():
    scores = torch.tensor([[0.9, 0.1, 0.8, 0.3, 0.2]])
    found = ranked(scores, [{2: 1.0, 4: 1.0}], recall_at=(1, 2, 4, 9))
    assert {k: float(value) for k, value in found.recall.items()} == {1: 0.0, 2: 0.5, 4: 1.0, 9: 1.0}
    assert float(found.reciprocal_rank) == 0.5


def test_a_tie_counts_against_the_encoder():
    found = ranked(torch.zeros(1, 4), [{0: 1.0, 1: 1.0}], recall_at=(2, 3, 4))
    assert [float(found.recall[k]) for k in (2, 3, 4)] == [0.0, 0.5, 1.0]
    assert float(found.reciprocal_rank) == pytest.approx(1 / 3)


def test_cosines_rank_and_pieces_do_not_matter():
    queries, documents = torch.randn(7, 4), torch.randn(30, 4)
    relevance = [{i: 1.0, i + 9: 2.0} for i in range(7)]
    first, second = (rank_by_cosine(queries * c, documents, relevance, chunk=c) for c in (2, 100))
    assert torch.equal(first.ndcg[10], second.ndcg[10])
    units = [torch.nn.functional.normalize(x, dim=1) for x in (queries, documents)]
    assert torch.equal(ranked(units[0] @ units[1].T, relevance).reciprocal_rank, first.reciprocal_rank)


def test_documents_that_could_not_be_read_come_last():
    documents = torch.eye(3)
    documents[0] = torch.nan
    found = rank_by_cosine(torch.tensor([[1.0, 0.5, 0.1]]), documents, [{0: 1.0}])
    assert float(found.reciprocal_rank) == pytest.approx(1 / 3)


def test_the_best_ranking_scores_one():
    found = ranked(torch.tensor([[3.0, 2.0, 1.0, 0.0]]), [{0: 3.0, 1: 1.0}], ndcg_at=(1, 2, 10))
    assert [float(value) for value in found.ndcg.values()] == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ranked(torch.zeros(1, 3), [{}]), DataError, "query 0: grades above 0"),
        (lambda: ranked(torch.zeros(1, 3), [{3: 1.0}]), DataError, r"documents 0\.\.2"),
        (lambda: ranked(torch.zeros(1, 3), [{0: 0.0}]), DataError, "grades above 0"),
        (lambda: ranked(torch.zeros(2, 3), [{0: 1.0}]), DataError, "more than 1 queries"),
        (lambda: ranked(torch.zeros(1, 3), [{0: 1.0}] * 2), DataError, "scores of 1 queries"),
        (lambda: ranked(torch.zeros(1, 3), [{0: 1.0}], recall_at=(0,)), ConfigError, "at least 1"),
        (lambda: rank_by_cosine(torch.zeros(1, 3), torch.zeros(4, 2), [{0: 1.0}]), DataError, "do not fit"),
        (lambda: rank_by_cosine(torch.full((1, 2), torch.nan), torch.ones(4, 2), [{0: 1.0}]), DataError, "NaN"),
        (lambda: rank_by_cosine(torch.ones(2, 2), torch.ones(4, 2), [{0: 1.0}]), DataError, "1 judged queries for 2"),
    ],
)
def test_what_cannot_be_ranked(call, error, message):
    with pytest.raises(error, match=message):
        call()
