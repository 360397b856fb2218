"""Views of sounds: batched augmentations on tensors, with parameters of its own for every clip.

`make_views` gives views by name, `whole_view` the one for use. The parts are for building others: a `View` is a crop,
changes of the waveform, the log-mel spectrogram and changes of that; a `MultiView` several of them.
"""

from twofold.modalities.audio.views.base import Augmentation, Parameters
from twofold.modalities.audio.views.compose import MultiView, View, whole_view
from twofold.modalities.audio.views.presets import DEFAULT, PRESETS, make_views
from twofold.modalities.audio.views.spectra import Fader, Mask, Mixup, RandomResizedCrop
from twofold.modalities.audio.views.waves import Gain, Noise, Polarity, RandomCrop

__all__ = [
    "DEFAULT",
    "PRESETS",
    "Augmentation",
    "Fader",
    "Gain",
    "Mask",
    "Mixup",
    "MultiView",
    "Noise",
    "Parameters",
    "Polarity",
    "RandomCrop",
    "RandomResizedCrop",
    "View",
    "make_views",
    "whole_view",
]
