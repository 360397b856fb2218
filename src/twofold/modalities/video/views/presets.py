"""The views of clips, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from twofold.errors import ConfigError
from twofold.modalities.pixels.colour import ColorJitter, RandomGrey, Solarize
from twofold.modalities.pixels.compose import View
from twofold.modalities.pixels.filters import GaussianBlur
from twofold.modalities.pixels.geometry import RandomResizedCrop
from twofold.modalities.video.views.compose import ClipView, MultiView
from twofold.modalities.video.views.timing import Interval, Timing
from twofold.options import did_you_mean

DEFAULT = "clips"
SMALL = 32  # frames up to this side are not blurred, as usual for pictures


def cvrl(
    *,
    size: int,
    frames: int,
    channels: int = 3,
    count: int = 2,
    stride: int = 1,
    interval: Interval = "decreasing",
    consistent: bool = True,
    scale: tuple[float, float] = (0.3, 1.0),
    ratio: tuple[float, float] = (0.5, 2.0),
    flip: float = 0.5,
    jitter: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2),
    jitter_p: float = 0.8,
    grey_p: float = 0.2,
    blur_p: tuple[float, float] | None = None,
    solarize_p: tuple[float, float] = (0.0, 0.2),
) -> MultiView:
    """CVRL's unequal pair (Qian et al., CVPR 2021, and its released code).

    Crop, flip, strong jitter, greyscale; one view is always blurred, the other one rarely, but sometimes solarised.
    Views alternate between the two. `blur_p` is (1, 0.1) above 32 px and (0, 0) up to there, unless given.
    """
    if blur_p is None:
        blur_p = (1.0, 0.1) if size > SMALL else (0.0, 0.0)
    crop = RandomResizedCrop(size, scale, ratio, flip)
    kinds = []
    for blur, solarize in zip(blur_p, solarize_p, strict=True):
        steps = (
            ColorJitter(*jitter, p=jitter_p),
            RandomGrey(grey_p if channels == 3 else 0.0),
            GaussianBlur(p=blur),
            Solarize(p=solarize),
        )
        kinds.append(ClipView(View(crop, tuple(step for step in steps if step.p > 0)), consistent))
    return MultiView(Timing(frames, stride, interval), tuple(kinds[v % 2] for v in range(count)), channels)


clips = partial(cvrl, ratio=(3 / 4, 4 / 3), jitter=(0.4, 0.4, 0.4, 0.1), blur_p=(0.0, 0.0), solarize_p=(0.0, 0.0))
weak = partial(clips, jitter_p=0.0, grey_p=0.0)

PRESETS: dict[str, Callable[..., MultiView]] = {
    "clips": clips,  # ours: CVRL's times, with the milder colours and crops that are usual for small pictures
    "cvrl": cvrl,
    "cvrl-uniform": partial(cvrl, interval="uniform"),
    "cvrl-per-frame": partial(cvrl, consistent=False),
    "weak": weak,  # times, crop and flip only
}


def make_views(name: str, *, size: int, frames: int, channels: int = 3, count: int = 2, **overrides: Any) -> MultiView:
    """The views of a published system.

    Args:
        name: One of `PRESETS`.
        size: Side of the views in pixels.
        frames: Of a view.
        channels: 3, or 1 for grey clips.
        count: How many views of each clip.
        overrides: Keyword arguments of the preset's function, in place of its defaults.

    Raises:
        ConfigError: If there is no such preset or option, or a value makes no sense; it names what there is.
    """
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, PRESETS)}")
    known = [
        option
        for option in inspect.signature(cvrl).parameters
        if option not in inspect.signature(make_views).parameters
    ]
    problems = [f"Views {name!r} have no option {o!r}{did_you_mean(o, known)}" for o in overrides if o not in known]
    problems += [
        f"Views: {what} must be a whole number from 1 up, not {value!r}."
        for what, value in {"size": size, "count": count, "frames": frames}.items()
        if not isinstance(value, int) or value < 1
    ]
    if channels not in (1, 3):
        problems.append(f"Views: channels must be 1 (grey) or 3 (colour), not {channels!r}.")
    if problems:
        raise ConfigError(problems)
    return PRESETS[name](size=size, frames=frames, channels=channels, count=count, **overrides)
