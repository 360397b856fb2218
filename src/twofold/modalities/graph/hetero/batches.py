"""Heterogeneous graphs: nodes of several types, the links between types, and the meta-paths between target nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

Fact = TypeVar("Fact")
Links = Mapping[tuple[str, str], Tensor]


@dataclass(frozen=True, eq=False)
class MetaPath:
    """Which target nodes a chain of types joins, and by how many ways. Symmetric, with every node joined to itself.

    Args:
        starts: int64 ``(n + 1,)``: the partners of node i stand from ``starts[i]`` up to ``starts[i + 1]``.
        partners: int64 ``(pairs,)``, in rising order for each node.
        counts: Float ``(pairs,)``: the number of ways, above 0.
        chain: The types on the way, such as ``("paper", "author", "paper")``; empty if only the pairs are known.
    """

    starts: Tensor
    partners: Tensor
    counts: Tensor
    chain: tuple[str, ...] = ()

    @property
    def nodes(self) -> int:
        """n."""
        return len(self.starts) - 1

    @property
    def owners(self) -> Tensor:
        """int64 ``(pairs,)``: the node each partner belongs to."""
        numbers = torch.arange(self.nodes, device=self.starts.device)
        return numbers.repeat_interleave(self.starts.diff(), output_size=len(self.partners))

    def keep(self, pairs: Tensor) -> MetaPath:
        """Some of the pairs: bool ``(pairs,)``. To stay symmetric, a pair and its mirror image must go together."""
        before = torch.cat([self.starts.new_zeros(1), pairs.cumsum(0)])
        return MetaPath(before[self.starts], self.partners[pairs], self.counts[pairs], self.chain)

    def mirror(self) -> Tensor:
        """Where each pair's mirror image stands: int64 ``(pairs,)``."""
        # Ordered by (partner, owner), the mirror images stand in the order of the pairs themselves.
        return torch.argsort(self.partners * self.nodes + self.owners)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> MetaPath:
        """The same on a device."""
        starts, partners, counts = (
            part.to(device, non_blocking=non_blocking) for part in (self.starts, self.partners, self.counts)
        )
        return MetaPath(starts, partners, counts, self.chain)


@dataclass(frozen=True, eq=False)
class HeteroGraph:
    """Nodes of several types. The tensors are never changed in place: what is derived from them is kept.

    Args:
        target: The type whose nodes are the samples.
        counts: Type → number of nodes.
        x: Type → float ``(nodes, features)``, for the types that have features.
        links: Two different types ``(a, b)`` → int64 ``(2, e)``, nodes of a and nodes of b that are joined. One entry
            for both directions; see :meth:`between`.
        paths: Name → meta-path between target nodes.
    """

    target: str
    counts: Mapping[str, int]
    x: Mapping[str, Tensor]
    links: Links
    paths: Mapping[str, MetaPath]
    _facts: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def nodes(self) -> int:
        """Target nodes."""
        return self.counts[self.target]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.paths.values())).starts.device

    def between(self, first: str, second: str) -> Tensor:
        """int64 ``(2, e)``: joined nodes of two types, the first type's in the first row."""
        if (first, second) in self.links:
            return self.links[first, second]
        return self.links[second, first].flip(0)

    def neighbours(self) -> list[str]:
        """The types that target nodes are joined to, other than their own."""
        pairs = [pair for pair in self.links if self.target in pair]
        return [second if first == self.target else first for first, second in pairs]

    def changed(self, **parts: Any) -> HeteroGraph:
        """A copy with other ``x``, ``links`` or ``paths``."""
        return HeteroGraph(**({name: getattr(self, name) for name in _PARTS} | parts))

    def remember(self, name: Any, compute: Callable[[HeteroGraph], Fact]) -> Fact:
        """``compute(self)``, computed once for each ``name``."""
        if name not in self._facts:
            self._facts[name] = compute(self)
        fact: Fact = self._facts[name]
        return fact

    def to(self, device: torch.device | str, non_blocking: bool = False) -> HeteroGraph:
        """This graph on a device; copied there once, and kept."""
        device = torch.device(device)
        if self.device == device or (device.index is None and self.device.type == device.type):
            return self
        return self.remember(("on", device), lambda graph: graph._copied(device, non_blocking))

    def _copied(self, device: torch.device, non_blocking: bool) -> HeteroGraph:
        return self.changed(
            x={name: x.to(device, non_blocking=non_blocking) for name, x in self.x.items()},
            links={pair: edges.to(device, non_blocking=non_blocking) for pair, edges in self.links.items()},
            paths={name: path.to(device, non_blocking) for name, path in self.paths.items()},
        )


_PARTS = ("target", "counts", "x", "links", "paths")


@dataclass(frozen=True, eq=False)
class HeteroBatch:
    """Target nodes of one graph as samples (a ``twofold.dataset.Rows``); encoders see the whole graph around them.

    Args:
        graph: Everything.
        targets: int64 ``(n,)``, the target nodes that are samples, in the order of the samples; None takes all.
    """

    graph: HeteroGraph
    targets: Tensor | None = None

    def __len__(self) -> int:
        return self.graph.nodes if self.targets is None else len(self.targets)

    def __getitem__(self, part: slice) -> HeteroBatch:
        return HeteroBatch(self.graph, self.numbers[part])

    @property
    def numbers(self) -> Tensor:
        """int64 ``(n,)``: which target node each sample is."""
        return torch.arange(self.graph.nodes, device=self.graph.device) if self.targets is None else self.targets

    def to(self, device: torch.device | str, non_blocking: bool = False) -> HeteroBatch:
        """The batch on a device; the graph is copied there once."""
        targets = None if self.targets is None else self.targets.to(device, non_blocking=non_blocking)
        return HeteroBatch(self.graph.to(device, non_blocking), targets)

    def finite(self) -> Tensor:
        """Which targets have features without NaN and infinities, bool ``(n,)``; all, if they have no features."""
        x = self.graph.x.get(self.graph.target)
        whole = torch.ones(self.graph.nodes, dtype=torch.bool, device=self.graph.device)
        return self.rows_of(whole if x is None else x.isfinite().all(1))

    def rows_of(self, nodes: Tensor) -> Tensor:
        """One row a sample, out of one row a target node: ``(nodes, ...)`` to ``(n, ...)``."""
        return nodes if self.targets is None else nodes[self.targets]

    def with_graph(self, graph: HeteroGraph) -> HeteroBatch:
        """The same targets in another graph."""
        return HeteroBatch(graph, self.targets)
