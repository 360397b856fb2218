"""Augmentations of waveforms ``(n, samples)``: where to listen, how loud, which noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError
from twofold.modalities.audio.readers.decode import FULL_SCALE
from twofold.modalities.audio.views.base import (
    Augmentation,
    Parameters,
    bernoulli,
    check_range,
    check_share,
    per_clip,
    uniform,
)


@dataclass(frozen=True)
class RandomCrop:
    """A stretch of each clip at a random place, as floats.

    Two of one clip are the positive pair of COLA (Saeed et al., ICASSP 2021). Of a clip that is shorter than the
    stretch it is all, repeated from a random place: a shift in time.

    Args:
        samples: Length of the stretch.
    """

    samples: int

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ConfigError(f"RandomCrop: samples must be 1 or more, not {self.samples}.")

    def draw(self, count: int, generator: torch.Generator) -> Parameters:
        """``"place"``, in [0, 1): from as early as possible to as late."""
        return {"place": uniform((count,), 0, 1, generator)}

    def apply(self, waves: Tensor, length: Tensor, parameters: Parameters) -> Tensor:
        """The stretches, float32 ``(n, samples)``.

        Args:
            waves: int16 or float ``(n, samples of a clip)``.
            length: int64 ``(n,)``, how many of these samples are sound.
            parameters: As of :meth:`draw`, on the same device.
        """
        places = torch.where(length < self.samples, length, length - self.samples + 1)
        start = (parameters["place"] * places).long().minimum(places - 1)
        return as_float(repeated(waves, length, start, self.samples))


@dataclass(frozen=True)
class Gain(Augmentation):
    """Louder or softer by some decibels.

    Args:
        decibels: Bounds of the change.
    """

    decibels: tuple[float, float] = (-12.0, 6.0)

    def __post_init__(self) -> None:
        check_range(self, "decibels", self.decibels, low=-120, high=120)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Parameters:
        return {"factor": 10 ** (uniform(shape[:1], *self.decibels, generator) / 20)}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        return x * per_clip(parameters["factor"], x)


@dataclass(frozen=True)
class Polarity(Augmentation):
    """The waveform upside down. A log-mel spectrogram does not show it; encoders of waveforms see it.

    Args:
        p: Probability.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        check_share(self, p=self.p)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Parameters:
        return {"sign": 1.0 - 2.0 * bernoulli(shape[0], self.p, generator)}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        return x * per_clip(parameters["sign"], x)


@dataclass(frozen=True)
class Noise(Augmentation):
    """White Gaussian noise at a random signal-to-noise ratio. Silence stays silent.

    Args:
        decibels: Bounds of the ratio of the clip's mean power to that of the noise.
        p: Probability.
    """

    decibels: tuple[float, float] = (5.0, 40.0)
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "decibels", self.decibels, low=-60, high=120)
        check_share(self, p=self.p)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Parameters:
        ratio = 10 ** (-uniform(shape[:1], *self.decibels, generator) / 20)
        chosen = bernoulli(shape[0], self.p, generator)
        noise = torch.randn(shape, generator=generator, device=generator.device)
        return {"ratio": ratio * chosen, "noise": noise}

    def apply(self, x: Tensor, parameters: Parameters) -> Tensor:
        level = x.square().mean(1, keepdim=True).sqrt()
        return x + parameters["noise"] * level * per_clip(parameters["ratio"], x)


def repeated(waves: Tensor, length: Tensor, start: Tensor, samples: int) -> Tensor:
    """``samples`` of each clip from ``start`` on, from its beginning again after ``length``.

    So what is short fills a view without silence, whose edges would be the most striking thing in it and differ with
    the level of the recording's background (repeat padding, as of Wu et al., ICASSP 2023).
    """
    place = start[:, None] + torch.arange(samples, device=waves.device)
    return waves.gather(1, place.remainder_(length[:, None]))


def as_float(waves: Tensor) -> Tensor:
    """Waveforms in [-1, 1], from 16 bits if they are that."""
    return waves.float() if waves.is_floating_point() else waves.float() / FULL_SCALE
