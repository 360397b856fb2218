"""The views of published systems, by name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial, wraps
from typing import Any

from twofold.errors import ConfigError
from twofold.modalities.pixels.base import Augmentation
from twofold.modalities.pixels.colour import ColorJitter, RandomGrey, Solarize
from twofold.modalities.pixels.compose import MultiView, View
from twofold.modalities.pixels.filters import Cutout, GaussianBlur, GaussianNoise
from twofold.modalities.pixels.fused import FusedView
from twofold.modalities.pixels.geometry import CenterCrop, RandomAffine, RandomResizedCrop

SMALL = 32  # pictures up to this side are not blurred: SimCLR leaves blur out for CIFAR
JITTER = (0.4, 0.4, 0.4, 0.1)  # brightness, contrast, saturation, hue
STRONG_JITTER = (0.8, 0.8, 0.8, 0.2)
BYOL_JITTER = (0.4, 0.4, 0.2, 0.1)


def simclr(
    *,
    size: int,
    channels: int = 3,
    count: int = 2,
    scale: tuple[float, float] = (0.2, 1.0),
    jitter: tuple[float, float, float, float] = JITTER,
    jitter_p: float = 0.8,
    grey_p: float = 0.2,
    blur_p: float | None = None,
    flip: float = 0.5,
) -> MultiView:
    """Crop, flip, colour jitter, greyscale, blur (Chen et al., ICML 2020), in the milder form usual for small pictures.

    `blur_p` is 0.5 above 32 px and 0 up to there, unless given.
    """
    colours = _colours(size, channels, jitter, jitter_p=jitter_p, grey_p=grey_p, blur_p=blur_p)
    view = View(RandomResizedCrop(size, scale, flip=flip), colours)
    return MultiView((view,) * count, channels)


def byol(
    *,
    size: int,
    channels: int = 3,
    count: int = 2,
    scale: tuple[float, float] = (0.08, 1.0),
    jitter: tuple[float, float, float, float] = BYOL_JITTER,
    jitter_p: float = 0.8,
    grey_p: float = 0.2,
    blur_p: tuple[float, float] | None = None,
    solarize_p: tuple[float, float] = (0.0, 0.2),
    flip: float = 0.5,
) -> MultiView:
    """BYOL's unequal pair (Grill et al., NeurIPS 2020, appendix B): one always blurred, one rarely, but solarised.

    Views alternate between the two. `blur_p` is (1, 0.1) above 32 px and (0, 0) up to there, unless given.
    """
    if blur_p is None:
        blur_p = (1.0, 0.1) if size > SMALL else (0.0, 0.0)
    problems = [
        f"Views 'byol': {name} is one probability for each of two views, not {value!r}."
        for name, value in {"blur_p": blur_p, "solarize_p": solarize_p}.items()
        if not isinstance(value, tuple | list) or len(value) != 2
    ]
    if problems:
        raise ConfigError(problems)
    pair = []
    for blur, solarize in zip(blur_p, solarize_p, strict=True):
        colours = _colours(size, channels, jitter, jitter_p=jitter_p, grey_p=grey_p, blur_p=blur)
        inverted = (Solarize(p=solarize),) if solarize > 0 else ()
        pair.append(View(RandomResizedCrop(size, scale, flip=flip), colours + inverted))
    return MultiView(tuple(pair[v % 2] for v in range(count)), channels)


def multi_crop(
    *,
    size: int,
    channels: int = 3,
    count: int = 2,
    local_count: int = 6,
    local_size: int | None = None,
    scale: tuple[float, float] = (0.14, 1.0),
    local_scale: tuple[float, float] = (0.05, 0.14),
    jitter: tuple[float, float, float, float] = STRONG_JITTER,
    jitter_p: float = 0.8,
    grey_p: float = 0.2,
    blur_p: float | None = None,
    flip: float = 0.5,
) -> MultiView:
    """SwAV's multi-crop (Caron et al., NeurIPS 2020): `count` large views first, then `local_count` small ones.

    `local_size` is 96 / 224 of `size`, rounded to an even number, unless given.
    """
    local_size = local_size or max(2, round(size * 96 / 224 / 2) * 2)
    if local_count < 0:
        raise ConfigError(f"Multi-crop: local_count cannot be negative, but is {local_count}.")
    large, small = (
        View(
            RandomResizedCrop(side, area, flip=flip),
            _colours(side, channels, jitter, jitter_p=jitter_p, grey_p=grey_p, blur_p=blur_p),
        )
        for side, area in ((size, scale), (local_size, local_scale))
    )
    return MultiView((large,) * count + (small,) * local_count, channels)


def digits(
    *,
    size: int,
    channels: int = 1,
    count: int = 2,
    degrees: float = 15.0,
    shift: float = 0.125,
    scale: tuple[float, float] = (0.9, 1.1),
    contrast: float = 0.4,
    noise: float = 0.05,
    cutout: float = 0.25,
) -> MultiView:
    """For small pictures of characters: moves, contrast, noise and a missing patch, but no mirror image and no crop.

    The defaults are a shift of one pixel, noise of 5 % and a patch of 2 x 2 pixels at 8 px. `contrast` is also the
    strength of the brightness jitter.
    """
    steps: tuple[Augmentation, ...] = (
        RandomAffine(degrees, shift, scale),
        ColorJitter(contrast, contrast, 0, 0, p=1),
        GaussianNoise(noise),
        Cutout(cutout),
    )
    return MultiView((View(CenterCrop(size), steps),) * count, channels)


def weak(
    *, size: int, channels: int = 3, count: int = 2, scale: tuple[float, float] = (0.2, 1.0), flip: float = 0.5
) -> MultiView:
    """Crop and flip only."""
    return MultiView((View(RandomResizedCrop(size, scale, flip=flip)),) * count, channels)


FUSED = "-fused"
"""Ending of a preset's name that has its views made in one go; see `twofold.modalities.pixels.fused`."""


def _fused(preset: Callable[..., MultiView]) -> Callable[..., MultiView]:
    """The same views, approximated in a fraction of the time; options are those of the preset."""

    @wraps(preset)
    def made(**options: Any) -> MultiView:
        views = preset(**options)
        return replace(views, views=tuple(FusedView(view.crop, view.augmentations) for view in views.views))

    return made


_EXACT: dict[str, Callable[..., MultiView]] = {
    "simclr": simclr,
    # As its paper has it for ImageNet: crops from 8 % of the area, twice the jitter.
    "simclr-strong": partial(simclr, scale=(0.08, 1.0), jitter=STRONG_JITTER),
    "byol": byol,
    "moco-v2": simclr,  # the same as SimCLR's milder form (Chen et al., arXiv 2020, Improved Baselines)
    "multi-crop": multi_crop,
    "digits": digits,
    "weak": weak,
}
_UNFUSED = ("digits", "weak")  # nothing in them could be put together with the crop

PRESETS: dict[str, Callable[..., MultiView]] = {
    **_EXACT,
    **{name + FUSED: _fused(preset) for name, preset in _EXACT.items() if name not in _UNFUSED},
}
"""By name; those that end in "-fused" are approximations with the same draws."""


def make_views(name: str, *, size: int, channels: int = 3, count: int = 2, **overrides: Any) -> MultiView:
    """The views of a published system.

    Args:
        name: One of `PRESETS`.
        size: Side of the (large) views in pixels.
        channels: 3, or 1 for grey pictures, which have neither saturation nor hue to change.
        count: How many views of each picture; more than a system has repeat its views in order.
        overrides: Keyword arguments of the preset's function, in place of its defaults.

    Raises:
        ConfigError: If there is no such preset or option, or a value makes no sense; it names what there is.
    """
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}.{_near(name, PRESETS)} Known: {', '.join(PRESETS)}.")
    options = _options(PRESETS[name])
    problems = [
        f"Views {name!r} have no option {option!r}.{_near(option, options)} Known: {', '.join(options)}."
        for option in overrides
        if option not in options
    ]
    if channels not in (1, 3):
        problems.append(f"Views: channels must be 1 (grey) or 3 (colour), not {channels!r}.")
    problems += [
        f"Views: {what} must be a whole number from 1 up, not {value!r}."
        for what, value in {"size": size, "count": count}.items()
        if not isinstance(value, int) or value < 1
    ]
    if problems:
        raise ConfigError(problems)
    return PRESETS[name](size=size, channels=channels, count=count, **overrides)


def _colours(
    size: int,
    channels: int,
    jitter: tuple[float, float, float, float],
    *,
    jitter_p: float,
    grey_p: float,
    blur_p: float | None,
) -> tuple[Augmentation, ...]:
    """Jitter, greyscale and blur, without those that could never do anything."""
    if len(jitter) != 4:
        raise ConfigError(f"Views: jitter is (brightness, contrast, saturation, hue), not {jitter!r}.")
    if blur_p is None:
        blur_p = 0.5 if size > SMALL else 0.0
    grey_p = grey_p if channels == 3 else 0.0
    steps = (ColorJitter(*jitter, p=jitter_p), RandomGrey(grey_p), GaussianBlur(p=blur_p))
    return tuple(step for step in steps if step.p > 0)


def _options(preset: Callable[..., MultiView]) -> list[str]:
    """What can be overridden: a preset's keyword arguments but for those that `make_views` has itself."""
    return [name for name in inspect.signature(preset).parameters if name not in ("size", "channels", "count")]


def _near(name: str, known: Iterable[str]) -> str:
    """A question that offers what may have been meant, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=2)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
