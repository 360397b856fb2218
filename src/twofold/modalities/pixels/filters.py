"""What disturbs a view: blur, noise and missing patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.modalities.pixels.bands import banded_separable, blur_windows, is_worthwhile
from twofold.modalities.pixels.base import (
    Augmentation,
    Parameters,
    Shape,
    check_probability,
    check_range,
    separable,
    uniform,
)


def blur_matrix(sigma: Tensor, *, size: int, kernel_size: int) -> Tensor:
    """Matrices (n, size, size) that blur a row of pixels by a Gaussian of deviation `sigma` (n,), with reflected edges.

    The kernel has `kernel_size` (odd) taps at whole pixels and sums to one, as torchvision's.

    Raises:
        DataError: If the kernel reaches further than a reflection can fill.
    """
    radius = kernel_size // 2
    if radius >= size:
        raise DataError(f"A blur over {kernel_size} pixels needs pictures larger than {radius} pixels, not {size}.")
    offset = torch.arange(-radius, radius + 1, device=sigma.device)
    kernel = torch.softmax(-0.5 * (offset / sigma.unsqueeze(1)) ** 2, 1)  # (n, kernel_size)
    # The far taps of a narrow kernel are denormal numbers, with which a matrix product takes five times as long.
    kernel = kernel.masked_fill_(kernel < 1e-9, 0)
    pixel = (torch.arange(size, device=sigma.device).unsqueeze(1) + offset).abs()  # reflected at the first pixel,
    pixel = torch.minimum(pixel, 2 * (size - 1) - pixel)  # and at the last; (size, kernel_size)
    taps = kernel.unsqueeze(1).expand(-1, size, -1)
    return kernel.new_zeros(len(sigma), size, size).scatter_add_(2, pixel.expand(len(sigma), -1, -1), taps)


def gaussian_blur(images: Tensor, sigma: Tensor, *, kernel_size: int) -> Tensor:
    """Blur each of `images` (n, c, s, s) by a Gaussian of its own `sigma` (n,) in pixels, cut to `kernel_size` taps."""
    size = images.shape[-1]
    matrix = blur_matrix(sigma, size=size, kernel_size=kernel_size)
    if not is_worthwhile(images, size):
        return separable(images, matrix, matrix).contiguous().clamp_(0, 1)
    windows = [blur_windows(size=size, reach=kernel_size // 2)] * len(images)
    return banded_separable(images, matrix, matrix, windows, windows).clamp_(0, 1)


@dataclass(frozen=True)
class GaussianBlur(Augmentation):
    """Blur by a Gaussian of random width.

    Args:
        sigma: Smallest and largest deviation in pixels; the default is SimCLR's (Chen et al., ICML 2020).
        kernel_size: Taps, odd; None takes the odd number next to a tenth of the side, at least 3 (SimCLR).
        p: Probability.
    """

    sigma: tuple[float, float] = (0.1, 2.0)
    kernel_size: int | None = None
    p: float = 0.5

    def __post_init__(self) -> None:
        check_range(self, "sigma", self.sigma, low=1e-3, high=1e3)
        check_probability(self, p=self.p)
        if self.kernel_size is not None and (self.kernel_size < 1 or self.kernel_size % 2 == 0):
            raise ConfigError(f"GaussianBlur: kernel_size must be odd and positive, not {self.kernel_size!r}.")

    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        return {"sigma": uniform((shape[0],), *self.sigma, generator)}

    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        return gaussian_blur(images, parameters["sigma"], kernel_size=self.taps(images.shape[-1]))

    def taps(self, size: int) -> int:
        """Width of the kernel for pictures of that side."""
        return self.kernel_size or max(3, size // 20 * 2 + 1)


@dataclass(frozen=True)
class GaussianNoise(Augmentation):
    """Add independent normal noise of deviation `std` to every value; the result is cut to [0, 1].

    The noise is a parameter like any other: drawing it takes as much memory as the batch.
    """

    std: float = 0.05
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "std", (0, self.std), low=0, high=1)
        check_probability(self, p=self.p)

    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        return {"noise": torch.randn(shape, generator=generator, device=generator.device).mul_(self.std)}

    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        return (images + parameters["noise"]).clamp_(0, 1)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Blank a square patch (DeVries & Taylor, arXiv 2017).

    Args:
        share: Side of the patch as a share of the picture's, rounded to at least one pixel.
        fill: Value of the patch.
        p: Probability.

    The middle of the patch is uniform over the picture, so a patch at the edge is partly outside, as in the paper.
    """

    share: float = 0.25
    fill: float = 0.0
    p: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "share", (0, self.share), low=0, high=1)
        check_range(self, "fill", (0, self.fill), low=0, high=1)
        check_probability(self, p=self.p)

    def sample(self, shape: Shape, generator: torch.Generator) -> Parameters:
        return {"middle": uniform((shape[0], 2), 0, 1, generator)}

    def transform(self, images: Tensor, parameters: Parameters) -> Tensor:
        size = images.shape[-1]
        side = max(1, round(self.share * size))
        start = (parameters["middle"] * size).floor() - side // 2  # (n, 2): top, left
        pixel = torch.arange(size, device=images.device)
        rows, columns = ((pixel - start[:, axis, None] + 0.5).sub(side / 2).abs() < side / 2 for axis in (0, 1))
        return images.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], self.fill)
