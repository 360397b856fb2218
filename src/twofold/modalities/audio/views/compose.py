"""Views of a batch: a crop, changes of the waveform, its log-mel spectrogram, changes of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.modalities.audio.spectrogram import frame_count, log_mel
from twofold.modalities.audio.views.base import Augmentation, Parameters, to_device
from twofold.modalities.audio.views.waves import RandomCrop, as_float, repeated


@dataclass(frozen=True)
class View:
    """One random view of every clip in a batch.

    Args:
        rate: Samples a second of the clips.
        crop: Which stretch of a clip to take.
        waves: What to do with its waveform, in this order.
        spectra: What to do with its log-mel spectrogram then.
    """

    rate: int
    crop: RandomCrop
    waves: tuple[Augmentation, ...] = ()
    spectra: tuple[Augmentation, ...] = ()

    def __call__(self, inputs: Tensor, *, generator: torch.Generator, length: Tensor | None = None) -> Tensor:
        """Make the view.

        All parameters are drawn first, for the whole batch, on the generator's device. So a view depends on the seed
        and the batch, and (beyond rounding) not on the device of ``inputs``.

        Args:
            inputs: int16, or float in [-1, 1], ``(n, samples)``.
            generator: Source of all randomness.
            length: int64 ``(n,)``, how many samples of each clip are sound; None: all. Shorter sounds are
                repeated.

        Returns:
            float32 ``(n, 1, mels, frames)``, log-mel spectrograms.

        Raises:
            DataError: If ``inputs`` or ``length`` have the wrong shape or type.
        """
        length = checked_length(inputs, length)
        place, waves, spectra = self.draw(len(inputs), generator)
        x = self.crop.apply(inputs, length, to_device(place, inputs.device))
        x = _applied(self.waves, x, waves)
        return _applied(self.spectra, log_mel(x, self.rate), spectra)

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Parameters, tuple[Parameters, ...], tuple[Parameters, ...]]:
        """The parameters of the crop and of both groups of augmentations, for ``count`` clips."""
        samples = self.crop.samples
        shape = (count, 1, frame_count(samples, self.rate))
        return (
            self.crop.draw(count, generator),
            tuple(step.draw((count, samples), generator) for step in self.waves),
            tuple(step.draw(shape, generator) for step in self.spectra),
        )


@dataclass(frozen=True)
class MultiView:
    """Several views of every clip in a batch, one after the other from one generator.

    Args:
        views: What to make.
    """

    views: tuple[View, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))  # a list will do, but must not change later
        if not self.views:
            raise ConfigError("MultiView needs at least one view.")

    def __len__(self) -> int:
        return len(self.views)

    def __call__(
        self, inputs: Tensor, *, generator: torch.Generator, length: Tensor | None = None, **_: Any
    ) -> list[Tensor]:
        """Make all views; arguments and errors are those of :class:`View`."""
        return [view(inputs, generator=generator, length=length) for view in self.views]


def whole_view(inputs: Tensor, *, rate: int, length: Tensor | None = None) -> Tensor:
    """The clips as they are, short ones repeated, as log-mel spectrograms ``(n, 1, mels, frames)``.

    Arguments and errors are those of :class:`View`.
    """
    length = checked_length(inputs, length)
    return log_mel(as_float(repeated(inputs, length, torch.zeros_like(length), inputs.shape[1])), rate)


def checked_length(inputs: Tensor, length: Tensor | None) -> Tensor:
    """The lengths, or the full ones, on the device of ``inputs``.

    Raises:
        DataError: If ``inputs`` or ``length`` have the wrong shape, type or range.
    """
    if inputs.ndim != 2 or 0 in inputs.shape:
        raise DataError(f"Clips must have shape (n, samples), but these have {tuple(inputs.shape)}.")
    if inputs.dtype != torch.int16 and not inputs.is_floating_point():
        raise DataError(f"Clips must be int16 or floats in [-1, 1], but these are {inputs.dtype}.")
    if length is None:
        return torch.full((len(inputs),), inputs.shape[1], device=inputs.device)
    if length.shape != (len(inputs),) or length.is_floating_point():
        raise DataError(f"`length` needs one whole number a clip, shape ({len(inputs)},), not {tuple(length.shape)}.")
    return length.to(inputs.device).clamp(1, inputs.shape[1])


def _applied(steps: tuple[Augmentation, ...], x: Tensor, drawn: tuple[Parameters, ...]) -> Tensor:
    for step, parameters in zip(steps, drawn, strict=True):
        x = step.apply(x, to_device(parameters, x.device))
    return x
