"""Graphs that are in memory: PyTorch Geometric's objects, and plain arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.graph.batches import Graph
from twofold.modalities.graph.readers.facts import ManyGraphs, OneGraph, checked_graph, labels_of, splits_of

_MASKS = ("train", "val", "test")


def is_data(value: Any) -> bool:
    """Whether a value is PyTorch Geometric's ``Data`` or ``HeteroData``; that library is not imported to find out."""
    kinds = [kind for kind in type(value).__mro__ if kind.__module__.startswith("torch_geometric.data")]
    return any(kind.__name__ == "BaseData" for kind in kinds)


def is_hetero(value: Any) -> bool:
    """Whether a value is PyTorch Geometric's ``HeteroData``."""
    return is_data(value) and any(kind.__name__ == "HeteroData" for kind in type(value).__mro__)


def from_data(data: Any, *, name: str = "the graph") -> OneGraph:
    """The nodes of one ``Data``: x, edge_index, edge_weight, y and the masks of its splits."""
    notes: list[str] = []
    graph = graph_of(data, name)
    labels, names = labels_of(_value(data, "y"), graph.nodes, name, notes)
    masks = {part: _value(data, f"{part}_mask") for part in _MASKS}
    splits = splits_of({part: mask for part, mask in masks.items() if mask is not None}, graph.nodes, name)
    return OneGraph(graph, name, labels, names, [str(i) for i in range(graph.nodes)], splits, notes)


def from_arrays(x: Any, edge_index: Any, y: Any = None) -> OneGraph:
    """The nodes of one graph that is given as arrays or tensors."""
    name = "the tuple (x, edge_index)" if y is None else "the tuple (x, edge_index, y)"
    notes: list[str] = []
    graph = checked_graph(x, edge_index, where=name)
    labels, names = labels_of(y, graph.nodes, name, notes)
    return OneGraph(graph, name, labels, names, [str(i) for i in range(graph.nodes)], notes=notes)


def from_many(graphs: Iterable[Any], *, name: str = "the list") -> ManyGraphs:
    """Many ``Data``, each with one y.

    Raises:
        DataError: If they have features of different widths, or most of them are broken.
    """
    good: list[Graph] = []
    values: list[Any] = []
    ids: list[str] = []
    skipped: dict[str, str] = {}
    notes: list[str] = []
    total = 0
    for number, data in enumerate(graphs):
        total += 1
        try:
            good.append(graph_of(data, f"{name}, graph {number}"))
        except DataError as error:
            skipped[str(number)] = str(error)
            continue
        values.append(_value(data, "y"))
        ids.append(str(number))
    if not good or len(good) * 2 < total:
        first = next(iter(skipped.values()), "it is empty")
        raise DataError(f"{name}: {len(skipped)} of {total} graphs cannot be read; the first: {first}")
    check_widths(good, ids, name)
    labels, names = labels_of(_one_a_graph(values), len(good), name, notes)
    return ManyGraphs(good, name, labels, names, ids, skipped, notes)


def check_widths(graphs: list[Graph], ids: list[str], name: str) -> None:
    """Raise a DataError if graphs have features of different widths, or only some have edge weights."""
    widths = [graph.x.shape[1] for graph in graphs]
    if len(set(widths)) > 1:
        odd = next(i for i, width in enumerate(widths) if width != widths[0])
        raise DataError(
            f"{name}: graph {ids[0]} has {widths[0]} features a node and graph {ids[odd]} has {widths[odd]}; all "
            "graphs must have the same"
        )
    if len({graph.edge_weight is None for graph in graphs}) > 1:
        raise DataError(f"{name}: some graphs have edge weights and some have none; give all of them some")


def graph_of(data: Any, where: str) -> Graph:
    """The graph of one ``Data``, or of a pair (x, edge_index) of arrays."""
    if isinstance(data, tuple | list) and len(data) == 2:
        return checked_graph(data[0], data[1], where=where)
    if not is_data(data) or is_hetero(data):
        raise DataError(
            f"{where} is a {type(data).__name__}, not a torch_geometric.data.Data, nor a pair (x, edge_index)"
        )
    edges = _value(data, "edge_index")
    if edges is None:
        edges = _from_adjacency(_value(data, "adj_t"), where)
    x = _value(data, "x")
    weight = _value(data, "edge_weight")
    nodes = None if x is not None else _value(data, "num_nodes")
    return checked_graph(x, edges, weight, nodes=nodes, where=where)


def _from_adjacency(adjacency: Any, where: str) -> Tensor:
    """Edges out of ``adj_t``, whose rows are targets."""
    if adjacency is None:
        raise DataError(f"{where}: it has no edge_index; a graph without edges has one of shape (2, 0)")
    if isinstance(adjacency, Tensor):
        target, source = adjacency.to_sparse_coo().coalesce().indices()
    else:  # torch_sparse.SparseTensor
        target, source, _ = adjacency.coo()
    return torch.stack([source, target])


def _value(data: Any, name: str) -> Any:
    return data[name] if is_data(data) and name in data else None


def _one_a_graph(values: list[Any]) -> Any:
    if all(value is None for value in values):
        return None
    first = next(value for value in values if value is not None)
    if isinstance(first, Tensor) and first.numel() > 1:
        return torch.stack([value.flatten() for value in values])
    plain = [value.item() if isinstance(value, Tensor) and value.numel() == 1 else value for value in values]
    if any(isinstance(value, float) for value in plain):
        return torch.tensor([float("nan") if value is None else float(value) for value in plain])
    return plain
