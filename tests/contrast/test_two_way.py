"""Rows and columns of one matrix at once: the same as two reductions, in fewer products."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import small_tiles
from products_counted import Products
from torch import Tensor

from twofold.contrast.pairs import AllBut, Rule, all_but_self, at_least
from twofold.contrast.products import reduced
from twofold.contrast.reductions import logsumexp, logsumexp_both_ways
from twofold.contrast.tiles import LARGEST_DIRECT
from twofold.contrast.two_way import direct_bound

SCALES = ["number", "learned", "per row", "learned per row", "negative", "thousand"]
RULES = ["none", "not self", "listed one way", "bool", "float", "extreme", "by similarity"]


def unit_rows(count: int, dim: int, seed: int) -> Tensor:
    drawn = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn / drawn.norm(dim=1, keepdim=True)


def some_scale(kind: str, count: int) -> Tensor:
    each = torch.linspace(0.5, 9, count, dtype=torch.float64)
    values = {"per row": each, "learned per row": each, "negative": torch.tensor(-4.0), "thousand": torch.tensor(1e3)}
    scale = values.get(kind, torch.tensor(7.0)).double()
    return scale.requires_grad_("learned" in kind)


def some_rule(kind: str, count: int, seed: int) -> Rule | None:
    draw = torch.rand(count, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    draw.fill_diagonal_(0.9)
    tables = {
        "bool": draw > 0.4,
        "float": 3 * (draw - 0.4).clamp(min=0),
        "extreme": torch.where(draw > 0.4, 10.0 ** (160 * draw - 90), 0.0),
    }
    if kind in tables:
        return lambda i, j, similarity: tables[kind][i][:, j]
    return {
        "none": None,
        "not self": all_but_self(torch.arange(count)),
        "listed one way": AllBut(draw.argmin(1, keepdim=True)),
        "by similarity": at_least(torch.full((count,), -0.1, dtype=torch.float64)),
    }[kind]


def gradients_of(values: list[Tensor], leaves: list[Tensor]) -> list[Tensor]:
    towards = sum((value * torch.linspace(-1.3, 2.1, len(value), dtype=torch.float64)).sum() for value in values)
    return [value.detach() for value in values] + list(torch.autograd.grad(towards, leaves))


def symmetric(count: int, scale: str, rule: str, seed: int, **options: int) -> list[Tensor]:
    rows, k = unit_rows(count, 3, seed).requires_grad_(), some_scale(scale, count)
    values = logsumexp(rows, rows, scale=k, rule=some_rule(rule, count, seed), **options)
    return gradients_of([values], [rows, *([k] if k.requires_grad else [])])


def assert_same(actual: list[Tensor], expected: list[Tensor], size: float = 1.0) -> None:
    for ours, dense in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-9, atol=1e-10 * size)


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(
    count=st.integers(3, 17),
    square=st.integers(1, 6),
    columns=st.integers(1, 9),
    kept=st.sampled_from([0, 10**6]),
    convolve=st.booleans(),
    scale=st.sampled_from(SCALES),
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 1000),
)
def test_rows_with_themselves_equal_the_dense_path(count, square, columns, kept, convolve, scale, rule, seed) -> None:
    expected = symmetric(count, scale, rule, seed, tile=0)
    with small_tiles(4, square, columns, kept=kept, convolve=convolve):
        actual = symmetric(count, scale, rule, seed)
    assert_same(actual, expected, 1e3 if scale == "thousand" else 1.0)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    count=st.integers(2, 13),
    tile=st.integers(1, 14),
    kept=st.sampled_from([0, 10**6]),
    convolve=st.booleans(),
    scale=st.sampled_from(SCALES),
    seed=st.integers(0, 1000),
)
def test_both_ways_equal_the_dense_path(count, tile, kept, convolve, scale, seed) -> None:
    def compute(**options: int) -> list[Tensor]:
        first, second = unit_rows(count, 3, seed).requires_grad_(), unit_rows(count, 3, seed + 1).requires_grad_()
        k = some_scale(scale, count)
        values = logsumexp_both_ways(first, second, scale=k, **options)
        return gradients_of(list(values), [first, second, *([k] if k.requires_grad else [])])

    expected = compute(tile=0)
    with small_tiles(tile, kept=kept, convolve=convolve):
        assert_same(compute(), expected, 1e3 if scale == "thousand" else 1.0)


@pytest.mark.parametrize("scale", ["learned", "per row"])
def test_gradcheck(scale: str) -> None:
    rows, others, k = unit_rows(5, 3, 0).requires_grad_(), unit_rows(5, 3, 1).requires_grad_(), some_scale(scale, 5)
    rule = all_but_self(torch.arange(5))
    with small_tiles(2, 2):
        assert torch.autograd.gradcheck(lambda r, k: logsumexp(r, r, scale=k, rule=rule), (rows, k))
        assert torch.autograd.gradcheck(lambda a, b, k: logsumexp_both_ways(a, b, scale=k), (rows, others, k))


def test_symmetry_spares_half_of_the_products() -> None:
    rows, square = unit_rows(24, 3, 0).requires_grad_(), 4
    with small_tiles(), Products() as products:
        logsumexp(rows, rows, scale=5.0, tile=square).sum().backward()
    tiles = 24 // square
    pairs = tiles * (tiles + 1) // 2 * square**2  # on and above the diagonal
    assert products.multiplications == (3 * pairs + (pairs - 24 * square)) * 3  # s twice, W r, and Wᵀ r off it
    assert products.multiplications < 3 * 24 * 24 * 3


def test_both_ways_take_four_products() -> None:
    first, second = unit_rows(24, 3, 0).requires_grad_(), unit_rows(24, 3, 1).requires_grad_()
    with small_tiles(), Products() as products:
        sum(values.sum() for values in logsumexp_both_ways(first, second, scale=5.0, tile=5)).backward()
    assert products.multiplications == 4 * 24 * 24 * 3


@pytest.mark.parametrize("reduce", [False, True])
def test_tiles_are_as_small_as_the_other_tests_suppose(reduce: bool) -> None:
    rows, others = unit_rows(24, 3, 0).float(), unit_rows(24, 3, 1).float()
    with small_tiles(8, 4, 12), Products() as products, reduced(reduce):
        logsumexp_both_ways(rows, others, scale=5.0)
        assert products.calls == 3 * 2
        logsumexp(rows, rows, scale=5.0)
    assert products.calls == 3 * 2 + 3 + 6  # four rows each, on and above the diagonal


def test_large_logits_are_not_formed_directly() -> None:
    rows = unit_rows(4, 3, 0)
    assert direct_bound(rows, rows, torch.tensor(LARGEST_DIRECT - 1)) == pytest.approx(LARGEST_DIRECT - 1)
    assert direct_bound(rows, rows, torch.tensor(LARGEST_DIRECT + 1)) is None
    assert direct_bound(rows * float("nan"), rows, torch.tensor(1.0)) is None


def test_a_scale_that_is_not_learned_is_not_read_back(monkeypatch):
    rows, scale = torch.eye(3), torch.tensor(2.0)
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda tensor: pytest.fail("this would stall an accelerator"))
    assert direct_bound(rows, rows, scale, 2.0) == 2.0


def test_a_kept_tile_survives_a_second_backward_pass() -> None:
    rows = unit_rows(6, 3, 0).requires_grad_()
    for scale in (torch.tensor(3.0), torch.linspace(1, 2, 6)):
        values = logsumexp(rows, rows, scale=scale, tile=8).sum() + logsumexp_both_ways(rows, -rows, tile=8)[1].sum()
        first, second = (torch.autograd.grad(values, rows, retain_graph=True)[0] for _ in range(2))
        assert torch.equal(first, second)


def test_both_ways_need_pairs() -> None:
    with pytest.raises(ValueError, match="both sides need equally many rows, got 3 and 4"):
        logsumexp_both_ways(torch.ones(3, 2), torch.ones(4, 2))
