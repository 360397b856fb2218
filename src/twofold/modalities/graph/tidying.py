"""What is done to every graph that is read: loops and repeated edges go, reverse edges come, features get a form."""

from __future__ import annotations

import torch
from torch import Tensor

from twofold.modalities.graph.batches import Graph


def tidied(graph: Graph, *, undirected: bool) -> tuple[Graph, list[str]]:
    """A graph without loops and repeated edges, and with every reverse edge if it is to be undirected; and notes.

    Layers that want loops add them. Of weighted edges that are repeated the weights are added up, which is how a
    matrix in coordinates is read; a missing reverse edge gets its edge's weight.
    """
    loops = graph.edge_index[0] == graph.edge_index[1]
    notes = [f"{int(loops.sum()):,} edges from a node to itself are left out"] if loops.any() else []
    graph = graph.with_edges(~loops)
    unique = merged(graph)
    if unique.edges < graph.edges:
        notes.append(f"{graph.edges - unique.edges:,} edges are repeated, and count once")
    if not undirected:
        return unique, notes
    whole = _both_ways(unique)
    if whole.edges > unique.edges:
        notes.append(f"{whole.edges - unique.edges:,} edges go one way only, and their reverse is added")
    return whole, notes


def merged(graph: Graph) -> Graph:
    """Each edge once, in the order of sources and targets; weights of repeated ones are added up."""
    key = graph.edge_index[0] * graph.nodes + graph.edge_index[1]
    unique, place = key.unique(return_inverse=True)
    edges = torch.stack([unique // graph.nodes, unique % graph.nodes])
    if graph.edge_weight is None:
        return Graph(graph.x, edges)
    return Graph(graph.x, edges, torch.zeros(len(unique)).index_add_(0, place, graph.edge_weight))


def _both_ways(graph: Graph) -> Graph:
    key = graph.edge_index[0] * graph.nodes + graph.edge_index[1]
    reverse = graph.edge_index[1] * graph.nodes + graph.edge_index[0]
    new = ~torch.isin(reverse, key)
    edges = torch.cat([graph.edge_index, graph.edge_index[:, new].flip(0)], 1)
    weight = None if graph.edge_weight is None else torch.cat([graph.edge_weight, graph.edge_weight[new]])
    return merged(Graph(graph.x, edges, weight))


def in_degrees(graph: Graph) -> Tensor:
    """How many edges end at each node, int64 ``(N,)``."""
    return graph.edge_index[1].bincount(minlength=graph.nodes)


def largest_degree(graph: Graph) -> int:
    """The most edges that end at a node."""
    return int(in_degrees(graph).max())


def degree_features(graph: Graph, most: int) -> Tensor:
    """One-hot degrees, ``(N, most + 1)``; larger ones count as ``most``."""
    return torch.nn.functional.one_hot(in_degrees(graph).clamp(max=most), most + 1).float()


def row_normalized(x: Tensor) -> Tensor:
    """Features divided by their sum; a row of zeros stays zero. As PyTorch Geometric's NormalizeFeatures."""
    total = x.sum(1, keepdim=True)
    return x / torch.where(total > 0, total, 1.0)
