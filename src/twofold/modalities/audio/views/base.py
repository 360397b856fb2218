"""What every augmentation of sound shares: parameters for a whole batch first, samples afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from twofold.errors import ConfigError

Parameters = dict[str, Tensor]
"""Named tensors with one row a clip, on the generator's device."""


class Augmentation(ABC):
    """A random change of the clips of a batch, each with parameters of its own.

    Subclasses are frozen dataclasses. They work on waveforms ``(n, samples)`` or on log-mel spectrograms
    ``(n, 1, mels, frames)``; which of the two is said by the module they stand in.
    """

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A changed copy of ``x``."""
        return self.apply(x, to_device(self.draw(tuple(x.shape), generator), x.device))

    @abstractmethod
    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Parameters:
        """Parameters for a batch of this shape."""

    @abstractmethod
    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        """A changed copy of ``x``; ``parameters`` are on its device."""


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform draws from [low, high) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device).mul_(high - low).add_(low)


def bernoulli(n: int, p: float, generator: torch.Generator) -> Tensor:
    """``n`` independent draws, True with probability ``p``."""
    return torch.rand(n, generator=generator, device=generator.device) < p


def per_clip(values: Tensor, x: Tensor) -> Tensor:
    """``(n,)`` in the shape that broadcasts over the clips ``x``."""
    return values.view(-1, *(1,) * (x.dim() - 1))


def to_device(parameters: Mapping[str, Tensor], device: torch.device) -> Parameters:
    """The same parameters on ``device``."""
    return {name: value.to(device) for name, value in parameters.items()}


def check_range(owner: object, name: str, bounds: tuple[float, float], *, low: float, high: float) -> None:
    """Raise ConfigError unless low <= bounds[0] <= bounds[1] <= high."""
    if len(bounds) != 2 or not low <= bounds[0] <= bounds[1] <= high:
        raise ConfigError(
            f"{type(owner).__name__}: {name} must be (smallest, largest) within [{low:g}, {high:g}], not {bounds!r}."
        )


def check_share(owner: object, **shares: float) -> None:
    """Raise ConfigError naming every share or probability that is outside [0, 1]."""
    wrong = [
        f"{type(owner).__name__}: {name} must lie between 0 and 1, not {value!r}."
        for name, value in shares.items()
        if not 0 <= value <= 1
    ]
    if wrong:
        raise ConfigError(wrong)
