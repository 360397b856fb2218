"""Views of graphs: some edges, features or nodes left out; for a whole batch at once, and presets by name."""

from twofold.modalities.graph.views.base import Corruption, Corruptions
from twofold.modalities.graph.views.presets import PRESETS, make_views

__all__ = ["PRESETS", "Corruption", "Corruptions", "make_views"]
