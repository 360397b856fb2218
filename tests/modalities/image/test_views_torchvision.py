"""Whole views against torchvision, one picture at a time. Needs torchvision, which the default environment has not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from twofold.modalities.image.views import MultiView, View, make_views
from twofold.modalities.pixels.base import Parameters
from twofold.modalities.pixels.colour import ColorJitter

pytest.importorskip("torchvision")
from torchvision.transforms.v2 import functional as F


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_torchvision_fixture", Path(__file__).parent / "make_torchvision_fixture.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stored_results_are_still_torchvisions(script: ModuleType) -> None:
    given = script.inputs()
    with np.load(script.FIXTURE, allow_pickle=False) as stored:
        for name, value in given.items():
            assert torch.equal(torch.from_numpy(stored[f"in_{name}"]), value), name
        for name, value in script.operations(given).items():
            torch.testing.assert_close(torch.from_numpy(stored[f"out_{name}"]), value, rtol=0, atol=2e-6, msg=name)


@pytest.mark.parametrize(
    ("name", "size", "channels"),
    [("simclr", 40, 3), ("simclr-strong", 32, 3), ("byol", 48, 3), ("multi-crop", 64, 3), ("simclr", 40, 1)],
)
def test_a_view_is_what_torchvision_makes_of_the_same_draws(name: str, size: int, channels: int) -> None:
    inputs = torch.randint(
        0, 256, (24, channels, 36, 36), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
    )
    views: MultiView = make_views(name, size=size, channels=channels)
    ours = views(inputs, generator=torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(2)
    for view, result in zip(views.views, ours, strict=True):
        drawn = view.draw(inputs, generator=generator)
        expected = torch.stack([one_view(inputs[i], view, drawn, i) for i in range(len(inputs))])
        # A hue turned near a jump of the solarisation's threshold may land on its other side.
        assert ((result - expected).abs() > 2e-5).float().mean() < 1e-4


def one_view(picture: Tensor, view: View, drawn: tuple[Parameters, ...], i: int) -> Tensor:
    """Picture `i` of the batch through torchvision's functions."""
    left, top, width, height = drawn[0]["box"][i].int().tolist()
    size = [view.size, view.size]
    image = F.resized_crop(picture.float() / 255, top, left, height, width, size, antialias=True)
    if drawn[0]["flip"][i]:
        image = F.horizontal_flip(image)
    for augmentation, values in zip(view.augmentations, drawn[1:], strict=True):
        if values["apply"][i]:
            image = STEPS[type(augmentation).__name__](image, augmentation, values, i)
    return image


def jitter(image: Tensor, augmentation: ColorJitter, values: Parameters, i: int) -> Tensor:
    adjust = {
        "brightness": F.adjust_brightness,
        "contrast": F.adjust_contrast,
        "saturation": F.adjust_saturation,
        "hue": F.adjust_hue,
    }
    for position in values["order"][i].tolist():
        name = augmentation.names[position]
        image = adjust[name](image, values[name][i].item())
    return image


def blur(image: Tensor, _augmentation: object, values: Parameters, i: int) -> Tensor:
    taps = max(3, image.shape[-1] // 20 * 2 + 1)
    return F.gaussian_blur(image, [taps, taps], [values["sigma"][i].item()] * 2)


STEPS = {
    "ColorJitter": jitter,
    "RandomGrey": lambda image, *_: F.rgb_to_grayscale(image, num_output_channels=3),
    "GaussianBlur": blur,
    "Solarize": lambda image, *_: F.solarize(image, 0.5),
}
