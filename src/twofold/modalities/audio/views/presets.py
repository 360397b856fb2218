"""Views of sounds by name: those of published systems, and the default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twofold.errors import ConfigError
from twofold.modalities.audio.views.base import Augmentation
from twofold.modalities.audio.views.compose import MultiView, View
from twofold.modalities.audio.views.spectra import Fader, Mask, Mixup, RandomResizedCrop
from twofold.modalities.audio.views.waves import Gain, Noise, RandomCrop
from twofold.options import did_you_mean

DEFAULT = "sounds"
CROP_SECONDS = 0.96
"""Those of COLA (Saeed et al., ICASSP 2021) and BYOL-A (Niizumi et al., IJCNN 2021)."""

Preset = Callable[[Mapping[str, Any]], View]


def sounds(spec: Mapping[str, Any]) -> View:
    """The default: crops as of COLA and gain; then another sound behind and a resized crop, milder than BYOL-A's."""
    spectra = (Mixup(0.2), RandomResizedCrop((0.8, 1.2), (0.8, 1.2), 1.2))
    return View(spec["rate"], RandomCrop(crop_samples(spec)), (Gain(),), spectra)


def cola(spec: Mapping[str, Any]) -> View:
    """Two random crops of a clip and nothing else (COLA: Saeed et al., ICASSP 2021)."""
    return View(spec["rate"], RandomCrop(crop_samples(spec)))


def byol_a(spec: Mapping[str, Any]) -> View:
    """Crop, background mixup, random resized crop and linear fader (BYOL-A: Niizumi et al., TASLP 2023).

    In the paper both views are of the same crop; here each has its own, as in COLA.
    """
    spectra: tuple[Augmentation, ...] = (Mixup(), RandomResizedCrop(), Fader(gain=spec["std"]))
    return View(spec["rate"], RandomCrop(crop_samples(spec)), (), spectra)


def spec_augment(spec: Mapping[str, Any]) -> View:
    """Crop, and two stripes of frequency and of time hidden (SpecAugment: Park et al., Interspeech 2019).

    Without its time warping, which the paper found to matter least.
    """
    return View(spec["rate"], RandomCrop(crop_samples(spec)), (), (Mask("frequency"), Mask("time")))


def waveform(spec: Mapping[str, Any]) -> View:
    """Crop, gain and noise: changes of the waveform only."""
    return View(spec["rate"], RandomCrop(crop_samples(spec)), (Gain(), Noise()))


PRESETS: dict[str, Preset] = {
    "sounds": sounds,
    "cola": cola,
    "byol-a": byol_a,
    "spec-augment": spec_augment,
    "waveform": waveform,
}


def make_views(name: str, spec: Mapping[str, Any], *, count: int) -> MultiView:
    """Views by name.

    Args:
        name: One of `PRESETS`.
        spec: Of the data: "rate", "length", "std".
        count: How many views of each clip; all are made alike.

    Raises:
        ConfigError: If there is no such preset, or ``count`` is no number from 1 up.
    """
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, PRESETS)}")
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"Views: count must be a whole number from 1 up, not {count!r}.")
    return MultiView((PRESETS[name](spec),) * count)


def crop_samples(spec: Mapping[str, Any]) -> int:
    """Length of a view: 0.96 s, or all of a shorter clip."""
    return min(int(spec["length"]), round(CROP_SECONDS * spec["rate"]))
