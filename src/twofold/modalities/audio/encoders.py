"""Audio encoders by name, from log-mel spectrograms to features: `make_encoder`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.audio.spectrogram import MELS, frame_count
from twofold.modalities.encoders import Builder, from_name, measured_dim, parsed
from twofold.nn.attention import EncoderLayer

__all__ = ["ENCODERS", "AudioEncoder", "make_encoder"]

_OPTIONS = {"w": "width", "d": "depth"}
_LONGEST_PERIOD = 10_000.0


class AudioEncoder(nn.Module):
    """Log-mel spectrograms ``(n, 1, mels, frames)`` to features ``(n, dim)``: normalise, then the backbone.

    Args:
        backbone: ``(n, 1, mels, frames)``, normalised, to ``(n, dim)``; any number of frames.
        dim: How many numbers it gives a clip.
        mean: Subtracted from the spectrogram.
        std: Divided by; > 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, dim: int, *, mean: float, std: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.dim = dim
        self.rebuild: dict[str, Any] = {}
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Features ``(n, dim)``."""
        if spectrograms.dim() != 4 or spectrograms.shape[1:3] != (1, MELS):
            raise ValueError(
                f"spectrograms must have shape (n, 1, {MELS}, frames), got {tuple(spectrograms.shape)}; "
                "twofold.modalities.audio.spectrogram.log_mel makes them from waveforms"
            )
        return self.backbone((spectrograms - self.mean) / self.std)


class LogMelConvNet(nn.Module):
    """Three strided convolutions (width, 2·width, 4·width) with batch norm and ReLU; then mean plus maximum over time.

    What is pooled keeps the frequency: 8 bands of 4·width channels, since the place of a pattern in time says little
    about a sound, and its place in frequency much. Mean plus maximum is BYOL-A's (Niizumi et al., TASLP 2023).

    Args:
        width: Channels of the first convolution.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.dim = 4 * width * (MELS // 8)
        self.layers = nn.Sequential(
            *_block(1, width, kernel=4), *_block(width, 2 * width), *_block(2 * width, 4 * width)
        )

    def maps(self, spectrograms: Tensor) -> Tensor:
        """Feature maps ``(n, 4·width, mels / 8, about frames / 8)``."""
        return self.layers(spectrograms)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Features ``(n, dim)``."""
        maps = self.maps(spectrograms)
        return (maps.mean(3) + maps.amax(3)).flatten(1)


class SpectrogramTransformer(nn.Module):
    """A small transformer on patches of 16 × 16 of the spectrogram (AST: Gong et al., Interspeech 2021).

    Unlike AST, patches do not overlap, positions are fixed sines and cosines, so that clips may have any length, and
    the feature is the mean of all tokens.

    Args:
        width: Of the tokens; a multiple of 64.
        depth: Blocks.
    """

    patch = 16

    def __init__(self, width: int = 192, depth: int = 4) -> None:
        super().__init__()
        if width % 64:
            raise ConfigError(f"encoder 'ast-tiny': its width must be a multiple of 64, not {width}")
        self.dim = width
        self.patches = nn.Conv2d(1, width, self.patch, stride=self.patch)
        self.blocks = nn.ModuleList(
            EncoderLayer(
                width, width // 64, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Features ``(n, dim)``; frames beyond the last whole patch are filled up with the mean, 0."""
        missing = -spectrograms.shape[3] % self.patch
        maps = self.patches(nn.functional.pad(spectrograms, (0, missing)))  # (n, dim, bands, times)
        tokens = (maps + positions(*maps.shape[1:]).to(maps)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens).mean(1)


def positions(dim: int, bands: int, times: int) -> Tensor:
    """Sines and cosines of band and time at dim/4 frequencies from 1 to 1/10000, ``(dim, bands, times)``."""
    frequency = _LONGEST_PERIOD ** -(torch.arange(dim // 4) / (dim // 4))
    band = frequency[:, None, None] * torch.arange(bands)[:, None]
    time = frequency[:, None, None] * torch.arange(times)
    parts = [function(angle).expand(-1, bands, times) for angle in (band, time) for function in (torch.sin, torch.cos)]
    return torch.cat(parts)


def make_encoder(name: str | nn.Module, spec: Mapping[str, Any]) -> AudioEncoder:
    """An encoder by name, or around a module of your own.

    Names (a suffix such as -w64 sets an option):

    - ``logmel-convnet`` (three strided convolutions, 1024 features), ``logmel-convnet-w16`` (half as wide: 512);
    - ``ast-tiny`` (a transformer on 16 × 16 patches, 192 features, 4 blocks), ``ast-tiny-w128-d6``.

    Random weights are drawn from torch's global generator.

    Args:
        name: A name, or a module ``(n, 1, mels, frames) -> (n, dim)`` that takes log-mel spectrograms normalised by
            the spec's mean and std, of any number of frames; its `dim` is read from it, or found with a blank clip.
            An `AudioEncoder` is handed back as it is.
        spec: Of the data: "mean", "std", "rate", "length".

    Raises:
        ConfigError: For an unknown name or option, or a module that does not fit.
    """
    if isinstance(name, AudioEncoder):
        return name
    backbone = name if isinstance(name, nn.Module) else from_name(name, spec, ENCODERS, _OPTIONS)
    encoder = AudioEncoder(backbone, 0, mean=spec["mean"], std=spec["std"])
    weight = next(backbone.parameters(), None)
    if weight is not None:
        encoder.to(weight.device)
    blank = torch.full((2, 1, MELS, frame_count(spec["length"], spec["rate"])), float(spec["mean"]))
    encoder.dim = measured_dim(encoder, blank)
    return encoder


def _convnet(spec: Mapping[str, Any], *, width: int = 32) -> nn.Module:
    return LogMelConvNet(width)


def _transformer(spec: Mapping[str, Any], *, width: int = 192, depth: int = 4) -> nn.Module:
    return SpectrogramTransformer(width, depth)


ENCODERS: dict[str, tuple[Builder, str]] = {
    "logmel-convnet": (_convnet, "w"),
    "ast-tiny": (_transformer, "wd"),
}
"""Name → function of the spec, and the letters of the options it takes."""


def _block(channels: int, width: int, *, kernel: int = 3) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, width, kernel, stride=2, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder has this name."""
    parsed(name, ENCODERS, _OPTIONS)
