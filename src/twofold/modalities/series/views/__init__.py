"""Views of series: random changes of values, of time and of bodies, for a whole batch at once; presets by name."""

from twofold.modalities.series.views.base import Augmentation, Facts, MultiView, View
from twofold.modalities.series.views.bodies import DropAxis, DropJoints, Heading, JointNoise, Mirror, Shear, Turn
from twofold.modalities.series.views.presets import NAMES, PRESETS, make_views
from twofold.modalities.series.views.times import (
    CropTime,
    OverlappingCrops,
    PermuteSegments,
    ReverseTime,
    ShiftTime,
    TimeWarp,
)
from twofold.modalities.series.views.values import (
    DropChannels,
    DropSegment,
    FlipSign,
    Jitter,
    MagnitudeWarp,
    RotateAxes,
    Scale,
    Smooth,
)

__all__ = [
    "NAMES",
    "PRESETS",
    "Augmentation",
    "CropTime",
    "DropAxis",
    "DropChannels",
    "DropJoints",
    "DropSegment",
    "Facts",
    "FlipSign",
    "Heading",
    "Jitter",
    "JointNoise",
    "MagnitudeWarp",
    "Mirror",
    "MultiView",
    "OverlappingCrops",
    "PermuteSegments",
    "ReverseTime",
    "RotateAxes",
    "Scale",
    "Shear",
    "ShiftTime",
    "Smooth",
    "TimeWarp",
    "Turn",
    "View",
    "make_views",
]
