"""What a view's colours are: jitter, greyscale, solarisation. Per-sample factors; pictures are (n, c, h, w) in [0, 1].

The formulas are those of torchvision's tensor transforms. Grey pictures (c = 1) have neither saturation nor hue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.pixels.base import (
    Augmentation,
    Parameters,
    Shape,
    check_probability,
    check_range,
    uniform,
)

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601 as rounded by torchvision: the three do not quite sum to one


def grey(images: Tensor) -> Tensor:
    """Luminance (n, 1, h, w)."""
    if _is_grey(images):
        return images
    n, _, h, w = images.shape
    return torch.matmul(images.new_tensor(LUMA), images.reshape(n, 3, h * w)).view(n, 1, h, w)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by `factor` (n,)."""
    return (images * _per_sample(factor)).clamp_(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch by `factor` (n,) around each picture's mean luminance."""
    means = images.mean((2, 3))
    mean = means.squeeze(1) if _is_grey(images) else means @ images.new_tensor(LUMA)
    return (images * _per_sample(factor)).add_(_per_sample(mean * (1 - factor))).clamp_(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch by `factor` (n,) around each pixel's luminance."""
    if _is_grey(images):
        return images
    return (grey(images) * _per_sample(1 - factor)).addcmul(images, _per_sample(factor)).clamp_(0, 1)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of HSV by `shift` (n,) turns.

    A turn leaves a pixel's smallest and largest values alone and moves the channels between them. With channels scaled
    to smallest = 0 and largest = 1, and hue h from 0 to 6, both ways go without cases: h is 1 + green + blue - red
    away from red, on green's side if green > blue; and the channels at h are |h - 3| - 1, 2 - |h - 2| and 2 - |h - 4|,
    cut to [0, 1].
    """
    if _is_grey(images):
        return images
    red, green, blue = images.unbind(1)
    smallest = torch.minimum(torch.minimum(red, green), blue)
    chroma = torch.maximum(torch.maximum(red, green), blue).sub_(smallest)
    # A grey pixel has no hue, and none has any effect on it: the division must only stay finite.
    distance = (green + blue).sub_(red).sub_(smallest).div_(chroma.clamp(min=1e-12)).add_(1)
    hue = torch.copysign(distance, green - blue).add_(6 * shift.view(-1, 1, 1))
    hue.sub_((hue / 6).floor_(), alpha=6)  # into [0, 6); remainder() takes several times as long
    ramps = ((hue - 3).abs_().sub_(1), 2 - (hue - 2).abs_(), 2 - (hue - 4).abs_())
    return torch.stack([torch.addcmul(smallest, chroma, ramp.clamp_(0, 1)) for ramp in ramps], 1)


def solarize(images: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert what is at least `threshold`."""
    return torch.where(images >= threshold, 1 - images, images)


ADJUSTMENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": adjust_brightness,
    "contrast": adjust_contrast,
    "saturation": adjust_saturation,
    "hue": adjust_hue,
}


@dataclass(frozen=True)
class ColorJitter(Augmentation):
    """Brightness, contrast, saturation and hue, each by a random factor, in a random order of each sample's own.

    Args:
        brightness: Factors come from [max(0, 1 - brightness), 1 + brightness]; 0 leaves brightness out.
        contrast: The same for contrast.
        saturation: The same for saturation.
        hue: Turns come from [-hue, hue], at most half a turn.
        p: Probability of all of it.
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    p: float = 0.8

    def __post_init__(self) -> None:
        for name in ADJUSTMENTS:
            check_range(self, name, (0, getattr(self, name)), low=0, high=0.5 if name == "hue" else 1e3)
        check_probability(self, p=self.p)

    @property
    def names(self) -> list[str]:
        """The adjustments that are switched on."""
        return [name for name in ADJUSTMENTS if getattr(self, name) > 0]

    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        """``"order"``, int64 (n, adjustments), positions in `names` in order of use; and by name the factors, (n,)."""
        n = shape[0]
        order = uniform((n, len(self.names)), 0, 1, generator).argsort(1)
        return {"order": order, **{name: uniform((n,), *self._bounds(name), generator) for name in self.names}}

    def apply(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Change the chosen samples; may overwrite `images`.

        Step by step, all samples whose turn it is with one adjustment go together.
        """
        for turn in parameters["order"].unbind(1):
            for position, name in enumerate(self.names):
                due = ((turn == position) & parameters["apply"]).nonzero().squeeze(1)
                if len(due) == 0:
                    continue
                factor, due = parameters[name][due].to(images.device), due.to(images.device)
                images.index_copy_(0, due, ADJUSTMENTS[name](images.index_select(0, due), factor))
        return images

    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        """Change every sample."""
        everyone = torch.ones(len(images), dtype=torch.bool, device=parameters["order"].device)
        return self.apply(images, {"apply": everyone, **parameters})

    def _bounds(self, name: str) -> tuple[float, float]:
        amount = getattr(self, name)
        return (-amount, amount) if name == "hue" else (max(0.0, 1 - amount), 1 + amount)


@dataclass(frozen=True)
class RandomGrey(Augmentation):
    """Replace the colours by their luminance, in all three channels. Grey pictures stay as they are."""

    p: float = 0.2

    def __post_init__(self) -> None:
        check_probability(self, p=self.p)

    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        return {}

    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        return grey(images).expand_as(images).contiguous()


@dataclass(frozen=True)
class Solarize(Augmentation):
    """Invert all values from `threshold` on (BYOL: Grill et al., NeurIPS 2020)."""

    threshold: float = 0.5
    p: float = 0.2

    def __post_init__(self) -> None:
        check_range(self, "threshold", (0, self.threshold), low=0, high=1)
        check_probability(self, p=self.p)

    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        return {}

    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        return solarize(images, self.threshold)


def _is_grey(images: Tensor) -> bool:
    if images.shape[1] not in (1, 3):
        raise DataError(f"Colours need pictures with 1 or 3 channels, but these have {images.shape[1]}.")
    return images.shape[1] == 1


def _per_sample(values: Tensor) -> Tensor:
    """(n,) as (n, 1, 1, 1), to broadcast over pictures."""
    return values.view(-1, 1, 1, 1)
