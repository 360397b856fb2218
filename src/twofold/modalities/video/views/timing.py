"""Which frames views see: two parts of a clip, farther apart the less often (Qian et al., CVPR 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from twofold.errors import ConfigError

Interval = Literal["decreasing", "uniform", "zero"]

INTERVALS: dict[str, Callable[[Tensor], Tensor]] = {
    "decreasing": lambda u: 1 - (1 - u).sqrt(),
    "uniform": lambda u: u,
    "zero": torch.zeros_like,
}
"""Inverse distribution functions of the interval between two views, as a share of the longest there is."""


@dataclass(frozen=True)
class Timing:
    """Where views start.

    Views are drawn in pairs. With M the time by which a start can vary, the interval d of a pair has a density on
    [0, M]; the earlier view starts evenly in [0, M − d), the other one d later, and which comes first is drawn too. A
    clip that is shorter than a view is repeated.

    Args:
        frames: Of a view.
        stride: Frames from one of the view to the next.
        interval: The density of d: ``"decreasing"``, linearly to 0, so that d is M/3 on average (CVRL's choice);
            ``"uniform"``; or ``"zero"``, the same frames for both.
    """

    frames: int
    stride: int = 1
    interval: Interval = "decreasing"

    def __post_init__(self) -> None:
        problems = [
            f"Timing: {name} must be a whole number from 1 up, not {value!r}."
            for name, value in {"frames": self.frames, "stride": self.stride}.items()
            if not isinstance(value, int) or value < 1
        ]
        if self.interval not in INTERVALS:
            problems.append(f"Timing: interval must be one of {', '.join(INTERVALS)}, not {self.interval!r}.")
        if problems:
            raise ConfigError(problems)

    def draw(self, length: Tensor, views: int, generator: torch.Generator) -> list[Tensor]:
        """The first frame of each view.

        Args:
            length: int64 (n,), frames of each clip, at least 1.
            views: How many; the last of an odd number is one of a pair whose other one is not used.
            generator: Source of all randomness.

        Returns:
            ``views`` times int64 (n,), on the generator's device.
        """
        return [start for _ in range(0, views, 2) for start in self._pair(length, generator)][:views]

    def places(self, start: Tensor, length: Tensor) -> Tensor:
        """The frames of a view, int64 (n, frames): ``start``, a stride later, and so on; clips are repeated."""
        steps = torch.arange(self.frames, device=start.device) * self.stride
        return (start[:, None] + steps) % length[:, None]

    def _pair(self, length: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        room = (length.to(device) - (self.frames - 1) * self.stride).clamp(min=1)  # starts there are
        draws = torch.rand((3, len(length)), generator=generator, device=device)
        interval = room * INTERVALS[self.interval](draws[0])
        earlier = draws[1] * (room - interval)
        starts = [place.floor().long().minimum(room - 1) for place in (earlier, earlier + interval)]
        swapped = draws[2] < 0.5
        return torch.where(swapped, starts[1], starts[0]), torch.where(swapped, starts[0], starts[1])
