"""The normalized adjacency of a graph in compressed rows, and rows of nodes passed along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from twofold.modalities.graph.batches import Graph
from twofold.nn.sparse import compressed, product

HAVE_ROWS = ("cpu", "cuda")
"""Devices for which torch has matrices in compressed rows."""


class Orders(NamedTuple):
    """Edges in the order of their targets, and of their sources, ties by the other end; int64 ``(e,)`` each."""

    by_target: Tensor
    by_source: Tensor


@dataclass(frozen=True)
class Adjacency:
    """Â = D^-1/2 (A + I) D^-1/2: row i says what node i takes from whom.

    Args:
        matrix: Sparse CSR ``(N, N)``.
        transpose: Its transpose; None if it is symmetric.
    """

    matrix: Tensor
    transpose: Tensor | None


def propagate(graph: Graph, rows: Tensor) -> Tensor:
    """Â rows, ``(N, d)``, differentiable in ``rows`` ``(N, d)``; Â is made once for each graph."""
    if rows.device.type not in HAVE_ROWS:
        return along_edges(graph, rows)
    adjacency = graph.remember("adjacency", normalized_adjacency, of="edges")
    return product(adjacency.matrix, rows, adjacency.transpose)


def along_edges(graph: Graph, rows: Tensor) -> Tensor:
    """:func:`propagate` as its definition reads: every edge carries its message, and each node sums what it gets."""
    source, target = graph.edge_index
    weight, loops = graph.remember("normalized weights", normalized_weights, of="edges")
    messages = weight[:, None].to(rows.dtype) * rows[source]
    return (loops[:, None].to(rows.dtype) * rows).index_add(0, target, messages)


def normalized_weights(graph: Graph) -> tuple[Tensor, Tensor]:
    """What Â holds for each edge, float ``(e,)``, and on its diagonal, ``(N,)``.

    Degrees count the weights of edges that end at a node, and of its loop. Every node has one: of the weight of its
    edges to itself, where there are such, which then count as no edges; else of weight 1. As PyTorch Geometric's.
    """
    source, target = graph.edge_index
    weight = torch.ones(graph.edges, device=graph.device) if graph.edge_weight is None else graph.edge_weight.float()
    is_loop = source == target
    nothing = weight.new_zeros(graph.nodes)
    own = nothing.index_add(0, target, torch.where(is_loop, weight, 0.0))
    has_loop = nothing.index_add(0, target, is_loop.float()) > 0
    weight, own = torch.where(is_loop, 0.0, weight), torch.where(has_loop, own, 1.0)
    degree = own.index_add(0, target, weight)
    root = degree.rsqrt().masked_fill(degree == 0, 0.0)
    return root[source] * weight * root[target], root * own * root


def normalized_adjacency(graph: Graph) -> Adjacency:
    """Â of a graph, and its transpose unless it is symmetric.

    Whether it is, is asked only on CPUs, where the answer costs no waiting, and not of graphs that lost random edges.
    """
    source, target = graph.edge_index
    weight, loops = normalized_weights(graph)
    by_target, by_source = orders = orders_of(graph)
    matrix = _with_loops(by_target, target, source, weight, loops)
    if graph.device.type == "cpu" and graph.whole is None and _is_symmetric(graph, orders):
        return Adjacency(matrix, None)
    return Adjacency(matrix, _with_loops(by_source, source, target, weight, loops))


def orders_of(graph: Graph) -> Orders:
    """The edges of a graph in order; of a graph that lost some, the order of the whole one's without them."""
    return graph.remember("orders", _orders, of="edges")


def _orders(graph: Graph) -> Orders:
    if graph.whole is not None:
        whole, keep = graph.whole
        number = keep.cumsum(0) - 1
        return Orders(*(number[order[keep[order]]] for order in orders_of(whole)))
    source, target = graph.edge_index
    return Orders((target * graph.nodes + source).argsort(), (source * graph.nodes + target).argsort())


def _is_symmetric(graph: Graph, orders: Orders) -> bool:
    if not torch.equal(graph.edge_index[:, orders.by_target].flip(0), graph.edge_index[:, orders.by_source]):
        return False
    weight = graph.edge_weight
    return weight is None or torch.equal(weight[orders.by_target], weight[orders.by_source])


def _with_loops(order: Tensor, owner: Tensor, other: Tensor, weight: Tensor, loops: Tensor) -> Tensor:
    """Compressed rows, each with its loop first and then its edges in ``order``, which is that of their owners."""
    nodes = len(loops)
    every = torch.arange(nodes, device=order.device)
    counts = owner.bincount(minlength=nodes) + 1
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    place = torch.arange(len(order), device=order.device) + owner[order] + 1
    columns = order.new_empty(len(order) + nodes).scatter(0, starts[:-1], every).scatter(0, place, other[order])
    values = weight.new_empty(len(columns)).scatter(0, starts[:-1], loops).scatter(0, place, weight[order])
    return compressed(starts, columns, values, (nodes, nodes))
