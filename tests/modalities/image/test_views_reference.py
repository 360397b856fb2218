"""Operations and draws against what torchvision gave (see make_torchvision_fixture.py, which made the numbers)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from twofold.modalities.image.views import ColorJitter, RandomResizedCrop
from twofold.modalities.pixels.colour import ADJUSTMENTS, grey, solarize
from twofold.modalities.pixels.filters import gaussian_blur
from twofold.modalities.pixels.geometry import affine, resized_crop

DRAWS = 20_000
# Kolmogorov-Smirnov: 20 000 draws on either side differ by more than this once in 10 000 times.
CRITICAL = 2.23 * math.sqrt(2 / DRAWS)
GRID = torch.linspace(0, 1, 42, dtype=torch.float64)[1:-1] + math.pi * 1e-5


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    with np.load(Path(__file__).parent / "fixtures" / "torchvision.npz", allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("channels", ["", "_single"])
@pytest.mark.parametrize("name", ADJUSTMENTS)
def test_adjustments_are_torchvisions(reference: dict[str, Tensor], name: str, channels: str) -> None:
    images = reference["in_images"].float() / 255
    images = images[:, :1] if channels else images
    factor = reference["in_shift" if name == "hue" else "in_factor"]
    assert_same(ADJUSTMENTS[name](images, factor), reference[f"out_{name}{channels}"])


def test_grey_and_solarise_are_torchvisions(reference: dict[str, Tensor]) -> None:
    images = reference["in_images"].float() / 255
    assert_same(grey(images).expand_as(images), reference["out_grey"])
    assert_same(solarize(images), reference["out_solarize"])


@pytest.mark.parametrize("taps", [3, 9])
def test_blur_is_torchvisions(reference: dict[str, Tensor], taps: int) -> None:
    images = reference["in_images"].float() / 255
    assert_same(gaussian_blur(images, reference["in_sigma"], kernel_size=taps), reference[f"out_blur_{taps}"])


@pytest.mark.parametrize("size", [6, 16, 21])
def test_antialiased_crop_is_torchvisions(reference: dict[str, Tensor], size: int) -> None:
    box = reference["in_box"].float()
    view = resized_crop(reference["in_images"], box, size=size, flip=reference["in_flip"])
    assert_same(view, reference[f"out_crop_{size}"])


def test_affine_is_torchvisions(reference: dict[str, Tensor]) -> None:
    images = reference["in_images"].float() / 255
    moved = affine(images, reference["in_degrees"], reference["in_translate"] / 16, reference["in_magnify"])
    # Each way of computing the sampling grid rounds differently: 1e-6 of a side times the steepest slope.
    assert_same(moved, reference["out_affine"], tolerance=5e-5)


@pytest.mark.parametrize(
    ("name", "source", "aspect", "scale"),
    [
        ("square", 32, None, (0.08, 1.0)),
        ("square", 32, 1.0, (0.08, 1.0)),
        ("wide", 256, 1.5, (0.2, 1.0)),
        ("tall", 256, 0.5, (0.08, 1.0)),
        ("very_wide", 256, 10.0, (0.9, 1.0)),
        ("very_tall", 256, 0.1, (0.9, 1.0)),
    ],
)
def test_crop_boxes_are_distributed_as_torchvisions(
    reference: dict[str, Tensor], name: str, source: int, aspect: float | None, scale: tuple[float, float]
) -> None:
    generator = torch.Generator().manual_seed(3)
    aspects = None if aspect is None else torch.full((DRAWS,), aspect)
    crop = RandomResizedCrop(32, scale)
    left, top, width, height = crop.draw(DRAWS, source, generator, aspect=aspects)["box"].double().div(source).unbind(1)
    ours = [
        distribution_function(width * height, 0, 1),
        distribution_function((width / height * (aspect or 1)).log(), -1, 1),
        distribution_function(left + width / 2, 0, 1),
        distribution_function(top + height / 2, 0, 1),
    ]
    # Boxes snap to the pixels of the squashed picture, torchvision's to those of the original.
    snapping = 0 if aspect in (None, 1.0) else 0.01
    worst = (torch.stack(ours) - reference[f"cdf_crop_{name}"]).abs().amax(1)
    assert (worst < CRITICAL + snapping).all(), worst


def test_a_wrong_aspect_would_be_noticed(reference: dict[str, Tensor]) -> None:
    box = RandomResizedCrop(32, (0.2, 1.0)).draw(DRAWS, 256, torch.Generator().manual_seed(3))["box"].double()
    ratio = distribution_function((box[:, 2] / box[:, 3] * 1.5).log(), -1, 1)
    assert (ratio - reference["cdf_crop_wide"][1]).abs().max() > 10 * CRITICAL


def test_jitter_is_distributed_as_torchvisions(reference: dict[str, Tensor]) -> None:
    jitter = ColorJitter(0.4, 0.4, 1.2, 0.1, p=0.8)
    drawn = jitter.draw((DRAWS, 3, 8, 8), torch.Generator().manual_seed(4))
    spans = {"brightness": (0.0, 2.5), "contrast": (0.0, 2.5), "saturation": (0.0, 2.5), "hue": (-0.5, 0.5)}
    for row, (name, span) in enumerate(spans.items()):
        difference = distribution_function(drawn[name], *span) - reference["cdf_jitter"][row]
        assert difference.abs().max() < CRITICAL, name
    orders = torch.bincount(drawn["order"] @ torch.tensor([64, 16, 4, 1]), minlength=256) / DRAWS
    assert int((orders > 0).sum()) == 24
    deviation = math.sqrt(2 / 24 / DRAWS)
    assert (orders - reference["cdf_orders"]).abs().max() < 4.5 * deviation
    assert abs(drawn["apply"].float().mean() - 0.8) < 4.5 * math.sqrt(0.8 * 0.2 / DRAWS)


def distribution_function(values: Tensor, low: float, high: float) -> Tensor:
    points = low + (high - low) * GRID
    return (torch.searchsorted(values.double().sort().values, points, right=True) / len(values)).float()


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 3e-6) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
