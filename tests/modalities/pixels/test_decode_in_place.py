"""Pixels are taken from where Pillow has them; what comes out is what a copy gives."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from PIL import Image

from twofold.modalities.pixels import decode as decoding
from twofold.modalities.pixels.decode import decode


class Copied:
    """A picture of a Pillow that does not say where its pixels are."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self.mode, self.size, self.width, self.height = image.mode, image.size, image.width, image.height

    @property
    def __array_interface__(self) -> dict[str, object]:
        return self._image.__array_interface__


def picture(mode: str, width: int = 70, height: int = 50, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_in_place_is_as_copied(mode: str) -> None:
    image = picture(mode)
    squashed, copied = (decoding._squashed(one, 32) for one in (image, Copied(image)))
    assert squashed.shape == ((32, 32) if mode == "L" else (32, 32, 3))
    assert np.array_equal(squashed, copied)


def test_pixels_outlive_the_picture() -> None:
    wanted = [np.array(picture("RGB", seed=seed)) for seed in range(50)]
    taken = [decoding._in_place(picture("RGB", seed=seed)) for seed in range(50)]
    gc.collect()
    for pixels, right in zip(taken, wanted, strict=True):
        assert np.array_equal(pixels.reshape(50, 70, 4)[..., :3].numpy(), right)


def test_a_picture_in_several_places_is_copied() -> None:
    image = picture("RGB", 2500, 2500)  # more than Pillow keeps in one piece
    assert torch.equal(decoding._in_place(image), torch.from_numpy(np.array(image)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [50, 24])
def test_what_comes_out_can_be_written_to(channels: int, size: int) -> None:
    image = picture("RGB", 50, 50)
    before = np.array(image)
    pixels, _ = decode(image, size=size, channels=channels)
    assert pixels.flags.c_contiguous
    pixels[:] = 0
    assert np.array_equal(np.array(image), before)
