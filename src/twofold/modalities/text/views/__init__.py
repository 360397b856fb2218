"""Views of texts, on token numbers: `make_views` gives those of a name, the steps are for building others."""

from twofold.modalities.text.views.presets import (
    DEFAULT,
    GIVEN,
    PRESETS,
    GivenViews,
    TextViews,
    first_text,
    make_views,
)
from twofold.modalities.text.views.steps import Crop, Delete, Hide, Shuffle, Step, Vocabulary

__all__ = [
    "DEFAULT",
    "GIVEN",
    "PRESETS",
    "Crop",
    "Delete",
    "GivenViews",
    "Hide",
    "Shuffle",
    "Step",
    "TextViews",
    "Vocabulary",
    "first_text",
    "make_views",
]
