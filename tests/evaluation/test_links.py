"""Prediction of links: ranks of pairs, cosines of ends, common neighbours."""

import math

import pytest
import torch

from twofold.errors import DataError
from twofold.evaluation.links import common_neighbours, cosine_scores, link_scores


def test_auc_counts_pairs_in_the_right_order():
    draw = torch.Generator().manual_seed(0)
    scores, edges = torch.rand(60, generator=draw), torch.rand(60, generator=draw) < 0.4
    found = link_scores(scores, edges)
    right = (scores[edges][:, None] > scores[~edges]).double().mean()
    assert found.auc == pytest.approx(float(right))
    order = edges[scores.argsort(descending=True)]
    precision = order.cumsum(0) / torch.arange(1, 61)
    assert found.ap == pytest.approx(float(precision[order].mean()))
    assert found.pairs == 60
    assert link_scores(edges.float(), edges) == type(found)(1.0, 1.0, 60)
    assert link_scores(-scores, edges).auc == pytest.approx(1 - found.auc)


def test_cosines_of_the_ends():
    rows = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, -2.0], [0.0, 0.0]])
    pairs = torch.tensor([[0, 0, 1], [1, 2, 3]])
    assert cosine_scores(rows, pairs).tolist() == [1.0, 0.0, 0.0]
    assert len(cosine_scores(rows, pairs[:, :0])) == 0


def test_rare_common_neighbours_count_more():
    # 0 and 1 share 2 (three neighbours) and 3 (two); 0 and 4 share 2 alone; 5 is alone.
    edges = torch.tensor([[0, 1, 4, 0, 1], [2, 2, 2, 3, 3]])
    edges = torch.cat([edges, edges.flip(0)], 1)
    scores = common_neighbours(edges, 6, torch.tensor([[0, 0, 0], [1, 4, 5]]))
    assert scores.tolist() == pytest.approx([1 / math.log(3) + 1 / math.log(2), 1 / math.log(3), 0.0])


@pytest.mark.parametrize(
    ("scores", "edges", "message"),
    [
        (torch.rand(3), torch.tensor([True, False]), "one a pair"),
        (torch.tensor([1.0, math.nan]), torch.tensor([True, False]), "NaN"),
        (torch.rand(2), torch.tensor([True, True]), "both edges and pairs without"),
        (torch.rand(2), torch.tensor([False, False]), "both edges and pairs without"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores, edges, message):
    with pytest.raises(DataError, match=message):
        link_scores(scores, edges)
