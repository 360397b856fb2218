"""Views from which parts are missing: crops, dropped points, cut-out boxes. The number of points stays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.modalities.points.views.base import (
    Augmentation,
    Parameters,
    check_number,
    check_range,
    choose,
    keep_only,
    uniform,
)


@dataclass(frozen=True)
class RandomCrop(Augmentation):
    """Keep the points nearest to a random point of the cloud: a share of them that is uniform in `share`."""

    share: tuple[float, float] = (0.5, 1.0)

    def __post_init__(self) -> None:
        check_range(self, "share", self.share, low=0, high=1)

    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        centre = torch.randint(p, (n, 1), generator=generator, device=generator.device)
        return {"share": uniform((n,), *self.share, generator), "centre": centre}

    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        p = clouds.shape[1]
        centre = choose(clouds[..., :3], parameters["centre"])
        distance = (clouds[..., :3] - centre).square().sum(2)
        count = (parameters["share"] * p).round().long().clamp(1, p)
        rank = distance.argsort(1).argsort(1)
        return keep_only(clouds, rank < count.unsqueeze(1))


@dataclass(frozen=True)
class PointDropout(Augmentation):
    """Drop points at random: each with a probability that is uniform in [0, most), drawn for each cloud."""

    most: float = 0.5

    def __post_init__(self) -> None:
        check_number(self, "most", self.most, low=0, high=1)

    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        ratio = uniform((n, 1), 0, self.most, generator)
        return {"keep": torch.rand((n, p), generator=generator, device=generator.device) >= ratio}

    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        return keep_only(clouds, parameters["keep"])


@dataclass(frozen=True)
class BoxCutout(Augmentation):
    """Cut out what lies in a random box, whose sides are shares of the cloud's extent, uniform in `side`."""

    side: tuple[float, float] = (0.3, 0.6)

    def __post_init__(self) -> None:
        check_range(self, "side", self.side, low=0, high=1)

    def draw(self, n: int, p: int, generator: torch.Generator) -> Parameters:
        side = uniform((n, 3), *self.side, generator)
        return {"side": side, "corner": uniform((n, 3), 0, 1, generator) * (1 - side)}

    def apply(self, clouds: Tensor, parameters: Parameters, *, normals: bool) -> Tensor:
        places = clouds[..., :3]
        low, extent = places.amin(1, keepdim=True), places.amax(1, keepdim=True) - places.amin(1, keepdim=True)
        corner, side = parameters["corner"].unsqueeze(1), parameters["side"].unsqueeze(1)
        offset = places - low - corner * extent
        inside = ((offset >= 0) & (offset < side * extent)).all(2)
        return keep_only(clouds, ~inside)
