"""Views of clouds: random moves and missing parts, for a whole batch at once, and presets by name."""

from twofold.modalities.points.views.base import Augmentation, MultiView, View
from twofold.modalities.points.views.presets import PRESETS, make_views

__all__ = ["PRESETS", "Augmentation", "MultiView", "View", "make_views"]
