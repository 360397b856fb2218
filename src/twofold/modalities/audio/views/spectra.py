"""Augmentations of log-mel spectrograms ``(n, 1, mels, frames)``: other sounds behind, stretching, masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.errors import ConfigError
from twofold.modalities.audio.views.base import (
    Augmentation,
    Parameters,
    check_range,
    check_share,
    per_clip,
    uniform,
)


@dataclass(frozen=True)
class Mixup(Augmentation):
    """Another clip of the batch in the background: log((1 - λ) exp(x) + λ exp(x')).

    The powers are mixed, not their logarithms. This is BYOL-A's (Niizumi et al., IJCNN 2021), which takes x' from the
    last 2048 clips; here it is one of the batch.

    Args:
        share: Largest λ; the paper's 0.4. λ is drawn from [0, share).
    """

    share: float = 0.4

    def __post_init__(self) -> None:
        check_share(self, share=self.share)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Parameters:
        n = shape[0]
        other = uniform((n,), 0, 1, generator).argsort()
        return {"share": uniform((n,), 0, self.share, generator), "other": other}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        share = per_clip(parameters["share"], x)
        return torch.logaddexp(x + torch.log1p(-share), x[parameters["other"]] + share.log())


@dataclass(frozen=True)
class RandomResizedCrop(Augmentation):
    """Stretched, squeezed and shifted in frequency and time (BYOL-A: Niizumi et al., IJCNN 2021).

    A box is cut out of a canvas, in whose middle the spectrogram lies, and resized to the spectrogram's shape,
    bilinearly. Outside of the spectrogram the canvas has its mean. With ``frequency=(1, 1)`` time is stretched and
    pitch stays.

    Args:
        frequency: Bounds of the box's height, as a share of the bands; at most all of them.
        time: Bounds of its width, as a share of the frames.
        canvas: Width of the canvas, as a multiple of the frames.
    """

    frequency: tuple[float, float] = (0.6, 1.5)
    time: tuple[float, float] = (0.6, 1.5)
    canvas: float = 1.5

    def __post_init__(self) -> None:
        for name in ("frequency", "time"):
            check_range(self, name, getattr(self, name), low=0.05, high=4)
        if not 1 <= self.canvas <= 4:
            raise ConfigError(f"RandomResizedCrop: canvas must lie between 1 and 4, not {self.canvas!r}.")

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Parameters:
        """Centers and half lengths of the boxes, where the spectrogram reaches from -1 to 1."""
        parameters = {}
        for name, bounds, canvas in (("frequency", self.frequency, 1.0), ("time", self.time, self.canvas)):
            half = uniform(shape[:1], *bounds, generator).clamp(max=canvas)
            parameters[f"{name}_half"] = half
            parameters[f"{name}_center"] = uniform(shape[:1], -1, 1, generator) * (canvas - half)
        return parameters

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        n, _, bands, frames = x.shape
        mean = x.mean((2, 3), keepdim=True)
        theta = x.new_zeros(n, 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = parameters["time_half"], parameters["time_center"]
        theta[:, 1, 1], theta[:, 1, 2] = parameters["frequency_half"], parameters["frequency_center"]
        grid = F.affine_grid(theta, [n, 1, bands, frames], align_corners=False)
        return F.grid_sample(x - mean, grid, "bilinear", "zeros", align_corners=False) + mean


@dataclass(frozen=True)
class Mask(Augmentation):
    """Stripes across the spectrogram get its mean (SpecAugment: Park et al., Interspeech 2019, section 2).

    Args:
        along: Which way the stripes hide: some bands ("frequency") or some frames ("time").
        share: Greatest width of a stripe, as a share of the bands or frames; the paper's policy LD hides up to
            27 of 80 bands.
        count: Stripes of each spectrogram; the paper's LD has 2 either way.
    """

    along: Literal["frequency", "time"]
    share: float = 0.3
    count: int = 2

    def __post_init__(self) -> None:
        check_share(self, share=self.share)
        if self.along not in ("frequency", "time"):
            raise ConfigError(f"Mask: along must be 'frequency' or 'time', not {self.along!r}.")
        if self.count < 1:
            raise ConfigError(f"Mask: count must be 1 or more, not {self.count!r}.")

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Parameters:
        """First line and the one after the last, ``(n, count)`` each, of bands or frames that reach from 0 to 1."""
        width = uniform((shape[0], self.count), 0, self.share, generator)
        start = uniform((shape[0], self.count), 0, 1, generator) * (1 - width)
        return {"start": start, "end": start + width}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        lines = x.shape[2] if self.along == "frequency" else x.shape[3]
        middle = (torch.arange(lines, device=x.device) + 0.5) / lines
        start, end = parameters["start"][..., None], parameters["end"][..., None]
        hidden = ((middle >= start) & (middle < end)).any(1)  # (n, lines)
        hidden = hidden[:, None, :, None] if self.along == "frequency" else hidden[:, None, None, :]
        return torch.where(hidden, x.mean((2, 3), keepdim=True), x)


@dataclass(frozen=True)
class Fader(Augmentation):
    """Louder or softer in the course of the clip, linearly (BYOL-A's RandomLinearFader: Niizumi et al., TASLP 2023).

    Args:
        gain: Greatest change at either end, in the spectrogram's own unit; the paper's is 1 after dividing by the
            deviation of the data.
    """

    gain: float

    def __post_init__(self) -> None:
        check_range(self, "gain", (0, self.gain), low=0, high=20)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Parameters:
        return {"ends": uniform((shape[0], 2), -self.gain, self.gain, generator)}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        time = torch.linspace(0, 1, x.shape[3], device=x.device)
        first, last = (per_clip(end, x) for end in parameters["ends"].unbind(1))
        return x + first * (1 - time) + last * time
