"""What every corruption shares, and several views at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.graph.batches import Batch, GraphBatch, NodeBatch


class Corruption(ABC):
    """A random change of graphs. Subclasses are frozen dataclasses. Samples stay samples: targets are kept."""

    @abstractmethod
    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        """A changed copy of ``batch``, of the same kind and length.

        Args:
            batch: Stays as it is.
            generator: Source of all randomness.
            active: Which graphs of the batch are changed, bool ``(graphs,)``; None: all.
        """


@dataclass(frozen=True)
class Compose(Corruption):
    """One corruption after the other."""

    steps: tuple[Corruption, ...]

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        for step in self.steps:
            batch = step(batch, generator, active=active)
        return batch


@dataclass(frozen=True)
class OneOf(Corruption):
    """One of several corruptions, drawn for each graph (You et al., NeurIPS 2020)."""

    steps: tuple[Corruption, ...]

    def __call__(self, batch: Batch, generator: torch.Generator, *, active: Tensor | None = None) -> Any:
        graphs = len(batch) if isinstance(batch, GraphBatch) else 1
        draw = torch.randint(len(self.steps), (graphs,), generator=generator, device=generator.device)
        chosen = draw.to(batch.device)
        for number, step in enumerate(self.steps):
            mine = chosen == number
            batch = step(batch, generator, active=mine if active is None else mine & active)
        return batch


@dataclass(frozen=True)
class Corruptions:
    """Several views of every sample, one after the other from one generator.

    Args:
        views: How each view is made.
    """

    views: tuple[Corruption, ...]

    def __call__(self, inputs: Batch, *, generator: torch.Generator) -> list[Any]:
        """The views, each of the kind and length of ``inputs``.

        Raises:
            DataError: If ``inputs`` are no nodes of a graph, or graphs.
        """
        if not isinstance(inputs, NodeBatch | GraphBatch):
            raise DataError(f"views of graphs are made of NodeBatch or GraphBatch, not of {type(inputs).__name__}")
        return [view(inputs, generator) for view in self.views]


def uniform(shape: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Numbers in [0, 1), drawn where the generator is, so that they are the same on every device."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def rate(share: float, batch: Batch, active: Tensor | None) -> Tensor:
    """``share`` for each node of an active graph, 0 for the others: ``(N,)``, or 0-d if all are."""
    everywhere = torch.tensor(share, device=batch.device)
    return everywhere if active is None else everywhere * active[batch.membership]


def check_share(name: str, share: float) -> None:
    """Raise a ValueError if a share is none: it must lie in [0, 1)."""
    if not 0 <= share < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {share!r}")
