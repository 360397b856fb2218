"""The views of published systems, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from twofold.errors import ConfigError
from twofold.modalities.points.views.base import Augmentation, MatchedViews, MultiView, View
from twofold.modalities.points.views.moves import (
    Jitter,
    RandomMirror,
    RandomRotation,
    RandomScale,
    RandomTranslation,
)
from twofold.modalities.points.views.parts import BoxCutout, PointDropout, RandomCrop
from twofold.options import did_you_mean

DEFAULT = "shapes"

Steps = tuple[Augmentation, ...]


def shapes(
    *,
    degrees: float = 180.0,
    everywhere: bool = False,
    crop: tuple[float, float] = (0.5, 1.0),
    scale: tuple[float, float] = (0.8, 1.25),
    jitter: float = 0.01,
    dropout: float = 0.5,
) -> Steps:
    """Turn about the up axis, crop, stretch, jitter, drop points: our default for objects.

    Scale and jitter are those of PointNet++'s code (Qi et al., NeurIPS 2017), but stretching each axis by itself, and
    dropping up to half of the points where it drops up to 7/8. The crop is that of PointNet's successors for partial
    views: the nearest share of the points around one of them.
    """
    return (
        RandomRotation(degrees, everywhere),
        RandomCrop(crop),
        RandomScale(scale, per_axis=True),
        Jitter(jitter),
        PointDropout(dropout),
    )


def crosspoint(
    *,
    scale: tuple[float, float] = (0.5, 2.0),
    shift: float = 0.5,
    jitter: float = 0.01,
    dropout: float = 0.875,
) -> Steps:
    """Scale, turn about the up axis, move by up to half the extent, jitter, drop points (Afham et al., CVPR 2022)."""
    return (
        RandomScale(scale),
        RandomRotation(),
        RandomTranslation(shift, of_extent=True),
        Jitter(jitter),
        PointDropout(dropout),
    )


def point_mae(*, scale: tuple[float, float] = (2 / 3, 3 / 2), shift: float = 0.2) -> Steps:
    """Stretch and move along each axis (Pang et al., ECCV 2022)."""
    return RandomScale(scale, per_axis=True), RandomTranslation(shift)


def pointnet(*, jitter: float = 0.02) -> Steps:
    """Turn about the up axis and jitter (Qi et al., CVPR 2017, section 5.1)."""
    return RandomRotation(), Jitter(jitter)


def scenes(
    *,
    mirror: float = 0.5,
    crop: tuple[float, float] = (0.5, 1.0),
    cutout: tuple[float, float] = (0.3, 0.6),
    scale: tuple[float, float] = (0.8, 1.2),
    jitter: float = 0.01,
) -> Steps:
    """Turn about the up axis, mirror, scale, crop and cut a box out.

    The kinds of views of DepthContrast (Zhang et al., ICCV 2021), which is for depth scans of rooms. Its crops are
    boxes; here a crop is a ball, as in `shapes`.
    """
    return (
        RandomRotation(),
        RandomMirror(mirror),
        RandomScale(scale),
        RandomCrop(crop),
        BoxCutout(cutout),
        Jitter(jitter),
    )


def pointcontrast(
    *,
    crop: tuple[float, float] = (0.5, 1.0),
    dropout: float = 0.5,
    scale: tuple[float, float] = (0.8, 1.2),
    jitter: float = 0.01,
) -> Steps:
    """A part of the cloud with other points each time, then a rigid move and a scale (after Xie et al., ECCV 2020).

    The paper takes two scans of a room that overlap; of a single cloud the crop and the dropped points stand for that.
    """
    return (
        RandomCrop(crop),
        PointDropout(dropout),
        RandomRotation(),
        RandomScale(scale),
        Jitter(jitter),
    )


PRESETS: dict[str, Callable[..., Steps]] = {
    "shapes": shapes,
    "shapes-so3": partial(shapes, everywhere=True),  # for clouds of which no axis is known to point up
    "scenes": scenes,
    "crosspoint": crosspoint,
    "point-mae": point_mae,
    "pointnet": pointnet,
    "pointcontrast": pointcontrast,
}


def make_views(
    name: str,
    *,
    count: int = 2,
    points: int | None = None,
    normals: bool = False,
    matched: bool = False,
    **overrides: Any,
) -> MultiView:
    """The views of a published system.

    Args:
        name: One of `PRESETS`.
        count: How many views of each cloud.
        points: Points of a view; None: as many as the clouds have.
        normals: Whether the clouds' columns 4 to 6 are normals.
        matched: Have points remember where they came from; see :class:`MatchedViews`.
        overrides: Keyword arguments of the preset's function, in place of its defaults.

    Raises:
        ConfigError: If there is no such preset or option, or a value makes no sense; it names what there is.
    """
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, PRESETS)}")
    known = list(inspect.signature(PRESETS[name]).parameters)
    problems = [f"Views {name!r} have no option {o!r}{did_you_mean(o, known)}" for o in overrides if o not in known]
    problems += [
        f"Views: {what} must be a whole number from 1 up, not {value!r}."
        for what, value in {"points": points, "count": count}.items()
        if value is not None and (not isinstance(value, int) or value < 1)
    ]
    if problems:
        raise ConfigError(problems)
    view = View(PRESETS[name](**overrides), points, normals)
    return (MatchedViews if matched else MultiView)((view,) * count)
