"""Views that leave edges out: all alike, or unimportant ones rather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.modalities.graph.batches import Batch
from twofold.modalities.graph.views.base import Corruption, check_share, rate, uniform
from twofold.modalities.graph.views.importance import Centrality, edge_drop_probabilities


@dataclass(frozen=True)
class DropEdges(Corruption):
    """Leave each directed edge out by itself, so that an undirected graph does not stay one (as the papers' code does).

    Args:
        share: Expected share of the edges.
    """

    share: float

    def __post_init__(self) -> None:
        check_share("share", self.share)

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        chance = rate(self.share, batch, active)
        chance = chance if chance.ndim == 0 else chance[batch.edge_index[0]]
        return batch.with_edges(uniform((batch.graph.edges,), generator, batch.device) >= chance)


@dataclass(frozen=True)
class DropEdgesByImportance(Corruption):
    """Leave edges to peripheral nodes out rather than those to central ones (Zhu et al., WWW 2021, eqs. 2 and 3).

    Args:
        share: Mean probability, before it is cut at ``cut``.
        centrality: What makes a node important.
        cut: The largest probability; 0.7 in the paper.
    """

    share: float
    centrality: Centrality = "degree"
    cut: float = 0.7

    def __post_init__(self) -> None:
        check_share("share", self.share)

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        chance = edge_drop_probabilities(batch, self.centrality, share=self.share, cut=self.cut)
        if active is not None:
            chance = chance * active[batch.membership[batch.edge_index[0]]]
        return batch.with_edges(uniform((batch.graph.edges,), generator, batch.device) >= chance)
