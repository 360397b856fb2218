"""Views of pictures: batched augmentations on tensors, with parameters of its own for every sample.

`make_views` gives the views of a published system by name, `center_view` the one for evaluation. The parts are for
building others: a `View` is a crop and augmentations, a `MultiView` several of them.
"""

from twofold.modalities.image.views.base import Augmentation, Parameters
from twofold.modalities.image.views.colour import ColorJitter, RandomGrey, Solarize
from twofold.modalities.image.views.compose import MultiView, View
from twofold.modalities.image.views.filters import Cutout, GaussianBlur, GaussianNoise
from twofold.modalities.image.views.geometry import (
    CenterCrop,
    RandomAffine,
    RandomFlip,
    RandomResizedCrop,
    center_view,
)
from twofold.modalities.image.views.presets import PRESETS, make_views

__all__ = [
    "PRESETS",
    "Augmentation",
    "CenterCrop",
    "ColorJitter",
    "Cutout",
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
