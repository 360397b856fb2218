"""Products block by block against the whole products."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twofold.modalities.pixels import bands
from twofold.modalities.pixels.base import separable
from twofold.modalities.pixels.filters import blur_matrix, gaussian_blur
from twofold.modalities.pixels.geometry import RandomResizedCrop, resampling_matrix, resized_crop


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, size: int) -> Tensor:
    return torch.rand((n, 3, size, size), generator=seeded(1))


def whole(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The definition: ``rows @ image @ columns.T``."""
    return torch.einsum("nij,ncjk,nlk->ncil", rows.double(), images.double(), columns.double()).float()


@settings(max_examples=60, deadline=None)
@given(
    source=st.integers(1, 150),
    size=st.integers(1, 150),
    share=st.floats(0.01, 1),
    place=st.floats(0, 1),
    flip=st.booleans(),
)
def test_crop_windows_hold_all_that_is_not_zero(source: int, size: int, share: float, place: float, flip: bool) -> None:
    length = torch.tensor([max(0.5, share * source)])
    start = place * (source - length)
    mirrored = torch.tensor([flip])
    matrix = resampling_matrix(start, length, source=source, size=size, flip=mirrored)[0]
    (windows,) = bands.crop_windows(start, length, source=source, size=size, flip=mirrored)
    assert len(windows) == -(-size // bands.BLOCK)
    for block, (low, high) in enumerate(windows):
        assert 0 <= low < high <= source
        part = matrix[block * bands.BLOCK : (block + 1) * bands.BLOCK].clone()
        part[:, low:high] = 0
        assert (part == 0).all()


@pytest.mark.parametrize(("source", "size"), [(112, 112), (224, 130), (100, 200), (130, 64)])
def test_crops_are_the_whole_product(source: int, size: int) -> None:
    images = pictures(6, source)
    drawn = RandomResizedCrop(size, (0.1, 1.0)).draw(6, source, seeded())
    left, top, width, height = drawn["box"].unbind(1)
    rows = resampling_matrix(top, height, source=source, size=size)
    columns = resampling_matrix(left, width, source=source, size=size, flip=drawn["flip"])
    row_windows = bands.crop_windows(top, height, source=source, size=size)
    column_windows = bands.crop_windows(left, width, source=source, size=size, flip=drawn["flip"])
    made = bands.banded_separable(images, rows, columns, row_windows, column_windows)
    expected = whole(images, rows, columns)
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(separable(images, rows, columns), expected, rtol=0, atol=2e-6)
    if bands.is_worthwhile(images, size):
        crop = resized_crop(images, drawn["box"], size=size, flip=drawn["flip"])
        torch.testing.assert_close(crop, expected.clamp(0, 1), rtol=0, atol=2e-6)


@pytest.mark.parametrize(("size", "taps"), [(112, 11), (150, 3), (224, 23), (129, 255)])
def test_blurs_are_the_whole_product(size: int, taps: int) -> None:
    images, sigma = pictures(3, size), torch.tensor([0.1, 1.0, 4.0])
    matrix = blur_matrix(sigma, size=size, kernel_size=taps)
    assert bands.is_worthwhile(images, size)
    expected = whole(images, matrix, matrix)
    torch.testing.assert_close(gaussian_blur(images, sigma, kernel_size=taps), expected, rtol=0, atol=2e-6)


def test_a_blur_on_top_of_a_crop_is_the_product_of_both() -> None:
    start, length, reach = torch.tensor([10.0]), torch.tensor([100.0]), torch.tensor([9])
    matrix = resampling_matrix(start, length, source=140, size=150)[0]
    blur = blur_matrix(torch.tensor([3.0]), size=150, kernel_size=19)[0]
    (windows,) = bands.crop_windows(start, length, source=140, size=150, reach=reach)
    product, plain = torch.zeros(150, 140), torch.zeros(150, 140)
    for made, options in ((product, (blur, 9)), (plain, ())):
        for number, ((low, high), block) in enumerate(bands.blocks(matrix, windows, *options)):
            made[number * bands.BLOCK : (number + 1) * bands.BLOCK, low:high] = block
    torch.testing.assert_close(product, blur @ matrix, rtol=0, atol=2e-6)
    torch.testing.assert_close(plain, matrix, rtol=0, atol=2e-6)


def test_blurred_crops_reach_further() -> None:
    size = source = 130
    start, length, reach = torch.zeros(2), torch.full((2,), 130.0), torch.tensor([0, 9])
    plain, blurred = bands.crop_windows(start, length, source=source, size=size, reach=reach)
    assert plain == bands.crop_windows(start, length, source=source, size=size)[0]
    assert all(low <= first and high >= last for (low, high), (first, last) in zip(blurred, plain, strict=True))
    assert blurred[1][0] == plain[1][0] - 9


def test_small_pictures_and_other_devices_take_whole_products() -> None:
    assert not bands.is_worthwhile(pictures(1, 64), 64)
    assert bands.is_worthwhile(pictures(1, 224), 224)
    assert not bands.is_worthwhile(pictures(1, 224).to("meta"), 224)
