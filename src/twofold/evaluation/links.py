"""Prediction of links: how well scores of pairs tell edges from pairs without one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.evaluation.features import to_numpy, unit_rows

_PIECE = 1 << 16


@dataclass(frozen=True)
class LinkScores:
    """How well pairs are told apart.

    Attributes:
        auc: Area under the ROC curve: the chance that an edge scores higher than a pair without one.
        ap: Average precision of the edges.
        pairs: How many pairs were scored.
    """

    auc: float
    ap: float
    pairs: int


def link_scores(scores: Tensor, edges: Tensor) -> LinkScores:
    """ROC AUC and average precision (scikit-learn).

    Args:
        scores: One a pair, float (m,); higher means an edge.
        edges: Which pairs are edges, bool (m,).

    Raises:
        DataError: If lengths differ, a score is not finite, or all pairs are of one kind.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    if scores.shape != edges.shape or scores.ndim != 1:
        raise DataError(f"links: {tuple(scores.shape)} scores for {tuple(edges.shape)} pairs; give one a pair")
    if not scores.isfinite().all():
        raise DataError("links: some scores are NaN or infinite, so pairs cannot be ranked")
    if bool(edges.all()) or not bool(edges.any()):
        raise DataError("links: both edges and pairs without an edge are needed")
    truth, values = to_numpy(edges), to_numpy(scores)
    return LinkScores(float(roc_auc_score(truth, values)), float(average_precision_score(truth, values)), len(scores))


def cosine_scores(rows: Tensor, pairs: Tensor) -> Tensor:
    """The cosine of the two ends of each pair, (m,).

    Args:
        rows: Vectors of nodes (N, d); a row of zeros has cosine 0 with everything.
        pairs: Nodes, int64 (2, m).
    """
    unit = unit_rows(rows)
    parts = [(unit[part[0]] * unit[part[1]]).sum(1) for part in pairs.split(_PIECE, dim=1)]
    return torch.cat(parts) if parts else rows.new_empty(0)


def common_neighbours(edge_index: Tensor, nodes: int, pairs: Tensor) -> Tensor:
    """Adamic and Adar's index Σ_w 1 / log deg(w) over common neighbours w of each pair, (m,): needs no features.

    Args:
        edge_index: Both directions of each edge, int64 (2, e), each once.
        nodes: How many there are.
        pairs: Nodes, int64 (2, m).
    """
    import numpy as np
    from scipy.sparse import csr_matrix, diags

    source, target = edge_index.cpu().numpy()
    adjacency = csr_matrix((np.ones(len(source)), (source, target)), shape=(nodes, nodes))
    degree = np.asarray(adjacency.sum(1)).ravel()
    # A common neighbour of two nodes has at least two neighbours; log 1 = 0 never counts.
    weighted = adjacency @ diags(1 / np.log(np.maximum(degree, 2)))
    scores = [
        np.asarray(weighted[first].multiply(adjacency[second]).sum(1)).ravel()
        for first, second in (part.cpu().numpy() for part in pairs.split(_PIECE, dim=1))
    ]
    return torch.from_numpy(np.concatenate(scores)) if scores else torch.empty(0)
