"""Crops that need no resampling."""

from __future__ import annotations

import pytest
import torch

from twofold.modalities.pixels.geometry import CenterCrop


@pytest.mark.parametrize("size", [16, 224])
@pytest.mark.parametrize("aspect", [None, torch.ones(5)])
@pytest.mark.parametrize("integers", [True, False])
def test_a_square_of_the_right_size_is_taken_as_it_is(integers, aspect, size):
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (5, 3, size, size), dtype=torch.uint8, generator=draw)
    inputs = inputs if integers else torch.rand(5, 3, size, size, generator=draw)
    crop = CenterCrop(size)
    taken = crop(inputs, aspect=aspect)
    assert torch.equal(taken, crop.apply(inputs, crop.draw(5, size, aspect=aspect)))
    assert taken.data_ptr() != inputs.data_ptr()
