"""Views of a batch of clips: frames, then a crop and augmentations whose parameters all frames of a clip share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.modalities.pixels.base import Parameters, check_aspect, check_images
from twofold.modalities.pixels.compose import View
from twofold.modalities.pixels.geometry import center_view
from twofold.modalities.video.views.timing import Timing


@dataclass(frozen=True)
class ClipView:
    """One random view of the frames of every clip in a batch.

    Args:
        picture: What is done to a frame: a crop, and augmentations.
        consistent: Draw the parameters once a clip (Qian et al., CVPR 2021, algorithm 1); otherwise every frame gets
            parameters of its own, which tears motion apart and is here to be compared with.
    """

    picture: View
    consistent: bool = True

    def __call__(self, clips: Tensor, *, generator: torch.Generator, aspect: Tensor | None = None) -> Tensor:
        """Make the view.

        Args:
            clips: (n, t, c, s, s), uint8 or float in [0, 1].
            generator: Source of all randomness.
            aspect: (n,) original width / height of clips that were squashed to a square; None if none was.

        Returns:
            float32 (n, t, c, size, size) in [0, 1].

        Raises:
            DataError: If an argument has the wrong shape, type or range.
        """
        n, t = clips.shape[:2]
        frames = clips.flatten(0, 1)
        check_images(frames)
        check_aspect(aspect, n)
        if self.consistent:
            parameters = self.picture.draw(clips[:, 0], generator=generator, aspect=aspect)
            parameters = tuple(_every_frame(values, t) for values in parameters)
        else:
            aspect = None if aspect is None else aspect.repeat_interleave(t)
            parameters = self.picture.draw(frames, generator=generator, aspect=aspect)
        return self.picture.apply(frames, parameters).unflatten(0, (n, t))


@dataclass(frozen=True)
class MultiView:
    """Several views of every clip in a batch.

    Args:
        timing: Which frames they see.
        views: What is done to these.
        channels: The only number of channels to accept.
    """

    timing: Timing
    views: tuple[ClipView, ...]
    channels: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "views", tuple(self.views))  # a list will do, but must not change later
        if not self.views:
            raise ConfigError("MultiView needs at least one view.")

    def __len__(self) -> int:
        return len(self.views)

    def __call__(
        self,
        inputs: Tensor,
        *,
        generator: torch.Generator,
        length: Tensor | None = None,
        aspect: Tensor | None = None,
    ) -> list[Tensor]:
        """Make all views: first their places in time, then one view after the other.

        Args:
            inputs: (n, t, c, s, s), uint8 or float in [0, 1].
            generator: Source of all randomness.
            length: int64 (n,), how many frames of each clip are its own; None: all.
            aspect: As of `ClipView`.

        Returns:
            For each view float32 (n, frames, c, size, size) in [0, 1].

        Raises:
            DataError: If an argument has the wrong shape or range.
        """
        length = check_clips(inputs, length)
        if inputs.shape[2] != self.channels:
            raise DataError(
                f"These views were made for clips with {self.channels} channels, but these have {inputs.shape[2]}."
            )
        starts = self.timing.draw(length, len(self.views), generator)
        made = []
        for view, start in zip(self.views, starts, strict=True):
            places = self.timing.places(start.to(inputs.device), length)
            made.append(view(choose(inputs, places), generator=generator, aspect=aspect))
        return made


def whole_view(inputs: Tensor, *, size: int, length: Tensor | None = None, aspect: Tensor | None = None) -> Tensor:
    """The view for evaluation: all frames, clips that are shorter repeated, the centre of each; nothing is random.

    Args:
        inputs: (n, t, c, s, s), uint8 or float in [0, 1].
        size: Side of the result.
        length: int64 (n,), how many frames of each clip are its own; None: all.
        aspect: (n,) original width / height; None if all were square.

    Returns:
        float32 (n, t, c, size, size) in [0, 1].

    Raises:
        DataError: If an argument has the wrong shape or range.
    """
    length = check_clips(inputs, length)
    n, t = inputs.shape[:2]
    start = torch.zeros(n, dtype=torch.int64, device=inputs.device)
    frames = choose(inputs, Timing(t).places(start, length)).flatten(0, 1)
    aspect = None if aspect is None else aspect.repeat_interleave(t)
    return center_view(frames, size=size, aspect=aspect).unflatten(0, (n, t))


def still(inputs: Tensor, *, length: Tensor | None = None) -> Tensor:
    """The middle frame of each clip, (n, c, s, s)."""
    length = check_clips(inputs, length)
    return choose(inputs, (length // 2)[:, None])[:, 0]


def choose(clips: Tensor, places: Tensor) -> Tensor:
    """Frames of each clip by number: clips (n, t, ...), places int64 (n, k) -> (n, k, ...)."""
    rows = torch.arange(len(clips), device=clips.device)
    return clips[rows[:, None], places]


def check_clips(clips: Tensor, length: Tensor | None) -> Tensor:
    """The lengths of clips, all of them if None; DataError unless both have the right shape and range."""
    if clips.ndim != 5 or 0 in clips.shape[1:]:
        raise DataError(f"Clips must have shape (n, frames, channels, size, size), but these have {_shape(clips)}.")
    n, t = clips.shape[:2]
    if length is None:
        return torch.full((n,), t, device=clips.device)
    if length.shape != (n,) or (n and not 1 <= int(length.min()) <= int(length.max()) <= t):
        raise DataError(f"`length` must hold {n} numbers of frames from 1 to {t}, one for each clip.")
    return length.to(clips.device)


def _every_frame(parameters: Parameters, frames: int) -> Parameters:
    return {name: value.repeat_interleave(frames, 0) for name, value in parameters.items()}


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
