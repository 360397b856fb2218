"""Changes of skeletons: sheared, turned, mirrored, with noise, with joints or axes missing.

Places are those that reading gives: the middle of the body over time is the origin, its size is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.modalities.series.views.base import (
    Augmentation,
    Facts,
    Parameters,
    bernoulli,
    check_numbers,
    joints_apart,
    normal,
    uniform,
)
from twofold.modalities.series.views.values import rotations

_ACROSS = 0
"""The axis along which left and right lie."""


class _OfSkeletons(Augmentation):
    def problem(self, facts: Facts) -> str | None:
        if facts.joints is None:
            return f"{type(self).__name__} is for skeletons: read the data with skeleton= (such as skeleton='15')."
        return None


@dataclass(frozen=True)
class Shear(_OfSkeletons):
    """Multiply places with a matrix: 1 on the diagonal, evenly from -most to most elsewhere (Li et al., CVPR 2021)."""

    most: float = 0.5

    def __post_init__(self) -> None:
        check_numbers(self, high=10, most=self.most)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"off": uniform((shape[0], 3, 3), -self.most, self.most, generator)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        places = joints_apart(series, facts)
        dims = places.shape[3]
        matrix = parameters["off"][:, :dims, :dims].clone()
        matrix.diagonal(dim1=1, dim2=2).fill_(1.0)
        return _times(places, matrix)


@dataclass(frozen=True)
class Turn(_OfSkeletons):
    """Turn the body. In space about one random axis by up to ``most`` degrees and the others by up to ``least``.

    In the plane by up to ``most``. The 30 and 1 degrees are AimCLR's (Guo et al., AAAI 2022).
    """

    most: float = 30.0
    least: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, high=180, most=self.most, least=self.least)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        main = torch.randint(3, (shape[0], 1), generator=generator, device=generator.device)
        share = uniform((shape[0], 3), -1, 1, generator)
        most = torch.where(torch.arange(3, device=main.device) == main, self.most, self.least)
        return {"angles": share * most * math.pi / 180, "flat": share[:, 0] * self.most * math.pi / 180}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        places = joints_apart(series, facts)
        if places.shape[3] == 2:
            sine, cosine = parameters["flat"].sin(), parameters["flat"].cos()
            return _times(places, torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2))
        angles = parameters["angles"]
        matrix = torch.eye(3, device=series.device).expand(len(series), 3, 3)
        for k in range(3):
            axis = torch.eye(3, device=series.device)[k].expand(len(series), 3)
            matrix = rotations(axis, angles[:, k]) @ matrix
        return _times(places, matrix)


@dataclass(frozen=True)
class Heading(_OfSkeletons):
    """Turn the body about the upright axis, evenly in all directions; for skeletons in space.

    Args:
        up: Which axis points up: 1 is y, as most motion capture has it.
    """

    up: int = 1

    def problem(self, facts: Facts) -> str | None:
        if facts.joints is not None and len(facts.mean) != 3 * facts.joints:
            return "Heading turns skeletons in space (x, y, z), and this data has two coordinates a joint."
        return super().problem(facts)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"angle": uniform((shape[0],), -math.pi, math.pi, generator)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        axis = torch.eye(3, device=series.device)[self.up].expand(len(series), 3)
        return _times(joints_apart(series, facts), rotations(axis, parameters["angle"]))


@dataclass(frozen=True)
class Mirror(_OfSkeletons):
    """See the body in a mirror, with probability ``p``: x changes its sign, and left and right joints change places.

    Where the skeleton does not say which joints are left and right, only the sign changes.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_numbers(self, p=self.p)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"chosen": bernoulli((shape[0],), self.p, generator)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        places = joints_apart(series, facts)
        swapped = places if facts.mirror is None else places[:, :, list(facts.mirror)]
        sign = places.new_ones(places.shape[3])
        sign[_ACROSS] = -1
        return torch.where(parameters["chosen"][:, None, None, None], swapped * sign, places).flatten(2)


@dataclass(frozen=True)
class JointNoise(_OfSkeletons):
    """Move each joint in each step by normal noise of ``sigma`` sizes of the body."""

    sigma: float = 0.01

    def __post_init__(self) -> None:
        check_numbers(self, high=10, sigma=self.sigma)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"noise": normal(shape, generator).mul_(self.sigma)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        return series + parameters["noise"]


@dataclass(frozen=True)
class DropJoints(_OfSkeletons):
    """Put each joint to the origin for the whole time, with probability ``p``."""

    p: float = 0.1

    def __post_init__(self) -> None:
        check_numbers(self, p=self.p)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {"chance": uniform((shape[0], shape[2]), 0, 1, generator)}

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        places = joints_apart(series, facts)
        keep = parameters["chance"][:, : places.shape[2]] >= self.p
        return (places * keep[:, None, :, None]).flatten(2)


@dataclass(frozen=True)
class DropAxis(_OfSkeletons):
    """Put one coordinate of all joints to 0, with probability ``p`` (Guo et al., AAAI 2022)."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_numbers(self, p=self.p)

    def draw(self, shape: tuple[int, int, int], generator: torch.Generator) -> Parameters:
        return {
            "chosen": bernoulli((shape[0], 1), self.p, generator),
            "place": uniform((shape[0], 1), 0, 1, generator),
        }

    def apply(self, series: Tensor, parameters: Parameters, facts: Facts) -> Tensor:
        places = joints_apart(series, facts)
        axes = torch.arange(places.shape[3], device=series.device)
        dropped = ((parameters["place"] * len(axes)).floor() == axes) & parameters["chosen"]
        return (places * ~dropped[:, None, None]).flatten(2)


def _times(places: Tensor, matrix: Tensor) -> Tensor:
    """Each sample's places ``(n, t, joints, d)`` multiplied with its matrix ``(n, d, d)``, as channels."""
    return torch.einsum("nij,ntvj->ntvi", matrix, places).flatten(2)
