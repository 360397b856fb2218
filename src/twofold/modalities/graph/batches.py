"""Graphs as batches: nodes of one graph, or many graphs, cut and moved as other modalities' tensors are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeVar

import torch
from torch import Tensor

from twofold.modalities.graph.features import Features

Fact = TypeVar("Fact")


class Graph:
    """Nodes with features, and directed edges between them; an undirected edge is two directed ones.

    The tensors are never changed in place: what is derived from them is kept with them (see :meth:`remember`), and
    graphs that share features or edges share what is known of these.

    Args:
        x: Float ``(N, f)``, the features of the nodes.
        edge_index: int64 ``(2, e)``, source and target of each edge, as PyTorch Geometric's layers take it.
        edge_weight: Float ``(e,)``, or None if all edges count the same.

    Attributes:
        features: The same as ``x``, which is made of it when it is first asked for.
        whole: The graph that some edges were taken from to make this one, and which were kept, bool; or None.
    """

    def __init__(self, x: Tensor | Features, edge_index: Tensor, edge_weight: Tensor | None = None) -> None:
        self.features = x if isinstance(x, Features) else Features(x)
        self.edge_index, self.edge_weight = edge_index, edge_weight
        self.whole: tuple[Graph, Tensor] | None = None
        self._facts: dict[Any, Any] = {}
        self._edge_facts: dict[Any, Any] = {}

    @property
    def x(self) -> Tensor:
        """Float ``(N, f)``."""
        return self.features.dense

    @property
    def nodes(self) -> int:
        """N."""
        return self.features.shape[0]

    @property
    def edges(self) -> int:
        """e, directed edges."""
        return self.edge_index.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.edge_index.device

    def with_features(self, x: Tensor | Features) -> Graph:
        """The same edges between nodes of other features ``(N, any)``."""
        graph = Graph(x, self.edge_index, self.edge_weight)
        graph.whole, graph._edge_facts = self.whole, self._edge_facts
        return graph

    def with_edges(self, keep: Tensor) -> Graph:
        """The same nodes with some of the edges: bool ``(e,)``."""
        weight = None if self.edge_weight is None else self.edge_weight[keep]
        graph = Graph(self.features, self.edge_index[:, keep], weight)
        graph.whole = (self, keep)
        return graph

    def with_nodes(self, keep: Tensor) -> Graph:
        """Some of the nodes, numbered anew in their order, and the edges between them: bool ``(N,)``."""
        source, target = self.edge_index
        inside = keep[source] & keep[target]
        number = keep.long().cumsum(0) - 1
        weight = None if self.edge_weight is None else self.edge_weight[inside]
        return Graph(self.x[keep], number[self.edge_index[:, inside]], weight)

    def apart(self) -> Graph:
        """The same graph, which no longer knows what it was made of."""
        return Graph(self.x, self.edge_index, self.edge_weight)

    def remember(self, name: Any, compute: Callable[[Graph], Fact], *, of: Literal["graph", "edges"] = "graph") -> Fact:
        """``compute(self)``, computed once for each ``name``: degrees, centralities, a copy on another device.

        It carries no gradient, and is an ordinary tensor even if it was first asked for in inference mode, since a
        later training step may ask again.

        Args:
            name: Of the fact.
            compute: How it is found.
            of: What it depends on. A fact of the edges is known to all graphs that differ in features alone.
        """
        facts = self._facts if of == "graph" else self._edge_facts
        if name not in facts:
            with torch.inference_mode(False), torch.no_grad():
                facts[name] = compute(self)
        fact: Fact = facts[name]
        return fact

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Graph:
        """This graph on a device; copied there once, and kept."""
        device = torch.device(device)
        if self.device == device or (device.index is None and self.device.type == device.type):
            return self
        return self.remember(("on", device), lambda graph: graph._copied(device, non_blocking))

    def _copied(self, device: torch.device, non_blocking: bool) -> Graph:
        weight = None if self.edge_weight is None else self.edge_weight.to(device, non_blocking=non_blocking)
        edges = self.edge_index.to(device, non_blocking=non_blocking)
        return Graph(self.features.to(device, non_blocking), edges, weight)


class _Graphs:
    """What both kinds of batches share: the tensors of their graph, and copies with other features or edges."""

    graph: Graph

    @property
    def x(self) -> Tensor:
        """Float ``(N, f)``."""
        return self.graph.x

    @property
    def edge_index(self) -> Tensor:
        """int64 ``(2, e)``."""
        return self.graph.edge_index

    @property
    def edge_weight(self) -> Tensor | None:
        """Float ``(e,)``, or None."""
        return self.graph.edge_weight

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.graph.device

    def with_features(self, x: Tensor | Features) -> Self:
        """A copy whose nodes have other features."""
        return replace(self, graph=self.graph.with_features(x))  # type: ignore[type-var]

    def with_edges(self, keep: Tensor) -> Self:
        """A copy with some of the edges: bool ``(e,)``."""
        return replace(self, graph=self.graph.with_edges(keep))  # type: ignore[type-var]


@dataclass(frozen=True, eq=False)
class NodeBatch(_Graphs):
    """Nodes of one graph as samples (a ``twofold.dataset.Rows``); encoders see the whole graph around them.

    A slice has fewer targets in the same graph, so each micro-batch costs one pass over the graph.

    Args:
        graph: All nodes, targets or not.
        targets: int64 ``(n,)``, the nodes that are samples, in the order of the samples; None takes all.
    """

    graph: Graph
    targets: Tensor | None = None

    def __len__(self) -> int:
        return self.graph.nodes if self.targets is None else len(self.targets)

    def __getitem__(self, part: slice) -> NodeBatch:
        every = torch.arange(self.graph.nodes, device=self.device) if self.targets is None else self.targets
        return NodeBatch(self.graph, every[part])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> NodeBatch:
        """The batch on a device; the graph is copied there once."""
        targets = None if self.targets is None else self.targets.to(device, non_blocking=non_blocking)
        return NodeBatch(self.graph.to(device, non_blocking), targets)

    def finite(self) -> Tensor:
        """Which targets have features without NaN and infinities, bool ``(n,)``."""
        return self.rows_of(self.x.isfinite().all(1))

    def rows_of(self, nodes: Tensor) -> Tensor:
        """One row a sample, out of one row a node: ``(N, ...)`` to ``(n, ...)``."""
        return nodes if self.targets is None else nodes.index_select(0, self.targets)

    @property
    def membership(self) -> Tensor:
        """int64 ``(N,)``: the graph of each node; there is but one."""
        return torch.zeros(self.graph.nodes, dtype=torch.int64, device=self.device)


@dataclass(frozen=True, eq=False)
class GraphBatch(_Graphs):
    """Whole graphs as samples (a ``twofold.dataset.Rows``), side by side as one large graph without edges between them.

    Args:
        graph: The nodes of the first graph, then those of the second ...; edges in any order.
        ptr: int64 ``(n + 1,)``: the nodes of graph i are those from ``ptr[i]`` up to ``ptr[i + 1]``, exclusive.
    """

    graph: Graph
    ptr: Tensor

    @classmethod
    def of(cls, graphs: list[Graph]) -> GraphBatch:
        """Several graphs side by side.

        Args:
            graphs: At least one, with equally many features; all or none of them have edge weights.
        """
        sizes = torch.tensor([graph.nodes for graph in graphs])
        ptr = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
        edges = [graph.edge_index + start for graph, start in zip(graphs, ptr.tolist(), strict=False)]
        weights = [graph.edge_weight for graph in graphs if graph.edge_weight is not None]
        x = torch.cat([graph.x for graph in graphs])
        return cls(Graph(x, torch.cat(edges, 1), torch.cat(weights) if weights else None), ptr)

    def __len__(self) -> int:
        return len(self.ptr) - 1

    def __getitem__(self, part: slice) -> GraphBatch:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError(f"graphs are cut out in their order: a slice with step {step} is not supported")
        first, last = int(self.ptr[start]), int(self.ptr[max(start, stop)])
        inside = (self.edge_index[0] >= first) & (self.edge_index[0] < last)
        weight = None if self.edge_weight is None else self.edge_weight[inside]
        graph = Graph(self.x[first:last], self.edge_index[:, inside] - first, weight)
        return GraphBatch(graph, self.ptr[start : max(start, stop) + 1] - first)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> GraphBatch:
        """The batch on a device."""
        return GraphBatch(self.graph.to(device, non_blocking), self.ptr.to(device, non_blocking=non_blocking))

    def finite(self) -> Tensor:
        """Which graphs have features without NaN and infinities, bool ``(n,)``."""
        broken = (~self.x.isfinite().all(1)).long()
        return self.sum_of(broken) == 0

    def with_nodes(self, keep: Tensor) -> GraphBatch:
        """A copy with some of the nodes, and the edges between them: bool ``(N,)``."""
        kept = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.long().cumsum(0)])
        return GraphBatch(self.graph.with_nodes(keep), kept[self.ptr])

    def sum_of(self, nodes: Tensor) -> Tensor:
        """The sum over each graph's nodes, ``(N, ...)`` to ``(n, ...)``; 0 for a graph without nodes."""
        return nodes.new_zeros(len(self), *nodes.shape[1:]).index_add_(0, self.membership, nodes)

    def mean_of(self, nodes: Tensor) -> Tensor:
        """The mean over each graph's nodes; 0 for a graph without nodes."""
        sizes = self.ptr.diff().clamp(min=1)
        return self.sum_of(nodes) / sizes.reshape(-1, *[1] * (nodes.ndim - 1))

    @property
    def membership(self) -> Tensor:
        """int64 ``(N,)``: the number of the graph that each node belongs to (PyTorch Geometric's ``batch``)."""
        numbers = torch.arange(len(self), device=self.ptr.device)
        return numbers.repeat_interleave(self.ptr.diff(), output_size=self.graph.nodes)


Batch = NodeBatch | GraphBatch
"""What views take and give, and what encoders eat."""
