"""Views with other features: columns or nodes masked, rows exchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.modalities.graph.batches import Batch, GraphBatch
from twofold.modalities.graph.views.base import Corruption, check_share, rate, uniform
from twofold.modalities.graph.views.importance import Centrality, column_drop_probabilities


@dataclass(frozen=True)
class MaskColumns(Corruption):
    """Mask features: the same ones for all nodes of a graph, drawn for each graph.

    Args:
        share: Expected share of the features.
        fill: What a masked feature becomes, one number a feature; None: 0.
    """

    share: float
    fill: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_share("share", self.share)

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        graphs = len(batch) if isinstance(batch, GraphBatch) else 1
        masked = uniform((graphs, batch.graph.features.shape[1]), generator, batch.device) < self.share
        if active is not None:
            masked &= active[:, None]
        if graphs == 1 and self.fill is None:
            return batch.with_features(batch.graph.features.hiding(masked[0]))
        if graphs > 1:
            masked = masked[batch.membership]
        return batch.with_features(filled(batch.x, masked, self.fill))


@dataclass(frozen=True)
class MaskColumnsByImportance(Corruption):
    """Mask features of peripheral nodes rather than those of central ones (Zhu et al., WWW 2021, eqs. 4 and 5).

    The importance is that in the whole batch.

    Args:
        share: Mean probability, before it is cut at ``cut``.
        centrality: What makes a node important.
        cut: The largest probability; 0.7 in the paper.
        fill: As in :class:`MaskColumns`.
    """

    share: float
    centrality: Centrality = "degree"
    cut: float = 0.7
    fill: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        check_share("share", self.share)

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        chance = column_drop_probabilities(batch, self.centrality, share=self.share, cut=self.cut)
        masked = uniform((batch.graph.features.shape[1],), generator, batch.device) < chance
        if active is None and self.fill is None:
            return batch.with_features(batch.graph.features.hiding(masked))
        masked = masked[None] if active is None else masked & active[batch.membership, None]
        return batch.with_features(filled(batch.x, masked, self.fill))


@dataclass(frozen=True)
class MaskNodes(Corruption):
    """Replace all features of some nodes by noise around one half (You et al., NeurIPS 2020, the authors' code).

    Args:
        share: Expected share of the nodes.
        mean: Of the noise.
        deviation: Of the noise.
    """

    share: float
    mean: float = 0.5
    deviation: float = 0.5

    def __post_init__(self) -> None:
        check_share("share", self.share)

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        x = batch.x
        masked = uniform((len(x),), generator, x.device) < rate(self.share, batch, active)
        noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
        return batch.with_features(torch.where(masked[:, None], self.mean + self.deviation * noise, x))


@dataclass(frozen=True)
class ShuffleFeatures(Corruption):
    """Exchange the features of nodes within each graph; edges stay (Veličković et al., ICLR 2019, section 4.2)."""

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        draw = uniform((batch.graph.nodes,), generator, batch.device).double()
        order = (batch.membership + draw).argsort()
        if active is not None:
            order = torch.where(active[batch.membership], order, torch.arange(len(order), device=order.device))
        return batch.with_features(batch.graph.features.reordered(order))


def filled(x: Tensor, masked: Tensor, fill: tuple[float, ...] | None) -> Tensor:
    """``x`` with masked places, bool and broadcast, at ``fill``."""
    if fill is None:
        return x.masked_fill(masked, 0.0)
    return torch.where(masked, torch.tensor(fill, dtype=x.dtype, device=x.device), x)
