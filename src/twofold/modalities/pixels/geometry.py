"""Where a view looks: crops and flips as per-sample resampling matrices, and small affine moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.errors import ConfigError
from twofold.modalities.pixels.bands import banded_separable, crop_windows, is_worthwhile
from twofold.modalities.pixels.base import (
    Augmentation,
    Parameters,
    Shape,
    bernoulli,
    check_aspect,
    check_images,
    check_probability,
    check_range,
    separable,
    to_device,
    uniform,
)

ATTEMPTS = 10  # boxes that torchvision's RandomResizedCrop tries before it falls back to a centre crop


def resampling_matrix(
    start: Tensor,
    length: Tensor,
    *,
    source: int,
    size: int,
    flip: Tensor | None = None,
    total: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Matrices (n, size, source) that cut [start, start + length) out of a row of pixels and resize it to `size`.

    A triangle filter, as wide as one output pixel when shrinking (antialiasing), that never looks outside the cut: what
    ``interpolate(mode="bilinear", antialias=True)`` does to a cropped picture.

    Args:
        start: (n,) left end in source pixels, whole or not.
        length: (n,) length in source pixels, at most `source`.
        source: Pixels in the row that is cut.
        size: Pixels in the result.
        flip: (n,) bool; reverses the result.
        total: What each row sums to: 1 / 255 turns bytes into numbers up to 1.
        dtype: Of the result.
    """
    target = torch.arange(size, device=start.device) + 0.5
    target = target.expand(len(start), size)
    if flip is not None:
        target = torch.where(flip.unsqueeze(1), size - target, target)
    step = (length / size).unsqueeze(1)
    reach = step.clamp(min=1)
    centre = (start.unsqueeze(1) + target * step) / reach  # (n, size), in widths of the triangle
    # Of all weights of a row only those under the triangle are computed, and put into their places: there are as many
    # weights as pixels in a picture, so every pass over all of them counts.
    taps = min(source, 2 * math.ceil(max(1.0, source / size)))
    first = (centre * reach - reach + 0.5).floor().clamp_(0, source - taps)
    pixel = first + torch.arange(taps, device=start.device).view(-1, 1, 1)  # (taps, n, size): short axes come first
    weight = 1 - (centre - (pixel + 0.5) / reach).abs_()
    start, end = start.view(-1, 1), (start + length).view(-1, 1)
    weight = weight.clamp_(min=0).masked_fill_((pixel + 1 <= start) | (pixel >= end), 0)
    weight = weight.mul_(total / weight.sum(0)).to(dtype)
    matrices = weight.new_zeros(len(start), size, source)
    return matrices.scatter_(2, pixel.long().permute(1, 2, 0), weight.permute(1, 2, 0))


def resized_crop(inputs: Tensor, box: Tensor, *, size: int, flip: Tensor | None = None) -> Tensor:
    """Cut one box out of each picture and resize it, antialiased: ``rows @ picture @ columns.T`` for the whole batch.

    Args:
        inputs: (n, c, s, s), uint8 or float in [0, 1].
        box: (n, 4) left, top, width, height in pixels, on the device of `inputs`.
        size: Side of the result.
        flip: (n,) bool; mirrors left and right.

    Returns:
        float32 (n, c, size, size) in [0, 1].
    """
    source = inputs.shape[-1]
    left, top, width, height = box.unbind(1)
    full = 255 if inputs.dtype == torch.uint8 else 1
    rows = resampling_matrix(top, height, source=source, size=size, total=1 / full)
    columns = resampling_matrix(left, width, source=source, size=size, flip=flip)
    if not is_worthwhile(inputs, size):
        return separable(inputs.float(), rows, columns).contiguous().clamp_(0, 1)
    row_windows = crop_windows(top, height, source=source, size=size)
    column_windows = crop_windows(left, width, source=source, size=size, flip=flip)
    return banded_separable(inputs, rows, columns, row_windows, column_windows).clamp_(0, 1)


@dataclass(frozen=True)
class RandomResizedCrop:
    """Cut out a random box, resize it to a square, and mirror it with probability `flip`.

    Area and shape of the box are those of torchvision's RandomResizedCrop on the original picture: up to ten tries of
    an area share from `scale` and a width / height from `ratio` (uniform in the logarithm); if no box fits, the largest
    centre crop with an allowed ratio. Boxes have whole pixels of the stored, perhaps squashed, picture.

    Args:
        size: Side of the result in pixels.
        scale: Smallest and largest share of the area; the default is that of SimCLR at 224 px (Chen et al., ICML 2020).
        ratio: Smallest and largest width / height.
        flip: Probability of a mirror image.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __post_init__(self) -> None:
        _check_size(self, self.size)
        check_range(self, "scale", self.scale, low=1e-6, high=1)
        check_range(self, "ratio", self.ratio, low=1e-3, high=1e3)
        check_probability(self, flip=self.flip)

    def __call__(self, inputs: Tensor, generator: torch.Generator, *, aspect: Tensor | None = None) -> Tensor:
        """Crop `inputs`, (n, c, s, s), uint8 or float in [0, 1], to float32 (n, c, size, size)."""
        check_images(inputs)
        check_aspect(aspect, len(inputs))
        return self.apply(inputs, self.draw(len(inputs), inputs.shape[-1], generator, aspect=aspect))

    def draw(self, n: int, source: int, generator: torch.Generator, *, aspect: Tensor | None = None) -> Parameters:
        """Boxes for `n` pictures stored as `source` x `source`.

        Returns:
            ``"box"``, float (n, 4): left, top, width, height in stored pixels; ``"flip"``, bool (n,).
        """
        if aspect is None:
            aspect = torch.ones(n)
        aspect = aspect.to(generator.device, torch.float32)
        width, height = self._box_size(n, source, generator, aspect)
        offset = uniform((2, n), 0, 1, generator)
        left = (offset[0] * (source - width + 1)).floor()
        top = (offset[1] * (source - height + 1)).floor()
        box, fits = torch.stack([left, top, width, height], 1), width > 0
        return {
            "box": torch.where(fits.unsqueeze(1), box, self._fallback(source, aspect)),
            "flip": bernoulli(n, self.flip, generator),
        }

    def apply(self, inputs: Tensor, parameters: Parameters) -> Tensor:
        """Crop with the boxes and flips that `draw` gave."""
        values = to_device(parameters, inputs.device)
        return resized_crop(inputs, values["box"], size=self.size, flip=values["flip"])

    def _box_size(self, n: int, source: int, generator: torch.Generator, aspect: Tensor) -> tuple[Tensor, Tensor]:
        """Width and height, (n,) each, of the first try that fits into the picture; 0 where none does."""
        area = uniform((n, ATTEMPTS), *self.scale, generator)
        ratio = uniform((n, ATTEMPTS), math.log(self.ratio[0]), math.log(self.ratio[1]), generator).exp()
        # Squashing divides widths by the aspect relative to heights; shares of the area stay.
        ratio = ratio / aspect.unsqueeze(1)
        width = (source * (area * ratio).sqrt()).round()
        height = (source * (area / ratio).sqrt()).round()
        fits = (width > 0) & (width <= source) & (height > 0) & (height <= source)
        first = fits.int().argmax(1, keepdim=True)
        found = fits.any(1)
        return width.gather(1, first).squeeze(1) * found, height.gather(1, first).squeeze(1) * found

    def _fallback(self, source: int, aspect: Tensor) -> Tensor:
        """The largest centre box with an allowed ratio, (n, 4)."""
        width = (source * (self.ratio[1] / aspect).clamp(max=1)).round().clamp(min=1)
        height = (source * (aspect / self.ratio[0]).clamp(max=1)).round().clamp(min=1)
        return torch.stack([((source - width) / 2).floor(), ((source - height) / 2).floor(), width, height], 1)


@dataclass(frozen=True)
class CenterCrop:
    """The largest centred square of the original picture, resized to `size`. Nothing is random."""

    size: int

    def __post_init__(self) -> None:
        _check_size(self, self.size)

    def __call__(
        self, inputs: Tensor, generator: torch.Generator | None = None, *, aspect: Tensor | None = None
    ) -> Tensor:
        """Crop `inputs`, (n, c, s, s), uint8 or float in [0, 1], to float32 (n, c, size, size)."""
        check_images(inputs)
        check_aspect(aspect, len(inputs))
        squares = aspect is None or (aspect.device.type == "cpu" and bool((aspect == 1).all()))
        if squares and inputs.shape[-2:] == (self.size, self.size):  # what the crop would give, to the bit
            return inputs.float().mul_(1 / 255) if inputs.dtype == torch.uint8 else inputs.float().clamp(0, 1)
        return self.apply(inputs, self.draw(len(inputs), inputs.shape[-1], generator, aspect=aspect))

    def draw(
        self, n: int, source: int, generator: torch.Generator | None = None, *, aspect: Tensor | None = None
    ) -> Parameters:
        """``"box"`` as of `RandomResizedCrop.draw`, though not in whole pixels. Takes nothing from the generator."""
        aspect = torch.ones(n) if aspect is None else aspect.float()
        width, height = source * (1 / aspect).clamp(max=1), source * aspect.clamp(max=1)
        return {"box": torch.stack([(source - width) / 2, (source - height) / 2, width, height], 1)}

    def apply(self, inputs: Tensor, parameters: Parameters) -> Tensor:
        """Crop with the boxes that `draw` gave."""
        return resized_crop(inputs, parameters["box"].to(inputs.device), size=self.size)


@dataclass(frozen=True)
class RandomFlip(Augmentation):
    """Mirror left and right. After a random crop, use its `flip` instead: that costs nothing."""

    p: float = 0.5

    def __post_init__(self) -> None:
        check_probability(self, p=self.p)

    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        return {}

    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        return images.flip(3)


@dataclass(frozen=True)
class RandomAffine(Augmentation):
    """Rotate, scale and shift about the centre, bilinear; what comes in from outside is black.

    Args:
        degrees: Largest angle, either way.
        shift: Largest shift along each axis, as a share of the side.
        scale: Smallest and largest magnification.
        p: Probability.
    """

    degrees: float = 0.0
    shift: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "degrees", (0, self.degrees), low=0, high=180)
        check_range(self, "shift", (0, self.shift), low=0, high=1)
        check_range(self, "scale", self.scale, low=1e-3, high=1e3)
        check_probability(self, p=self.p)

    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        n = shape[0]
        return {
            "degrees": uniform((n,), -self.degrees, self.degrees, generator),
            "shift": uniform((n, 2), -self.shift, self.shift, generator),
            "scale": uniform((n,), *self.scale, generator),
        }

    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        return affine(images, parameters["degrees"], parameters["shift"], parameters["scale"])


def affine(images: Tensor, degrees: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Rotate clockwise by `degrees` (n,) and magnify by `scale` (n,) about the centre, then shift by `shift` (n, 2).

    `shift` is (right, down) in shares of the side. Bilinear, without antialiasing; outside is 0.
    """
    angle = degrees.deg2rad()
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    inverse = torch.stack([torch.stack([cosine, sine], 1), torch.stack([-sine, cosine], 1)], 1)  # output -> input
    offset = -(inverse @ (2 * shift).unsqueeze(2))  # a side is 2 long in grid coordinates
    grid = F.affine_grid(torch.cat([inverse, offset], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False).clamp_(0, 1)


def center_view(inputs: Tensor, *, size: int, aspect: Tensor | None = None) -> Tensor:
    """The view for evaluation: the largest centred square of the original picture, antialiased, without any randomness.

    Args:
        inputs: (n, c, s, s), uint8 or float in [0, 1]; pictures that were not square are squashed to it.
        size: Side of the result.
        aspect: (n,) original width / height; None if all were square.

    Returns:
        float32 (n, c, size, size) in [0, 1].

    Raises:
        DataError: If `inputs` or `aspect` have the wrong shape, type or range.
    """
    return CenterCrop(size)(inputs, aspect=aspect)


def _check_size(owner: object, size: int) -> None:
    if size < 1:
        raise ConfigError(f"{type(owner).__name__}: size must be at least 1 pixel, not {size!r}.")
