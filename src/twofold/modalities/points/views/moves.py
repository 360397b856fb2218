"""Moves that keep every point: rotation, scaling, translation, jitter, mirror images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.modalities.points.views.base import (
    Augmentation,
    Parameters,
    check_number,
    check_range,
    normal,
    uniform,
)

_LARGE = 1e3


@dataclass(frozen=True)
class RandomRotation(Augmentation):
    """Turn about the up axis (z), evenly from -degrees to degrees; with `everywhere`, any rotation, all as likely."""

    degrees: float = 180.0
    everywhere: bool = False

    def __post_init__(self) -> None:
        check_number(self, "degrees", self.degrees, low=0, high=180)

    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        if self.everywhere:
            return {"matrix": random_rotations(n, generator)}
        angle = uniform((n,), -math.radians(self.degrees), math.radians(self.degrees), generator)
        matrix = torch.eye(3, device=angle.device).repeat(n, 1, 1)
        matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
        matrix[:, 0, 1], matrix[:, 1, 0] = -angle.sin(), angle.sin()
        return {"matrix": matrix}

    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        return transformed(clouds, parameters["matrix"], normals=normals)


@dataclass(frozen=True)
class RandomScale(Augmentation):
    """Scale by a factor that is uniform in `scale`: one a cloud, or with `per_axis` one for each axis."""

    scale: tuple[float, float] = (0.8, 1.25)
    per_axis: bool = False

    def __post_init__(self) -> None:
        check_range(self, "scale", self.scale, low=1 / _LARGE, high=_LARGE)

    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        factor = uniform((n, 3 if self.per_axis else 1), *self.scale, generator)
        return {"factor": factor.expand(n, 3).contiguous()}

    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        factor = parameters["factor"].unsqueeze(1)
        parts = [clouds[..., :3] * factor]
        if normals:  # what stood upright on a surface does so after stretching by the inverse factors
            parts.append(F.normalize(clouds[..., 3:6] / factor, dim=2))
        return torch.cat([*parts, clouds[..., 6 if normals else 3 :]], 2)


@dataclass(frozen=True)
class RandomTranslation(Augmentation):
    """Move each cloud along each axis, evenly up to `shift`: a distance, or with `of_extent` a share of its extent."""

    shift: float = 0.2
    of_extent: bool = False

    def __post_init__(self) -> None:
        check_number(self, "shift", self.shift, low=0, high=_LARGE)

    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        return {"shift": uniform((n, 3), -self.shift, self.shift, generator)}

    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        places, shift = clouds[..., :3], parameters["shift"]
        if self.of_extent:
            shift = shift * (places.amax(1) - places.amin(1))
        return torch.cat([places + shift.unsqueeze(1), clouds[..., 3:]], 2)


@dataclass(frozen=True)
class Jitter(Augmentation):
    """Move each point by normal noise of deviation `sigma` along each axis, cut off at `clip`."""

    sigma: float = 0.01
    clip: float = 0.05

    def __post_init__(self) -> None:
        check_number(self, "sigma", self.sigma, low=0, high=_LARGE)
        check_number(self, "clip", self.clip, low=0, high=_LARGE)

    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        return {"noise": normal((n, p, 3), generator).mul_(self.sigma).clamp_(-self.clip, self.clip)}

    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        return torch.cat([clouds[..., :3] + parameters["noise"], clouds[..., 3:]], 2)


@dataclass(frozen=True)
class RandomMirror(Augmentation):
    """Mirror along each level axis (x and y) with probability `p`; up stays up."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "p", self.p, low=0, high=1)

    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        mirrored = torch.rand((n, 2), generator=generator, device=generator.device) < self.p
        sign = torch.cat([1 - 2 * mirrored.float(), torch.ones(n, 1, device=mirrored.device)], 1)
        return {"matrix": torch.diag_embed(sign)}

    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        return transformed(clouds, parameters["matrix"], normals=normals)


def random_rotations(n: int, generator: torch.Generator) -> Tensor:
    """Rotation matrices (n, 3, 3), evenly distributed: unit quaternions from normal numbers (Shoemake, 1992)."""
    w, x, y, z = F.normalize(normal((n, 4), generator), dim=1).unbind(1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], 1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], 1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], 1),
    ]
    return torch.stack(rows, 1)


def transformed(clouds: Tensor, matrix: Tensor, *, normals: bool) -> Tensor:
    """Clouds whose places and normals are multiplied with an orthogonal matrix (n, 3, 3) each."""
    parts = [clouds[..., :3] @ matrix.transpose(1, 2)]
    if normals:
        parts.append(clouds[..., 3:6] @ matrix.transpose(1, 2))
    return torch.cat([*parts, clouds[..., 6 if normals else 3 :]], 2)
