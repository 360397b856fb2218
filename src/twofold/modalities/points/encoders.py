"""Encoders of clouds by name: `make_encoder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.encoders import from_name, measured_dim, parsed
from twofold.modalities.points.backbones.dgcnn import DGCNN
from twofold.modalities.points.backbones.pointnet import PointNet
from twofold.modalities.points.backbones.transformer import PointTransformer

__all__ = ["ENCODERS", "PointEncoder", "make_encoder"]

_OPTIONS = {"w": "width", "d": "depth", "g": "patches", "k": "neighbours"}
_FACTS = ("channels", "points", "mean", "std")


class PointEncoder(nn.Module):
    """Clouds (n, p, channels) to features (n, dim): normalise, then the backbone.

    Args:
        backbone: (n, p, channels), normalised, to (n, dim).
        spec: Of the data: "channels", "points", "mean", "std".

    Attributes:
        dim: How many numbers the backbone gives a cloud, found with a blank one.
        rebuild: {}; the name says all.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        self.rebuild: dict[str, Any] = {}
        self.register_buffer("mean", torch.tensor(spec["mean"], dtype=torch.float32))
        self.register_buffer("std", torch.tensor(spec["std"], dtype=torch.float32))
        self.dim = measured_dim(self, torch.zeros(2, int(spec["points"]), int(spec["channels"])))

    def forward(self, clouds: Tensor) -> Tensor:
        """Features (n, dim)."""
        features: Tensor = self.backbone(self.normalized(clouds))
        return features

    def normalized(self, clouds: Tensor) -> Tensor:
        """Clouds with mean 0 and deviation 1; the three axes are scaled alike."""
        if clouds.dim() != 3 or clouds.shape[2] != len(self.mean):
            raise ValueError(f"clouds must have shape (n, points, {len(self.mean)}), got {tuple(clouds.shape)}")
        return (clouds - self.mean) / self.std


def _own(backbone: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def build(spec: Mapping[str, Any], **options: int) -> nn.Module:
        return backbone(int(spec["channels"]), **options)

    return build


ENCODERS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "pointnet": (_own(PointNet), "w"),
    "dgcnn": (_own(DGCNN), "wk"),
    "point-transformer": (_own(PointTransformer), "wdgk"),
}
"""Name → function of the spec, and the letters of the options it takes."""


def make_encoder(encoder: str | nn.Module, spec: Mapping[str, Any]) -> PointEncoder:
    """An encoder by name, or around a module of your own.

    Names (a suffix such as -w32 sets an option):

    - ``pointnet`` (shared layers 64 to 1024 wide, maximum; 1024 features, without T-nets), ``pointnet-w32`` (half as
      wide, 512 features, half the time);
    - ``dgcnn`` (edge convolutions over the 20 nearest points; 2048 features), ``dgcnn-w32-k10``;
    - ``point-transformer`` (192 wide, 6 blocks, 64 patches of 32 points; 384 features),
      ``point-transformer-w96-d4-g32-k16`` (96 wide, 4 blocks, 32 patches of 16 points).

    Args:
        encoder: A name, or a module (n, points, channels) -> (n, dim) that takes clouds normalised by the spec's mean
            and std. A `PointEncoder` is handed back as it is.
        spec: Of the data: "channels", "points", "mean", "std".

    Raises:
        ConfigError: For an unknown name or option, or a spec that lacks something.
    """
    if isinstance(encoder, PointEncoder):
        return encoder
    if missing := [key for key in _FACTS if key not in spec]:
        raise ConfigError(f"the spec of point data lacks {', '.join(missing)}; it has: {', '.join(spec) or 'nothing'}")
    backbone = encoder if isinstance(encoder, nn.Module) else from_name(encoder, spec, ENCODERS, _OPTIONS)
    return PointEncoder(backbone, spec)


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder has this name."""
    parsed(name, ENCODERS, _OPTIONS)
