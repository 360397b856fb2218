"""Views of clips: a part in time, then one crop and one set of colours for all of its frames."""

from twofold.modalities.video.views.compose import ClipView, MultiView, still, whole_view
from twofold.modalities.video.views.presets import DEFAULT, PRESETS, make_views
from twofold.modalities.video.views.timing import Timing

__all__ = ["DEFAULT", "PRESETS", "ClipView", "MultiView", "Timing", "make_views", "still", "whole_view"]
