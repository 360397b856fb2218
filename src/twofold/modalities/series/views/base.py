"""What every augmentation of series shares: parameters for a whole batch first, values afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.errors import ConfigError, DataError

Parameters = dict[str, Tensor]
"""Named tensors with one row a sample."""


@dataclass(frozen=True)
class Facts:
    """What augmentations need to know of the data.

    Attributes:
        mean: Of each channel; what stands for "nothing there".
        std: Of each channel; what noise is measured in.
        joints: Of a skeleton, or None.
        mirror: For each joint the one that takes its place in a mirror, or None.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    joints: int | None = None
    mirror: tuple[int, ...] | None = None

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Facts:
        """From a data set's spec."""
        mirror = spec.get("mirror")
        return cls(
            tuple(spec["mean"]),
            tuple(spec["std"]),
            spec.get("joints"),
            None if mirror is None else tuple(mirror),
        )

    def centre(self, like: Tensor) -> Tensor:
        """The mean, ``(c,)``, as ``like``."""
        return like.new_tensor(self.mean)

    def unit(self, like: Tensor) -> Tensor:
        """The deviation, ``(c,)``, as ``like``."""
        return like.new_tensor(self.std)


class Augmentation(ABC):
    """A random change of series, with parameters of its own for each. Subclasses are frozen dataclasses."""

    @abstractmethod
    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        """Parameters for series of this shape ``(n, t, c)``, on the generator's device."""

    @abstractmethod
    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        """Changed series of the same shape; ``series`` stay as they are.

        Args:
            series: float32 ``(n, t, c)``.
            parameters: As of :meth:`draw`, on the device of ``series``.
            facts: Of the data.
        """

    def problem(self, facts: Facts) -> str | None:
        """Why this cannot be done to such data, or None."""
        return None


@dataclass(frozen=True)
class View:
    """One random view of every series in a batch.

    Args:
        augmentations: What to do, in this order.
        facts: Of the data.

    Raises:
        ConfigError: If an augmentation does not suit the data.
    """

    augmentations: tuple[Augmentation, ...]
    facts: Facts

    def __post_init__(self) -> None:
        if problems := [text for step in self.augmentations if (text := step.problem(self.facts))]:
            raise ConfigError(problems)

    def __call__(self, inputs: Tensor, *, generator: torch.Generator) -> Tensor:
        """Make the view, float32 ``(n, t, c)``. All parameters are drawn first, for the whole batch.

        Raises:
            DataError: If ``inputs`` have the wrong shape or type.
        """
        check_series(inputs, channels=len(self.facts.mean))
        series = inputs.float()
        n, t, c = series.shape
        drawn = [step.draw((n, t, c), generator) for step in self.augmentations]
        for step, parameters in zip(self.augmentations, drawn, strict=True):
            there = {name: value.to(series.device) for name, value in parameters.items()}
            series = step.apply(series, there, self.facts)
        return series


@dataclass(frozen=True)
class MultiView:
    """Several views of every series in a batch, one after the other from one generator."""

    views: tuple[View, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))  # a list will do, but must not change later
        if not self.views:
            raise ConfigError("MultiView needs at least one view.")

    def __len__(self) -> int:
        return len(self.views)

    def __call__(self, inputs: Tensor, *, generator: torch.Generator) -> list[Any]:
        """Make all views; arguments and errors are those of :class:`View`."""
        return [view(inputs, generator=generator) for view in self.views]


def at_places(series: Tensor, place: Tensor) -> Tensor:
    """Series read at other times, by the line between neighbouring steps.

    Args:
        series: ``(n, t, c)``.
        place: ``(n, k)``, in steps, fractions too; what lies outside is moved to the nearest end.

    Returns:
        ``(n, k, c)``.
    """
    place = place.clamp(0, series.shape[1] - 1)
    before = place.floor().long().clamp(max=max(0, series.shape[1] - 2))
    share = (place - before).unsqueeze(2).to(series.dtype)
    after = (before + 1).clamp(max=series.shape[1] - 1)
    return torch.lerp(at_steps(series, before), at_steps(series, after), share)


def at_steps(series: Tensor, step: Tensor) -> Tensor:
    """Series ``(n, t, c)`` at whole steps, int64 ``(n, k)`` -> ``(n, k, c)``."""
    return series.gather(1, step.unsqueeze(2).expand(-1, -1, series.shape[2]))


def smooth_curves(knots: Tensor, steps: int) -> Tensor:
    """Curves ``(n, c, steps)`` that go linearly through values at evenly spread knots, ``(n, c, k)``."""
    return F.interpolate(knots, size=steps, mode="linear", align_corners=True)


def joints_apart(series: Tensor, facts: Facts) -> Tensor:
    """Channels ``(n, t, c)`` as places of joints ``(n, t, joints, coordinates)``."""
    return series.unflatten(2, (facts.joints or 1, -1))


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Uniform draws from [low, high) on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device).mul_(high - low).add_(low)


def normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard normal draws on the generator's device."""
    return torch.randn(shape, generator=generator, device=generator.device)


def bernoulli(shape: tuple[int, ...], p: float, generator: torch.Generator) -> Tensor:
    """Independent draws, True with probability ``p``."""
    return torch.rand(shape, generator=generator, device=generator.device) < p


def check_series(series: Tensor, *, channels: int) -> None:
    """Raise DataError unless ``series`` are floating ``(n, steps, channels)``."""
    if series.ndim != 3 or series.shape[2] != channels or 0 in series.shape:
        raise DataError(f"Series must have shape (n, steps, {channels}), but these have {tuple(series.shape)}.")
    if not series.is_floating_point():
        raise DataError(f"Series must be floating, but these are {series.dtype}.")


def check_range(owner: object, name: str, bounds: tuple[float, float], *, low: float, high: float) -> None:
    """Raise ConfigError unless low <= bounds[0] <= bounds[1] <= high."""
    if len(bounds) != 2 or not low <= bounds[0] <= bounds[1] <= high:
        raise ConfigError(
            f"{type(owner).__name__}: {name} must be (smallest, largest) within [{low:g}, {high:g}], not {bounds!r}."
        )


def check_numbers(owner: object, *, high: float = 1.0, **values: float) -> None:
    """Raise ConfigError naming every value that is outside [0, high]."""
    wrong = [
        f"{type(owner).__name__}: {name} must lie in [0, {high:g}], not {value!r}."
        for name, value in values.items()
        if not 0 <= value <= high
    ]
    if wrong:
        raise ConfigError(wrong)
