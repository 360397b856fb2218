"""The Chamfer distance against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from twofold.nn import chamfer, point_sets


def points(n: int, p: int, d: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(n, p, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive(first: Tensor, second: Tensor) -> Tensor:
    distance = (first[:, :, None] - second[:, None]).square().sum(3)
    return distance.amin(2).mean(1) + distance.amin(1).mean(1)


@pytest.mark.parametrize(("p", "q", "d"), [(5, 7, 3), (1, 4, 3), (6, 1, 2)])
def test_value_and_gradients_are_those_of_the_formula(p: int, q: int, d: int) -> None:
    first, second = points(3, p, d).requires_grad_(), points(3, q, d, seed=1).requires_grad_()
    value = chamfer(first, second)
    assert torch.allclose(value, naive(first, second))
    ours = torch.autograd.grad(value.sum(), (first, second))
    theirs = torch.autograd.grad(naive(first, second).sum(), (first, second))
    assert all(torch.allclose(a, b) for a, b in zip(ours, theirs, strict=True))
    assert torch.autograd.gradcheck(chamfer, (first, second))


def test_it_is_zero_for_the_same_points_in_any_order_and_symmetric() -> None:
    first, second = points(4, 9), points(4, 6, seed=1)
    assert torch.equal(chamfer(first, first.flip(1)), torch.zeros(4, dtype=torch.float64))
    assert torch.allclose(chamfer(first, second), chamfer(second, first))
    subset = chamfer(first, first[:, :3])  # all of these are there, but not all of the others
    assert bool((subset > 0).all())
    assert torch.allclose(subset, naive(first, first[:, :3]))


def test_far_from_the_origin_it_is_as_exact() -> None:
    first = points(2, 8).float()
    moved = first + 1000
    assert torch.allclose(chamfer(moved, moved + 0.5), chamfer(first, first + 0.5), rtol=1e-2)


def test_part_by_part_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = points(7, 9), points(7, 6, seed=1)
    whole = chamfer(first, second)
    monkeypatch.setattr(point_sets, "_AT_ONCE", 2 * 9 * 6)
    assert torch.equal(chamfer(first, second), whole)
    assert chamfer(first[:0], second[:0]).shape == (0,)


def test_half_precision_is_raised() -> None:
    first, second = points(2, 5).bfloat16(), points(2, 5, seed=1)
    value = chamfer(first, second)
    assert value.dtype == torch.float32
    assert torch.allclose(value, naive(first.float(), second.float()))


@pytest.mark.parametrize(
    ("first", "second", "error", "message"),
    [
        (torch.zeros(2, 3, 3, dtype=torch.int64), torch.zeros(2, 3, 3), TypeError, "first must be floating"),
        (torch.zeros(2, 3), torch.zeros(2, 3), ValueError, r"got \(2, 3\) and \(2, 3\)"),
        (torch.zeros(2, 3, 3), torch.zeros(3, 3, 3), ValueError, r"must be \(n, p, d\) and \(n, q, d\)"),
        (torch.zeros(2, 3, 3), torch.zeros(2, 3, 2), ValueError, r"must be \(n, p, d\) and \(n, q, d\)"),
        (torch.zeros(2, 0, 3), torch.zeros(2, 3, 3), ValueError, "at least one point"),
    ],
)
def test_what_are_no_point_sets(first: Tensor, second: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        chamfer(first, second)
