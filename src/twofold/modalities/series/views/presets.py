"""The views of published systems, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from twofold.dataset import Views
from twofold.errors import ConfigError
from twofold.modalities.series.views.base import Augmentation, Facts, MultiView, View
from twofold.modalities.series.views.bodies import DropAxis, Heading, JointNoise, Mirror, Shear, Turn
from twofold.modalities.series.views.times import (
    CropTime,
    OverlappingCrops,
    PermuteSegments,
    ReverseTime,
    ShiftTime,
    TimeWarp,
)
from twofold.modalities.series.views.values import DropSegment, Jitter, MagnitudeWarp, RotateAxes, Scale, Smooth
from twofold.options import did_you_mean

DEFAULT, DEFAULT_OF_SKELETONS = "sensors", "skeleton"
AIMCLR, OVERLAPPING = "aimclr", "ts2vec"

Steps = tuple[Augmentation, ...]


def sensors(
    *, crop: tuple[float, float] = (0.5, 1.0), warp: float = 0.2, scale: float = 0.2, jitter: float = 0.1
) -> Steps:
    """Crop and stretch, warp time, scale, warp magnitude, jitter: our default; no assumption on what channels mean.

    The parts are those of Um et al. (ICMI 2017), with deviations about as there.
    """
    return CropTime(crop), TimeWarp(warp), Scale(scale), MagnitudeWarp(scale / 2), Jitter(jitter)


def har(*, degrees: float = 180.0, scale: float = 0.1, jitter: float = 0.1, most: int = 5) -> Steps:
    """Turned axes, scale, permuted pieces, jitter: for accelerometers and gyroscopes, channels by threes.

    The kinds of changes of Saeed et al. (IMWUT 2019) and of Um et al. (ICMI 2017) for worn sensors.
    """
    return RotateAxes(degrees), Scale(scale), PermuteSegments(most), Jitter(jitter)


def ts_tcc_weak(*, scale: float = 0.2, jitter: float = 0.2) -> Steps:
    """Jitter and scale: the weak view of TS-TCC (Eldele et al., IJCAI 2021), and that of contrast across sensors."""
    return Scale(scale), Jitter(jitter)


def ts_tcc_strong(*, most: int = 8, jitter: float = 0.2) -> Steps:
    """Permuted pieces and jitter: the strong view of TS-TCC (Eldele et al., IJCAI 2021)."""
    return PermuteSegments(most), Jitter(jitter)


def masked(*, crop: tuple[float, float] = (0.5, 1.0), drop: tuple[float, float] = (0.1, 0.4)) -> Steps:
    """Crop and stretch, then a stretch of time missing."""
    return CropTime(crop), DropSegment(drop), Jitter(0.05)


def skeleton(*, shear: float = 0.5, shift: float = 1 / 6) -> Steps:
    """Shear and shift in time: the normal views of SkeletonCLR and AimCLR (Guo et al., AAAI 2022)."""
    return Shear(shear), ShiftTime(shift)


def skeleton_heading(*, shear: float = 0.5, shift: float = 1 / 6, up: int = 1) -> Steps:
    """As ``skeleton``, and turned about the upright axis: for bodies in space that may face any way."""
    return Heading(up), Shear(shear), ShiftTime(shift)


def skeleton_extreme(*, degrees: float = 30.0, noise: float = 0.01, axis: float = 0.5) -> Steps:
    """The extreme view of AimCLR (Guo et al., AAAI 2022).

    Shear, shift in time, mirror, time reversed, turn, noise, blur, one axis missing. The mirror here changes the sign
    of x too, the released code only exchanges joints.
    """
    return (
        *skeleton(),
        Mirror(),
        ReverseTime(),
        Turn(degrees),
        JointNoise(noise),
        Smooth((0.1, 2.0)),
        DropAxis(axis),
    )


PRESETS: dict[str, Callable[..., Steps]] = {
    "sensors": sensors,
    "har": har,
    "ts-tcc-weak": ts_tcc_weak,
    "ts-tcc-strong": ts_tcc_strong,
    "masked": masked,
    "skeleton": skeleton,
    "skeleton-heading": skeleton_heading,
    "skeleton-extreme": skeleton_extreme,
}
NAMES = (*PRESETS, AIMCLR, OVERLAPPING)
"""All names of views: presets; AimCLR's normal views and extreme ones; and the overlapping crops of TS2Vec."""


def make_views(name: str, spec: Mapping[str, Any], *, count: int = 2, **overrides: Any) -> Views:
    """The views of a published system.

    Args:
        name: One of :data:`NAMES`.
        spec: Of the data: "mean", "std"; of skeletons "joints" and "mirror".
        count: How many views of each series; of ``aimclr`` two are normal and the others extreme (of two, one each).
        overrides: Keyword arguments of the preset's function, in place of its defaults.

    Raises:
        ConfigError: If there is no such preset or option, or the views do not suit the data.
    """
    if name not in NAMES:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, NAMES)}")
    facts = Facts.of(spec)
    known = list(inspect.signature(PRESETS[name]).parameters) if name in PRESETS else []
    problems = [f"Views {name!r} have no option {o!r}{did_you_mean(o, known)}" for o in overrides if o not in known]
    if name == OVERLAPPING and count != 2:
        problems.append(f"Views {name!r} are two crops that overlap; view_count must be 2, not {count}.")
    if problems:
        raise ConfigError(problems)
    if name == OVERLAPPING:
        return OverlappingCrops(facts)
    if name == AIMCLR:
        normal, extreme = View(skeleton(), facts), View(skeleton_extreme(), facts)
        normals = min(2, count - 1)
        return MultiView((normal,) * normals + (extreme,) * (count - normals))
    return MultiView((View(PRESETS[name](**overrides), facts),) * count)
