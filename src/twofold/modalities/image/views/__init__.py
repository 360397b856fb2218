"""Views of pictures: batched augmentations on tensors, with parameters of its own for every sample.

`make_views` gives the views of a published system by name, `center_view` the one for evaluation. The parts are for
building others: a `View` is a crop and augmentations, a `MultiView` several of them.
"""

from twofold.modalities.image.views.presets import PRESETS, make_views
from twofold.modalities.pixels.base import Augmentation, Parameters
from twofold.modalities.pixels.colour import ColorJitter, RandomGrey, Solarize
from twofold.modalities.pixels.compose import MultiView, View
from twofold.modalities.pixels.filters import Cutout, GaussianBlur, GaussianNoise
from twofold.modalities.pixels.fused import FusedView
from twofold.modalities.pixels.geometry import (
    CenterCrop,
    RandomAffine,
    RandomFlip,
    RandomResizedCrop,
    center_view,
)

__all__ = [
    "PRESETS",
    "Augmentation",
    "CenterCrop",
    "ColorJitter",
    "Cutout",
    "FusedView",
    "GaussianBlur",
    "GaussianNoise",
    "MultiView",
    "Parameters",
    "RandomAffine",
    "RandomFlip",
    "RandomGrey",
    "RandomResizedCrop",
    "Solarize",
    "View",
    "center_view",
    "make_views",
]
