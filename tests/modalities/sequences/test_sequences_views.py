"""Crop, mask and reorder: what they keep, and that each sequence has draws of its own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import ConfigError, DataError
from twofold.modalities.sequences.views import CROP, MASK, PRESETS, REORDER, lengths, make_views

PLACES, HIDDEN = 9, 99


def sequences(seed, n=6):
    draw = torch.Generator().manual_seed(seed)
    count = torch.randint(1, PLACES + 1, (n, 1), generator=draw)
    items = torch.randint(1, 50, (n, PLACES), generator=draw)
    return items.masked_fill(torch.arange(PLACES) < PLACES - count, 0)


def made(name, inputs, seed=0):
    return PRESETS[name](inputs, torch.Generator().manual_seed(seed), HIDDEN)


def items(row):
    return [item for item in row.tolist() if item]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(sorted(PRESETS)))
def test_what_an_operator_keeps(seed, name):
    inputs = sequences(seed)
    before = inputs.clone()
    out = made(name, inputs, seed)
    assert torch.equal(inputs, before)
    assert out.shape == inputs.shape
    assert out.dtype == torch.int64
    assert bool((out.diff(dim=1)[out[:, :-1] > 0] >= -HIDDEN).all())
    for row, new in zip(inputs, out, strict=True):
        old, left = items(row), items(new)
        assert new[PLACES - len(left) :].tolist() == left  # nothing empty after the first item
        allowed = {
            "whole": left == old,
            "crop": len(left) == max(1, int(CROP * len(old)))
            and any(old[i : i + len(left)] == left for i in range(len(old))),
            "mask": len(left) == len(old)
            and left.count(HIDDEN) == int(MASK * len(old))
            and all(b in (a, HIDDEN) for a, b in zip(old, left, strict=True)),
            "reorder": sorted(left) == sorted(old)
            and sum(a != b for a, b in zip(old, left, strict=True)) <= int(REORDER * len(old)),
        }
        assert any(allowed.values()) if name == "crop-mask-reorder" else allowed[name]


def test_operators_reach_every_place_and_differ_between_samples():
    inputs = torch.arange(1, PLACES + 1).repeat(400, 1)
    crops = made("crop", inputs)
    assert set(crops[:, -1].tolist()) == {5, 6, 7, 8, 9}
    hidden = (made("mask", inputs) == HIDDEN).double().mean(0)
    assert ((hidden - 2 / 9).abs() < 0.08).all()
    moved = made("reorder", inputs)
    assert set(moved[:, 0].tolist()) > {1, 2, 3}
    assert set(moved[:, -1].tolist()) > {7, 8, 9}
    mixed = made("crop-mask-reorder", inputs)
    kinds = [(lengths(mixed) < PLACES), (mixed == HIDDEN).any(1), (mixed.sort(1).values == inputs).all(1)]
    assert all(abs(float(kind.double().mean()) - 1 / 3) < 0.1 for kind in kinds)


def test_views_by_name_and_by_wish():
    inputs = sequences(1)
    first, second = (
        make_views(None, mask=HIDDEN, preferred="whole, crop-mask-reorder", count=3)(
            inputs, generator=torch.Generator().manual_seed(4)
        )
        for _ in range(2)
    )
    assert torch.equal(first[0], inputs)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[1], first[2])
    with pytest.raises(ConfigError, match="There are no views called 'crops'; did you mean 'crop'"):
        make_views("crops", mask=HIDDEN, preferred="", count=2)
    with pytest.raises(ConfigError, match="count must be a whole number from 1 up"):
        make_views("crop", mask=HIDDEN, preferred="", count=0)
    with pytest.raises(DataError, match=r"Sequences must be int64 \(n, places\)"):
        make_views("crop", mask=HIDDEN, preferred="", count=2)(torch.zeros(2, 3), generator=torch.Generator())
