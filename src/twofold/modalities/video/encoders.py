"""Encoders of clips by name: `make_encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from twofold.modalities.encoders import Builder, from_name, measured_dim, parsed
from twofold.modalities.video.backbones import FramesConvNet, ResNet3D

__all__ = ["ENCODERS", "VideoEncoder", "make_encoder"]

_OPTIONS = {"w": "width", "d": "depth"}


class VideoEncoder(nn.Module):
    """Clips ``(n, t, c, s, s)`` in [0, 1] to features ``(n, dim)``: normalise, then the backbone.

    Args:
        backbone: ``(n, c, t, s, s)``, normalised, to ``(n, dim)``; any number of frames.
        spec: Of the data: "mean", "std", "channels", "frames", "size".

    Attributes:
        dim: How many numbers the backbone gives a clip, found with a blank one.
        rebuild: {}; the name says all.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, spec: Mapping[str, Any]) -> None:
        super().__init__()
        self.backbone = backbone
        self.rebuild: dict[str, Any] = {}
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(spec[name], dtype=torch.float32).reshape(1, -1, 1, 1, 1))
        channels, frames, size = (int(spec[name]) for name in ("channels", "frames", "size"))
        self.dim = measured_dim(self, torch.zeros(2, max(1, frames // 2), channels, size, size))

    def forward(self, clips: Tensor) -> Tensor:
        """Features ``(n, dim)``."""
        channels = self.mean.shape[1]
        if clips.dim() != 5 or clips.shape[2] != channels:
            raise ValueError(f"clips must have shape (n, frames, {channels}, size, size), got {tuple(clips.shape)}")
        features: Tensor = self.backbone(((clips.transpose(1, 2)) - self.mean) / self.std)
        return features


def make_encoder(encoder: str | nn.Module, spec: Mapping[str, Any]) -> VideoEncoder:
    """An encoder by name, or around a module of your own.

    Names (a suffix such as -w16 sets an option):

    - ``r3d`` (residual, 3 × 3 × 3 kernels; 256 features), ``r3d-w16`` (half as wide), ``r3d-w64-d2`` (R3D-18);
    - ``r2plus1d`` (the same with kernels over space and over time; 256 features), ``r2plus1d-w64-d2`` (R(2+1)D-18);
    - ``frames-convnet`` (each frame by itself, then their mean; 256 features), ``frames-convnet-w16``.

    Random weights are drawn from torch's global generator.

    Args:
        encoder: A name, or a module ``(n, c, t, s, s) -> (n, dim)`` that takes clips normalised by the spec's mean and
            std, of any number of frames. A `VideoEncoder` is handed back as it is.
        spec: Of the data: "channels", "size", "frames", "mean", "std".

    Raises:
        ConfigError: For an unknown name or option, or a module that does not fit.
    """
    if isinstance(encoder, VideoEncoder):
        return encoder
    backbone = encoder if isinstance(encoder, nn.Module) else from_name(encoder, spec, ENCODERS, _OPTIONS)
    return VideoEncoder(backbone, spec)


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder has this name."""
    parsed(name, ENCODERS, _OPTIONS)


def _resnet(spec: Mapping[str, Any], *, factorized: bool, **options: int) -> nn.Module:
    return ResNet3D(int(spec["channels"]), **options, factorized=factorized)


def _frames(spec: Mapping[str, Any], **options: int) -> nn.Module:
    return FramesConvNet(int(spec["channels"]), **options)


ENCODERS: dict[str, tuple[Builder, str]] = {
    "r3d": (partial(_resnet, factorized=False), "wd"),
    "r2plus1d": (partial(_resnet, factorized=True), "wd"),
    "frames-convnet": (_frames, "w"),
}
"""Name → function of the spec, and the letters of the options it takes."""
