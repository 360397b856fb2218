"""Views that leave nodes out: any, or all but a connected part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.modalities.graph.batches import Batch, GraphBatch
from twofold.modalities.graph.views.base import Corruption, check_share, rate, uniform


@dataclass(frozen=True)
class DropNodes(Corruption):
    """Leave nodes out, with their edges; at least one node of each graph stays.

    Args:
        share: Expected share of the nodes.
    """

    share: float

    def __post_init__(self) -> None:
        check_share("share", self.share)

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        draw = uniform((batch.graph.nodes,), generator, batch.device)
        return without(batch, (draw >= rate(self.share, batch, active)) | _largest(draw, batch))


@dataclass(frozen=True)
class Subgraph(Corruption):
    """Keep a connected part of each graph, grown from a random node by random neighbours.

    The growth ends when the share is reached, or all that is connected with the first node is in.

    Args:
        share: Share of the nodes to keep, rounded up.
    """

    share: float

    def __post_init__(self) -> None:
        check_share("share", self.share)

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        inside = _grown(batch, self.share, generator)
        return without(batch, inside if active is None else inside | ~active[batch.membership])


def without(batch: Batch, keep: Tensor) -> Any:
    """A batch with some nodes only, bool ``(N,)``.

    Graphs lose the others. Nodes that are samples must stay, so in one graph the others lose features and edges.
    """
    if isinstance(batch, GraphBatch):
        return batch.with_nodes(keep)
    source, target = batch.edge_index
    alone = batch.with_edges(keep[source] & keep[target])
    return alone.with_features(batch.x * keep[:, None])


def _graphs(batch: Batch) -> int:
    return len(batch) if isinstance(batch, GraphBatch) else 1


def _largest(draw: Tensor, batch: Batch) -> Tensor:
    """The node of each graph with the largest number, bool ``(N,)``."""
    top = draw.new_full((_graphs(batch),), -1.0).scatter_reduce(0, batch.membership, draw, "amax")
    return draw == top[batch.membership]


def _grown(batch: Batch, share: float, generator: torch.Generator) -> Tensor:
    """Connected parts of about ``share`` of each graph's nodes, bool ``(N,)``."""
    member, graphs = batch.membership, _graphs(batch)
    source, target = batch.edge_index
    sizes = member.bincount(minlength=graphs)
    quota = (sizes * share).ceil().long().clamp(min=1)
    inside = _largest(uniform((batch.graph.nodes,), generator, batch.device), batch)
    while True:
        room = quota - member[inside].bincount(minlength=graphs)
        reached = torch.zeros_like(inside)
        reached[target[inside[source]]] = True
        frontier = (reached & ~inside & (room > 0)[member]).nonzero().flatten()
        if not len(frontier):
            return inside
        draw = uniform((len(frontier),), generator, batch.device).double()
        frontier = frontier[(member[frontier] + draw).argsort()]  # in the order of graphs, at random within each
        counts = member[frontier].bincount(minlength=graphs)
        place = torch.arange(len(frontier), device=frontier.device) - (counts.cumsum(0) - counts)[member[frontier]]
        most = torch.minimum(room, (counts + 1) // 2)  # half of the neighbours at a time, so that its shape varies
        inside = inside.clone()
        inside[frontier[place < most[member[frontier]]]] = True
