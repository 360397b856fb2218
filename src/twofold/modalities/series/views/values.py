"""Changes of the values: noise, scale, warped magnitude, rotated axes, silenced channels and stretches, smoothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.modalities.series.views.base import (
    Augmentation,
    Facts,
    Parameters,
    bernoulli,
    check_numbers,
    check_range,
    normal,
    smooth_curves,
    uniform,
)

_LARGE = 1e3
_AXES = 3


@dataclass(frozen=True)
class Jitter(Augmentation):
    """Add normal noise of ``sigma`` deviations of the channel to every value."""

    sigma: float = 0.1

    def __post_init__(self) -> None:
        check_numbers(self, high=_LARGE, sigma=self.sigma)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"noise": normal(shape, generator).mul_(self.sigma)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        return series + parameters["noise"] * facts.unit(series)


@dataclass(frozen=True)
class Scale(Augmentation):
    """Stretch each channel about its mean, by a factor that is normal about 1 with deviation ``sigma``."""

    sigma: float = 0.2

    def __post_init__(self) -> None:
        check_numbers(self, high=_LARGE, sigma=self.sigma)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"factor": 1 + normal((shape[0], 1, shape[2]), generator).mul_(self.sigma)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        centre = facts.centre(series)
        return centre + (series - centre) * parameters["factor"]


@dataclass(frozen=True)
class MagnitudeWarp(Augmentation):
    """Stretch each channel about its mean by a curve in time, normal about 1 at ``knots`` points."""

    sigma: float = 0.2
    knots: int = 6

    def __post_init__(self) -> None:
        check_numbers(self, high=_LARGE, sigma=self.sigma, knots=self.knots)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"knots": 1 + normal((shape[0], shape[2], max(2, self.knots)), generator).mul_(self.sigma)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        centre = facts.centre(series)
        return centre + (series - centre) * smooth_curves(parameters["knots"], series.shape[1]).transpose(1, 2)


@dataclass(frozen=True)
class RotateAxes(Augmentation):
    """Turn every three channels as one vector, about a random axis by up to ``degrees``: a sensor worn otherwise.

    All triples (accelerometer, gyroscope, ...) of a sample are turned alike, since they sit in one case.
    """

    degrees: float = 180.0

    def __post_init__(self) -> None:
        check_numbers(self, high=180, degrees=self.degrees)

    def problem(self, facts: Facts) -> str | None:
        if len(facts.mean) % _AXES:
            return f"RotateAxes turns channels by threes (x, y, z), and this data has {len(facts.mean)}."
        return None

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        axis = F.normalize(normal((shape[0], _AXES), generator), dim=1)
        angle = uniform((shape[0],), -math.radians(self.degrees), math.radians(self.degrees), generator)
        return {"matrix": rotations(axis, angle)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        vectors = series.unflatten(2, (-1, _AXES))
        return torch.einsum("nij,ntvj->ntvi", parameters["matrix"], vectors).flatten(2)


@dataclass(frozen=True)
class FlipSign(Augmentation):
    """Mirror each channel about its mean, with probability ``p``."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_numbers(self, p=self.p)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"sign": 1 - 2 * bernoulli((shape[0], 1, shape[2]), self.p, generator).float()}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        centre = facts.centre(series)
        return centre + (series - centre) * parameters["sign"]


@dataclass(frozen=True)
class DropChannels(Augmentation):
    """Put each channel to its mean with probability ``p``; one of each sample always stays."""

    p: float = 0.2

    def __post_init__(self) -> None:
        check_numbers(self, p=self.p)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        chance = uniform((shape[0], shape[2]), 0, 1, generator)
        return {"keep": (chance >= self.p) | (chance == chance.amax(1, keepdim=True))}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        return torch.where(parameters["keep"][:, None], series, facts.centre(series))


@dataclass(frozen=True)
class DropSegment(Augmentation):
    """Put a stretch of time to the mean: a share of it that is uniform in ``share``, in all channels."""

    share: tuple[float, float] = (0.0, 0.3)

    def __post_init__(self) -> None:
        check_range(self, "share", self.share, low=0, high=1)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        share = uniform((shape[0], 1), *self.share, generator)
        start = uniform((shape[0], 1), 0, 1, generator) * (1 - share)
        return {"start": start, "end": start + share}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        steps = series.shape[1]
        time = (torch.arange(steps, device=series.device) + 0.5) / steps
        inside = (time >= parameters["start"]) & (time < parameters["end"])
        return torch.where(inside[:, :, None], facts.centre(series), series)


@dataclass(frozen=True)
class Smooth(Augmentation):
    """Blur in time with a Gaussian of ``sigma`` steps (uniform between the bounds), with probability ``p``."""

    sigma: tuple[float, float] = (0.1, 2.0)
    p: float = 0.5
    kernel: int = 15

    def __post_init__(self) -> None:
        check_range(self, "sigma", self.sigma, low=1e-3, high=_LARGE)
        check_numbers(self, p=self.p)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        sigma = uniform((shape[0],), *self.sigma, generator)
        return {"sigma": sigma, "chosen": bernoulli((shape[0],), self.p, generator)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        reach = min(self.kernel // 2, series.shape[1] - 1)
        offsets = torch.arange(-reach, reach + 1, device=series.device)
        sigma = torch.where(parameters["chosen"], parameters["sigma"], 1e-3)
        weight = torch.softmax(-0.5 * (offsets / sigma[:, None]).square(), 1)
        around = F.pad(series.transpose(1, 2), (reach, reach), mode="replicate").unfold(2, 2 * reach + 1, 1)
        return torch.einsum("nctk,nk->ntc", around, weight)


def rotations(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotation matrices ``(n, 3, 3)`` about unit axes ``(n, 3)`` by angles ``(n,)`` in radians (Rodrigues)."""
    x, y, z = axis.unbind(1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], 1).view(-1, 3, 3)
    sine, cosine = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3, device=axis.device) + sine * cross + (1 - cosine) * (cross @ cross)
