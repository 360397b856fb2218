"""Views of pictures: bad input is explained, all problems at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.modalities.image.views import (
    ColorJitter,
    Cutout,
    GaussianBlur,
    MultiView,
    RandomResizedCrop,
    center_view,
    make_views,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 6, channels: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, channels, size, size), generator=seeded(seed), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(3, 8, 8), r"shape \(n, channels, size, size\).*\(3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 9), r"must be square.*\(2, 3, 8, 9\).*aspect"),
        (torch.zeros(0, 3, 8, 8), "no pixels"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), r"uint8 \(0\.\.255\) or floating.*int64"),
        (torch.full((2, 3, 8, 8), 255.0), r"\[0, 1\].*255.*uint8"),
        (torch.full((2, 3, 8, 8), torch.nan), r"\[0, 1\].*nan"),
        (torch.zeros(2, 1, 8, 8), "made for pictures with 3 channels.*have 1"),
    ],
)
def test_bad_pictures_are_explained(inputs: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_views("simclr", size=8)(inputs, generator=seeded())


@pytest.mark.parametrize(
    ("aspect", "message"),
    [
        (torch.ones(3), r"shape \(2,\).*\(3,\)"),
        (torch.tensor([1.0, 0.0]), "positive"),
        (torch.tensor([1, torch.inf]), "finite"),
    ],
)
def test_bad_aspects_are_explained(aspect: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        center_view(pictures(2), size=8, aspect=aspect)


def test_two_channels_have_no_colour() -> None:
    with pytest.raises(DataError, match="1 or 3 channels, but these have 2"):
        ColorJitter(p=1)(pictures(2, channels=2).float() / 255, seeded())


def test_a_blur_wider_than_the_picture_is_refused() -> None:
    with pytest.raises(DataError, match="9 pixels needs pictures larger than 4 pixels, not 4"):
        GaussianBlur(kernel_size=9, p=1)(torch.rand(2, 3, 4, 4), seeded())


def test_unknown_presets_name_the_near_ones() -> None:
    with pytest.raises(ConfigError, match=r"'simclr-strng'.*Did you mean 'simclr-strong'.*multi-crop"):
        make_views("simclr-strng", size=32)


def test_all_problems_of_a_call_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        make_views("simclr", size=0, channels=4, count=0, jiter=1, grey_p=0.1)
    assert len(caught.value.problems) == 4
    assert "'jiter'. Did you mean 'jitter'" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomResizedCrop(0), "size must be at least 1"),
        (lambda: RandomResizedCrop(8, scale=(0.5, 0.2)), r"scale must be \(smallest, largest\).*\(0.5, 0.2\)"),
        (lambda: RandomResizedCrop(8, ratio=(0, 1)), "ratio must be"),
        (lambda: RandomResizedCrop(8, flip=1.5), "flip is a probability.*1.5"),
        (lambda: ColorJitter(hue=0.6), "hue must be"),
        (lambda: ColorJitter(p=-1), "p is a probability"),
        (lambda: GaussianBlur(kernel_size=4), "kernel_size must be odd"),
        (lambda: Cutout(share=2), "share must be"),
        (lambda: MultiView(()), "at least one view"),
        (lambda: make_views("simclr", size=32, jitter=(0.4,)), "brightness, contrast, saturation, hue"),
        (lambda: make_views("multi-crop", size=32, local_count=-1), "local_count"),
        (lambda: make_views("byol", size=32, blur_p=0.5), "blur_p is one probability for each of two views, not 0.5"),
    ],
)
def test_bad_options_are_explained(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]
