"""Sums over the anchors of small matrices: few operations, and the definition's value and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from objective_cases import random_rows, some_scale
from products_counted import Products
from torch import Tensor
from torch.nn import functional as F

from twofold.contrast import at_once, products
from twofold.contrast.pairs import AllBut, all_but_self, different
from twofold.contrast.reductions import logsumexp
from twofold.contrast.tiles import LARGEST_DIRECT


@pytest.fixture(autouse=True)
def nothing_is_tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(at_once, "TINY_PAIRS", 0)
        yield


def some_rule(kind: str, count: int, columns: int) -> AllBut | None:
    draw = torch.rand(count, columns, generator=torch.Generator().manual_seed(5))
    rules = {"listed": AllBut(draw.argsort(1)[:, :2]), "all of them": AllBut(draw.argsort(1))}
    return all_but_self(torch.arange(count)) if kind == "self" else rules.get(kind)


def value_and_gradients(leaves: list[Tensor], scale: Tensor, **options: object) -> list[Tensor]:
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    value = logsumexp(leaves[0], leaves[-1], scale=scale, **options)
    return [value.detach(), *torch.autograd.grad(1.7 * value, leaves + ([scale] if scale.requires_grad else []))]


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    n=st.integers(2, 9),
    m=st.integers(2, 11),
    scale=st.sampled_from(["number", "per anchor", "learned", "negative"]),
    rule=st.sampled_from(["none", "self", "listed"]),
    same_rows=st.booleans(),
    reduction=st.sampled_from(["sum", "mean"]),
    known=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_is_the_dense_sum(n, m, scale, rule, same_rows, reduction, known, seed) -> None:
    assume(not (n == 2 and rule == "listed" and same_rows))  # nothing would be left at all
    leaves = [random_rows(n, 4, seed)] if same_rows else [random_rows(n, 4, seed), random_rows(max(n, m), 4, seed + 1)]
    k, left_out = some_scale(scale, n), some_rule(rule, n, len(leaves[-1]))
    options = {"rule": left_out, "reduction": reduction}
    expected = value_and_gradients(leaves, k, tile=0, **options)
    actual = value_and_gradients(leaves, k, largest=50.0 if known else None, **options)
    for ours, dense in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("same_rows", [True, False])
def test_gradcheck(same_rows: bool) -> None:
    leaves = [random_rows(6, 3, 0).requires_grad_(), random_rows(6, 3, 1).requires_grad_()][: 1 if same_rows else 2]
    k, rule = some_scale("learned", 6), all_but_self(torch.arange(6))
    assert torch.autograd.gradcheck(
        lambda *given: logsumexp(given[0], given[-2], scale=given[-1], rule=rule, reduction="mean"), [*leaves, k]
    )


def test_it_is_taken_where_it_is_exact_and_fast() -> None:
    def taken(a: Tensor, b: Tensor, **options: object) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            called = []
            real = at_once.SummedAtOnce.apply
            patch.setattr(at_once.SummedAtOnce, "apply", lambda *given: called.append(1) or real(*given))
            logsumexp(a, b, **{"reduction": "mean"} | options)
        return bool(called)

    a, b = (F.normalize(random_rows(70, 5, seed), dim=1) for seed in (0, 1))
    assert taken(a, b)
    assert taken(a, a, rule=all_but_self(torch.arange(70)))
    assert not taken(a, b, reduction="none")
    assert not taken(a, b, tile=7)
    assert not taken(a, b, scale=1.01 * LARGEST_DIRECT)
    assert not taken(a, b, rule=different(torch.arange(70), torch.arange(70)))
    with products.reduced():  # nothing to be won by them at this size
        assert taken(a.float(), b.float())
    with torch.no_grad():
        assert not taken(a, b)
    many = random_rows(at_once.AT_ONCE_PAIRS // 70 + 1, 5, 2)
    assert not taken(a, many)


def test_two_products_for_rows_with_themselves_and_three_otherwise() -> None:
    a, b = random_rows(30, 4, 0).requires_grad_(), random_rows(20, 4, 1).requires_grad_()
    with Products() as counted:
        logsumexp(a, a, reduction="mean", rule=all_but_self(torch.arange(30))).backward()
    assert counted.multiplications == 2 * 30 * 30 * 4
    with Products() as counted:
        logsumexp(a, b, reduction="mean").backward()
    assert counted.multiplications == 3 * 30 * 20 * 4
    with Products() as counted:
        logsumexp(a, b.detach(), reduction="mean").backward()
    assert counted.multiplications == 2 * 30 * 20 * 4


def test_a_row_with_nothing_left_has_no_gradient() -> None:
    a, b = random_rows(5, 3, 0).requires_grad_(), random_rows(4, 3, 1).requires_grad_()
    total = logsumexp(a, b, rule=some_rule("all of them", 5, 4), reduction="sum")
    assert total.item() == float("-inf")
    total.backward()
    assert a.grad.eq(0).all()
    assert b.grad.eq(0).all()


def test_a_second_backward_pass_gives_the_same() -> None:
    a = random_rows(9, 3, 0).requires_grad_()
    total = logsumexp(a, a, reduction="sum")
    first, second = (torch.autograd.grad(total, a, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
