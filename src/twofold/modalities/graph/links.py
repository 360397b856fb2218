"""Edges that are held out before training, and pairs without an edge to tell them from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.graph.batches import Graph

_ROUNDS = 50


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Pairs of nodes, int64 ``(2, m)`` each: ``positives`` are the edges taken out, ``negatives`` are no edges."""

    positives: Tensor
    negatives: Tensor


def hold_out(graph: Graph, *, share: float, seed: int, where: str) -> tuple[Graph, HeldOut]:
    """A graph without some of its edges, both directions of each; the same ones for the same graph, share and seed.

    As many pairs of different nodes without an edge are drawn, each once.

    Args:
        graph: Without loops and repeated edges.
        share: In (0, 1), of its undirected edges.
        seed: Decides which edges and pairs.
        where: The source, for messages.

    Raises:
        DataError: If no edge would be taken out or left, or there are too few pairs without an edge.
    """
    generator = torch.Generator().manual_seed(seed)
    keys, of_edge = _pair_keys(graph.edge_index, graph.nodes).unique(return_inverse=True)
    count = round(share * len(keys))
    if not 0 < count < len(keys):
        raise DataError(f"{where}: held_out={share:g} of {len(keys)} edges is {count}; it must be some, and not all")
    taken = torch.zeros(len(keys), dtype=torch.bool)
    taken[torch.randperm(len(keys), generator=generator)[:count]] = True
    negatives = _non_edges(keys, graph.nodes, count, generator, where)
    kept = graph.with_edges(~taken[of_edge]).apart()  # as symmetric as the whole, which need not be kept
    return kept, HeldOut(_pairs(keys[taken], graph.nodes), _pairs(negatives, graph.nodes))


def _pair_keys(pairs: Tensor, nodes: int) -> Tensor:
    """One number for each unordered pair."""
    return pairs.amin(0) * nodes + pairs.amax(0)


def _pairs(keys: Tensor, nodes: int) -> Tensor:
    return torch.stack([keys // nodes, keys % nodes])


def _non_edges(edges: Tensor, nodes: int, count: int, generator: torch.Generator, where: str) -> Tensor:
    found = torch.empty(0, dtype=torch.int64)
    for _ in range(_ROUNDS):
        drawn = torch.randint(nodes, (2, 2 * count + 16), generator=generator)
        keys = _pair_keys(drawn[:, drawn[0] != drawn[1]], nodes)
        keys = keys[~torch.isin(keys, edges)]
        found = torch.cat([found, keys]).unique()
        if len(found) >= count:
            return found[torch.randperm(len(found), generator=generator)[:count]]
    raise DataError(
        f"{where}: it is so dense that {count} pairs without an edge are hard to find; hold fewer edges out"
    )
