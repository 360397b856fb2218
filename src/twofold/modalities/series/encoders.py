"""Encoders of series by name: `make_encoder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.encoders import from_name, measured_dim, parsed
from twofold.modalities.series.backbones.convolutional import ConvNet1d, ResNet1d
from twofold.modalities.series.backbones.dilated import DilatedConvNet
from twofold.modalities.series.backbones.recurrent import BiGRU
from twofold.modalities.series.backbones.transformer import ConvTransformer

__all__ = ["ENCODERS", "SeriesEncoder", "TwoStream", "make_encoder"]

_OPTIONS = {"w": "width", "d": "depth"}
_FACTS = ("channels", "length", "mean", "std")
Series = Tensor | Mapping[str, Tensor]
"""Series ``(n, t, c)``, or a view that holds them under "series" beside what a recipe must know."""


class SeriesEncoder(nn.Module):
    """Series (n, t, c) of any length t to features (n, dim): normalise, then the backbone.

    Args:
        backbone: (n, t, c), normalised, to (n, dim); with a method `step_features` also to (n, t, width).
        spec: Of the data: "channels", "length", "mean", "std".

    Attributes:
        dim: How many numbers the backbone gives a series, found with a blank one.
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
        self.dim = measured_dim(self, torch.zeros(2, int(spec["length"]), int(spec["channels"])))

    @property
    def has_step_features(self) -> bool:
        """Whether :meth:`step_features` gives something."""
        return hasattr(self.backbone, "step_features")

    def forward(self, series: Series) -> Tensor:
        """Features (n, dim)."""
        features: Tensor = self.backbone(self.normalized(series))
        return features

    def step_features(self, series: Series, keep: Tensor | None = None) -> Tensor:
        """Features of the steps (n, t, width), where the backbone has them.

        Args:
            series: As in :meth:`forward`.
            keep: bool (n, t); the other steps are hidden: by the backbone, if it can, else they are put to the mean.

        Raises:
            ConfigError: If the backbone has no features of steps.
        """
        if not self.has_step_features:
            raise ConfigError(f"{type(self.backbone).__name__} has no features of single steps")
        values, backbone = self.normalized(series), cast(Any, self.backbone)
        if keep is None:
            features: Tensor = backbone.step_features(values)
        elif isinstance(backbone, DilatedConvNet):
            features = backbone.step_features(values, keep)
        else:
            features = backbone.step_features(values * keep[:, :, None])
        return features

    def normalized(self, series: Series) -> Tensor:
        """Series with mean 0 and deviation 1 in each channel."""
        values = series["series"] if isinstance(series, Mapping) else series
        if values.dim() != 3 or values.shape[2] != len(self.mean):
            raise ValueError(f"series must have shape (n, steps, {len(self.mean)}), got {tuple(values.shape)}")
        return (values - self.mean) / self.std


class TwoStream(nn.Module):
    """One encoder for each part of the channels (two kinds of sensors, say); the features are theirs side by side.

    Args:
        parts: How many channels each part has, in order.
        width: Of the transformers that encode the parts.
        depth: Of these.
    """

    def __init__(self, parts: list[int], width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.parts = list(parts)
        self.streams = nn.ModuleList(ConvTransformer(channels, width, depth) for channels in self.parts)
        self.dims = [width] * len(self.parts)

    def stream(self, series: Tensor, number: int) -> Tensor:
        """Features (n, dims[number]) of one part of normalised series (n, t, c)."""
        features: Tensor = self.streams[number](series.split(self.parts, dim=2)[number])
        return features

    def forward(self, series: Tensor) -> Tensor:
        """Features (n, sum of dims)."""
        return torch.cat([self.stream(series, number) for number in range(len(self.parts))], 1)


def _own(backbone: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    def build(spec: Mapping[str, Any], **options: int) -> nn.Module:
        return backbone(int(spec["channels"]), **options)

    return build


def _two_stream(spec: Mapping[str, Any], **options: int) -> nn.Module:
    parts = spec.get("parts")
    if parts is None or len(parts) != 2:
        raise ConfigError(
            "two-stream needs to know which channels belong together: read the data with parts=, such as parts='3,3' "
            "for an accelerometer and a gyroscope"
        )
    return TwoStream(parts, **options)


ENCODERS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "convnet1d": (_own(ConvNet1d), "w"),
    "resnet1d": (_own(ResNet1d), "w"),
    "dilated-convnet": (_own(DilatedConvNet), "wd"),
    "bigru": (_own(BiGRU), "wd"),
    "conv-transformer": (_own(ConvTransformer), "wd"),
    "two-stream": (_two_stream, "wd"),
}
"""Name → function of the spec, and the letters of the options it takes."""


def make_encoder(encoder: str | nn.Module, spec: Mapping[str, Any]) -> SeriesEncoder:
    """An encoder by name, or around a module of your own.

    Names (a suffix such as -w16 sets an option):

    - ``convnet1d`` (three convolutions, 128 features), ``convnet1d-w64`` (as wide as published);
    - ``resnet1d`` (three residual units, 256 features), ``resnet1d-w16``;
    - ``dilated-convnet`` (TS2Vec's, 320 features), ``dilated-convnet-w16-d6``;
    - ``bigru`` (64 units each way, 256 features), ``bigru-w128-d2``;
    - ``conv-transformer`` (convolutions and two transformer blocks, 128 features), ``conv-transformer-w64-d1``;
    - ``two-stream`` (one conv-transformer for each of two parts of the channels, 128 features).

    Args:
        encoder: A name, or a module (n, t, channels) -> (n, dim) that takes series normalised by the spec's mean and
            std. A `SeriesEncoder` is handed back as it is.
        spec: Of the data: "channels", "length", "mean", "std"; for two-stream "parts".

    Raises:
        ConfigError: For an unknown name or option, or a spec that lacks something.
    """
    if isinstance(encoder, SeriesEncoder):
        return encoder
    if missing := [key for key in _FACTS if key not in spec]:
        raise ConfigError(f"the spec of series lacks {', '.join(missing)}; it has: {', '.join(spec) or 'nothing'}")
    backbone = encoder if isinstance(encoder, nn.Module) else from_name(encoder, spec, ENCODERS, _OPTIONS)
    return SeriesEncoder(backbone, spec)


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder has this name."""
    parsed(name, ENCODERS, _OPTIONS)
