"""Sums over anchors in three products of matrices, and the definition, whatever the tiles, scales and weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import small_tiles
from products_counted import Products
from torch import Tensor

from twofold.contrast.pairs import AllBut, Rule
from twofold.contrast.reductions import logsumexp

SCALES = {
    "scalar": lambda n: torch.tensor(1.7, dtype=torch.float64),
    "per anchor": lambda n: torch.linspace(0.1, 3, n, dtype=torch.float64),
    "mixed signs": lambda n: torch.linspace(-2, 2, n, dtype=torch.float64),
    "thousand": lambda n: torch.tensor(1e3, dtype=torch.float64),
}
WEIGHTS = ["none", "bool", "float", "extreme", "listed"]


def rows(count: int, dim: int, seed: int) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_rule(kind: str, n: int, m: int, seed: int = 0) -> Rule | None:
    draw = torch.rand(n, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if kind == "none":
        return None
    if kind == "listed":
        return AllBut(torch.stack([draw.argmax(1), draw.argmin(1)], 1))
    draw[:, 0] += 0.5  # nobody is left alone
    table = {
        "bool": draw > 0.4,
        "float": 3 * (draw - 0.4).clamp(min=0),
        "extreme": torch.where(draw > 0.4, 10.0 ** (160 * draw - 90), 0.0),
    }[kind]
    return lambda i, j, similarity: table[i][:, j]


def value_and_gradients(n: int, m: int, d: int, scale: str, weights: str, seed: int, **options: object) -> list[Tensor]:
    leaves = [rows(n, d, seed) / d, rows(m, d, seed + 1), SCALES[scale](n)]
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = logsumexp(leaves[0], leaves[1], scale=leaves[2], rule=some_rule(weights, n, m, seed), **options)
    return [value.detach(), *torch.autograd.grad(1.7 * value, leaves)]


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    n=st.integers(1, 9),
    m=st.integers(3, 11),
    d=st.integers(1, 4),
    tile=st.integers(1, 10),
    scale=st.sampled_from(list(SCALES)),
    weights=st.sampled_from(WEIGHTS),
    reduction=st.sampled_from(["sum", "mean"]),
    convolve=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_it_is_the_dense_sum(n, m, d, tile, scale, weights, reduction, convolve, seed) -> None:
    expected = value_and_gradients(n, m, d, scale, weights, seed, reduction=reduction, tile=0)
    with small_tiles(tile, convolve=convolve):
        actual = value_and_gradients(n, m, d, scale, weights, seed, reduction=reduction)
    size = 1e3 if scale == "thousand" else 1.0
    for ours, dense in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-9, atol=1e-10 * size)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_gradcheck(weights: str) -> None:
    leaves = [leaf.requires_grad_() for leaf in (rows(5, 3, 0), rows(7, 3, 1), SCALES["per anchor"](5))]
    rule = some_rule(weights, 5, 7)
    with small_tiles(2):
        assert torch.autograd.gradcheck(lambda a, b, k: logsumexp(a, b, scale=k, rule=rule, reduction="sum"), leaves)


def test_extreme_weights_would_leave_the_range_of_direct_sums() -> None:
    """The guard of the case above: without a second look these sums are 0 or infinite in float32."""
    weights = torch.tensor([[1e-36, 1e-37], [1e36, 1e38]])
    anchors, candidates = torch.zeros(2, 3), torch.zeros(2, 3)
    values = logsumexp(anchors, candidates, rule=lambda i, j, s: weights[i][:, j], tile=1)
    torch.testing.assert_close(values, weights.double().sum(1).log().float())
    total = logsumexp(anchors, candidates, rule=lambda i, j, s: weights[i][:, j], tile=1, reduction="sum")
    torch.testing.assert_close(total, values.sum())


def test_a_row_with_nothing_left_has_no_gradient() -> None:
    keep = torch.ones(4, 5, dtype=torch.bool)
    keep[2] = False
    anchors, candidates = rows(4, 3, 0).requires_grad_(), rows(5, 3, 1).requires_grad_()
    total = logsumexp(anchors, candidates, rule=lambda i, j, s: keep[i][:, j], reduction="sum", tile=3)
    assert total.item() == float("-inf")
    total.backward()
    assert anchors.grad[2].eq(0).all()
    assert anchors.grad[[0, 1, 3]].ne(0).all()
    assert candidates.grad.isfinite().all()


def test_what_needs_no_gradient_costs_none() -> None:
    anchors, queue = rows(6, 3, 0).requires_grad_(), rows(10, 3, 1)
    with Products() as products:
        logsumexp(anchors, queue, reduction="mean", tile=4).backward()
    assert products.multiplications == 2 * 6 * 10 * 3
    assert queue.grad is None
    with Products() as products, torch.no_grad():
        logsumexp(anchors, queue, reduction="mean", tile=4)
    assert products.multiplications == 6 * 10 * 3


@pytest.mark.parametrize(("reduction", "products_needed"), [("mean", 3), ("sum", 3), ("none", 4)])
def test_products_of_matrices(reduction: str, products_needed: int) -> None:
    anchors, candidates = rows(20, 3, 0).requires_grad_(), rows(10, 3, 1).requires_grad_()
    with small_tiles(), Products() as products:
        logsumexp(anchors, candidates, reduction=reduction, tile=4).sum().backward()
    assert products.multiplications == products_needed * 20 * 10 * 3
    with small_tiles(kept=200), Products() as products:
        logsumexp(anchors, candidates, reduction=reduction, tile=4).sum().backward()
    assert products.multiplications == 3 * 20 * 10 * 3  # kept tiles are not computed again


def test_an_unknown_reduction() -> None:
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'avg'"):
        logsumexp(torch.ones(2, 3), torch.ones(2, 3), reduction="avg")
