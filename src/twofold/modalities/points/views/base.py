"""What every augmentation shares: parameters for a whole batch first, points afterwards; and several views at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError

Parameters = dict[str, Tensor]
"""Named tensors with one row a sample."""


class Augmentation(ABC):
    """A random change of clouds, with parameters of its own for each. Subclasses are frozen dataclasses."""

    @abstractmethod
    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        """Parameters for `n` clouds of `p` points, on the generator's device."""

    @abstractmethod
    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        """Changed clouds, of the same shape; `clouds` stay as they are.

        Args:
            clouds: float32 (n, p, 3 + columns), the place first.
            parameters: As of :meth:`draw`, on the device of `clouds`.
            normals: Whether columns 4 to 6 are normals.
        """


@dataclass(frozen=True)
class View:
    """One random view of every cloud in a batch.

    Args:
        augmentations: What to do, in this order.
        points: Points of the view: a random choice of those of the cloud, made first; None or more than there are:
            all.
        normals: Whether columns 4 to 6 are normals, which turn with the cloud.
    """

    augmentations: tuple[Augmentation, ...]
    points: int | None = None
    normals: bool = False

    def __call__(self, inputs: Tensor, *, generator: torch.Generator) -> Tensor:
        """Make the view. All parameters are drawn first, for the whole batch, on the generator's device.

        Args:
            inputs: (n, p, 3 + columns), floating.
            generator: Source of all randomness.

        Returns:
            float32 (n, points, 3 + columns).

        Raises:
            DataError: If `inputs` have the wrong shape or type.
        """
        check_clouds(inputs, normals=self.normals)
        clouds = inputs.float()
        n, p = clouds.shape[:2]
        count = min(p, self.points or p)
        order = torch.rand((n, p), generator=generator, device=generator.device) if count < p else None
        drawn = [augmentation.draw(n, count, generator) for augmentation in self.augmentations]
        if order is not None:
            clouds = choose(clouds, order.argsort(1)[:, :count].to(clouds.device))
        for augmentation, parameters in zip(self.augmentations, drawn, strict=True):
            there = {name: value.to(clouds.device) for name, value in parameters.items()}
            clouds = augmentation.apply(clouds, there, normals=self.normals)
        return clouds


@dataclass(frozen=True)
class MultiView:
    """Several views of every cloud in a batch, one after the other from one generator."""

    views: tuple[View, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))  # a list will do, but must not change later
        if not self.views:
            raise ConfigError("MultiView needs at least one view.")

    def __len__(self) -> int:
        return len(self.views)

    def __call__(self, inputs: Tensor, *, generator: torch.Generator) -> list[Any]:
        """Make all views, tensors; arguments and errors are those of `View`."""
        return [view(inputs, generator=generator) for view in self.views]


@dataclass(frozen=True)
class MatchedViews(MultiView):
    """Several views whose points remember where in the cloud they came from, for what compares point with point."""

    def __call__(self, inputs: Tensor, *, generator: torch.Generator) -> list[Any]:
        """Make all views: for each ``{"points": (n, p, c), "origin": (n, p, 3)}``, the places before any change."""
        check_clouds(inputs)
        made = super().__call__(torch.cat([inputs, inputs[..., :3]], 2), generator=generator)
        return [{"points": view[..., :-3], "origin": view[..., -3:]} for view in made]


def choose(clouds: Tensor, index: Tensor) -> Tensor:
    """Points of each cloud by number: clouds (n, p, c), index int64 (n, k) -> (n, k, c)."""
    return clouds.gather(1, index.unsqueeze(2).expand(-1, -1, clouds.shape[2]))


def keep_only(clouds: Tensor, keep: Tensor) -> Tensor:
    """Clouds without the points that are not to be kept, whose places are filled with points that are.

    The number of points stays. The kept ones are repeated in turn, so each comes as often as another, or once more.

    Args:
        clouds: (n, p, c).
        keep: bool (n, p). A cloud of which nothing is kept stays as it is.
    """
    keep = keep | ~keep.any(1, keepdim=True)
    kept_first = (~keep).to(torch.uint8).argsort(dim=1, stable=True)
    place = torch.arange(keep.shape[1], device=keep.device) % keep.sum(1, keepdim=True)
    return choose(clouds, kept_first.gather(1, place))


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform draws from [low, high) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device).mul_(high - low).add_(low)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard normal draws on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)


def check_clouds(clouds: Tensor, *, normals: bool = False) -> None:
    """Raise DataError unless `clouds` are floating (n, p, c), with room for places and, if there are any, normals."""
    least = 6 if normals else 3
    if clouds.ndim != 3 or clouds.shape[2] < least or 0 in clouds.shape:
        raise DataError(f"Clouds must have shape (n, points, {least} or more), but these have {tuple(clouds.shape)}.")
    if not clouds.is_floating_point():
        raise DataError(f"Clouds must be floating, but these are {clouds.dtype}.")


def check_range(owner: object, name: str, bounds: tuple[float, float], *, low: float, high: float) -> None:
    """Raise ConfigError unless low <= bounds[0] <= bounds[1] <= high."""
    if len(bounds) != 2 or not low <= bounds[0] <= bounds[1] <= high:
        raise ConfigError(
            f"{type(owner).__name__}: {name} must be (smallest, largest) within [{low:g}, {high:g}], not {bounds!r}."
        )


def check_number(owner: object, name: str, value: float, *, low: float, high: float) -> None:
    """Raise ConfigError unless low <= value <= high."""
    if not low <= value <= high:
        raise ConfigError(f"{type(owner).__name__}: {name} must lie in [{low:g}, {high:g}], not {value!r}.")
