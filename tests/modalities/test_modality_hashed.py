"""Hashed numbers: even, and a function of their keys alone."""

from __future__ import annotations

import torch

from twofold.modalities.hashed import hashed, hashed_names, share


def test_numbers_are_even_and_not_negative():
    drawn = hashed(3, torch.arange(200_000))
    assert int(drawn.min()) >= 0
    counts = torch.bincount(drawn % 10, minlength=10).double()
    assert ((counts - 20_000).abs() < 5 * 20_000**0.5).all()
    bits = torch.stack([(drawn >> bit & 1).double().mean() for bit in range(63)])
    assert ((bits - 0.5).abs() < 0.01).all()
    following = torch.corrcoef(torch.stack([drawn[:-1].double(), drawn[1:].double()]))[0, 1]
    assert abs(float(following)) < 0.01


def test_each_key_counts_and_keys_broadcast():
    grid = hashed(1, torch.arange(50)[:, None], torch.arange(40))
    assert grid.shape == (50, 40)
    assert len(grid.unique()) == 2000
    assert torch.equal(grid[7], hashed(1, torch.tensor(7), torch.arange(40)))
    assert not torch.equal(grid, hashed(2, torch.arange(50)[:, None], torch.arange(40)))
    assert not torch.equal(grid[:40, :40], grid[:40, :40].T)
    assert hashed(2**63 + 5, torch.arange(3)).shape == (3,)  # seeds have 64 bits


def test_a_larger_share_holds_the_smaller():
    drawn = hashed(0, torch.arange(20_000))
    small, large = share(drawn, 0.1), share(drawn, 0.3)
    assert abs(float(small.double().mean()) - 0.1) < 0.01
    assert abs(float(large.double().mean()) - 0.3) < 0.015
    assert bool((large | ~small).all())
    assert not share(drawn, 0.0).any()
    assert share(drawn, 1.0).all()


def test_names_have_keys_of_their_own():
    keys = hashed_names(["ann", "bob", "änn", ""])
    assert len(keys.unique()) == 4
    assert torch.equal(keys[:2], hashed_names(["ann", "bob"]))
