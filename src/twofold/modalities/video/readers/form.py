"""What every reader brings a clip to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twofold.modalities.pixels.decode import UnreadableError


@dataclass(frozen=True)
class Form:
    """The form of the clips of a data set.

    Attributes:
        size: Side of the squares that frames are squashed to, in pixels.
        channels: 1 (grey) or 3 (RGB).
        frames: How many frames are kept of a clip, from its beginning, at most.
        fps: Frames a second that clips with times are brought to; slower ones keep all their frames.
        stride: Of the frames that then remain, every how manieth is kept.
    """

    size: int
    channels: int
    frames: int
    fps: float
    stride: int = 1


@dataclass(frozen=True)
class Clip:
    """A decoded clip: uint8 ``(frames, channels, size, size)``, and the original width / height."""

    pixels: np.ndarray
    aspect: float

    @classmethod
    def of(cls, frames: list[np.ndarray], aspect: float, *, pace: str = "") -> Clip:
        """A clip of the frames that were kept; ``pace`` says at which pace, for the message.

        Raises:
            UnreadableError: If they are fewer than two: without motion it is a picture.
        """
        if len(frames) < 2:
            raise UnreadableError(f"holds {len(frames) or 'no'} frame{'s' * (not frames)}{pace}, and a clip needs two")
        return cls(np.stack(frames), aspect)


class Pace:
    """Which frames of a film are kept: those that are due at a number of frames a second, then every ``stride``-th.

    A frame is due when as much time has passed as the frames kept so far stand for; none is ever repeated.
    """

    def __init__(self, form: Form) -> None:
        self._fps, self._stride = form.fps, form.stride
        self._start: float | None = None
        self._slot, self._passed = -1, -1

    def keeps(self, time: float) -> bool:
        """Whether to keep the frame shown from ``time`` on, in seconds; frames come in the order of their times."""
        self._start = time if self._start is None else self._start
        slot = int((time - self._start) * self._fps + 1e-3)  # times are rounded: 2.9999 is 3
        if slot <= self._slot:
            return False
        self._slot = slot
        self._passed += 1
        return self._passed % self._stride == 0
