"""A batch of users and items: numbers of nodes, and the graph that they stand in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from twofold.modalities.interactions.graph import Graph


@dataclass(frozen=True, eq=False)
class Nodes:
    """Some nodes of a graph; meets :class:`twofold.dataset.Rows`.

    Attributes:
        graph: The whole graph, whichever nodes are meant.
        index: int64 ``(n,)``: users by their number, then items, which are counted on from the users.
    """

    graph: Graph
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, part: slice) -> Self:
        return replace(self, index=self.index[part])

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Self:
        """The same on a device."""
        return replace(self, graph=self.graph.to(device), index=self.index.to(device, non_blocking=non_blocking))

    def finite(self) -> Tensor:
        """All are: a graph holds no numbers that could fail to be."""
        return torch.ones(len(self), dtype=torch.bool, device=self.index.device)
