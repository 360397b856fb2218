"""How important nodes, edges and features are, and with what probability each is left out for it (Zhu et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from twofold.modalities.graph.batches import Batch, Graph
from twofold.modalities.graph.tidying import in_degrees

Centrality = Literal["degree", "pagerank", "eigenvector"]

_DAMPING, _ITERATIONS, _TOLERANCE = 0.85, 200, 1e-7


def centrality(graph: Graph, kind: Centrality) -> Tensor:
    """The centrality φ of each node, positive float32 ``(N,)``; computed once a graph."""
    return graph.remember(("centrality", kind), _CENTRALITIES[kind], of="edges")


def edge_drop_probabilities(batch: Batch, kind: Centrality, *, share: float, cut: float) -> Tensor:
    """The probability to leave each edge out, ``(e,)``.

    The score of an edge is s = log φ of the node where it ends (eq. 2 for directed graphs); see :func:`probabilities`.
    """

    def scores(graph: Graph) -> Tensor:
        return centrality(graph, kind)[graph.edge_index[1]].log()

    return probabilities(batch.graph.remember(("edge scores", kind), scores, of="edges"), share=share, cut=cut)


def column_drop_probabilities(batch: Batch, kind: Centrality, *, share: float, cut: float) -> Tensor:
    """The probability to mask each feature, ``(f,)``.

    The score of a feature is log Σ_i |x_ik| φ_i (eqs. 4 and 5). A feature that no node has would score log 0; it gets
    the largest score, and so is never masked, which changes nothing.
    """

    def scores(graph: Graph) -> Tensor:
        weight = centrality(graph, kind) @ graph.x.abs()
        used = weight > 0
        if not used.any():
            return torch.zeros_like(weight)
        logs = weight.clamp(min=1e-30).log()
        return torch.where(used, logs, logs[used].max())

    return probabilities(batch.graph.remember(("column scores", kind), scores), share=share, cut=cut)


def probabilities(scores: Tensor, *, share: float, cut: float) -> Tensor:
    """p_i = min( (s_max − s_i) / (s_max − mean s) · share, cut ): the highest score is kept, the mean is ``share``.

    Where all scores are equal nothing is more important than anything else, and every p_i is ``share``.
    """
    if not len(scores):
        return scores
    spread = scores.max() - scores.mean()
    even = torch.full_like(scores, share)
    chance = torch.where(spread > 1e-6, (scores.max() - scores) / spread.clamp(min=1e-6) * share, even)
    return chance.clamp(max=cut)


def _degree(graph: Graph) -> Tensor:
    return in_degrees(graph).clamp(min=1).float()


def _pagerank(graph: Graph) -> Tensor:
    source, target = graph.edge_index
    out = source.bincount(minlength=graph.nodes)
    share = 1 / out.clamp(min=1).float()
    rank = torch.full((graph.nodes,), 1 / graph.nodes, device=graph.device)
    for _ in range(_ITERATIONS):
        stuck = rank[out == 0].sum() / graph.nodes  # what stands on nodes without an edge goes anywhere
        moved = torch.zeros_like(rank).index_add_(0, target, (rank * share)[source])
        following = _DAMPING * (moved + stuck) + (1 - _DAMPING) / graph.nodes
        if (following - rank).abs().sum() < _TOLERANCE:
            return following
        rank = following
    return rank


def _eigenvector(graph: Graph) -> Tensor:
    source, target = graph.edge_index
    vector = torch.full((graph.nodes,), graph.nodes**-0.5, device=graph.device)
    for _ in range(_ITERATIONS):
        # A + I has the eigenvectors of A, and does not oscillate on bipartite graphs.
        following = vector + torch.zeros_like(vector).index_add_(0, target, vector[source])
        following = following / torch.linalg.vector_norm(following)
        if (following - vector).abs().max() < _TOLERANCE:
            break
        vector = following
    return vector.clamp(min=1e-8)


_CENTRALITIES: dict[Centrality, Callable[[Graph], Tensor]] = {
    "degree": _degree,
    "pagerank": _pagerank,
    "eigenvector": _eigenvector,
}
