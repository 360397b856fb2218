"""What holds for every objective: tiling, true gradients, and the symmetries of the problem."""

from __future__ import annotations

from contextlib import nullcontext
from inspect import isfunction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from objective_cases import CASES, Case, random_views, small_tiles
from torch import Tensor

from twofold.contrast import objectives

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
TAU = 0.3


def problem(case: Case, n: int = 6, dim: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    return random_views(case.views, n, dim, seed=seed), torch.arange(n)


def test_every_objective_that_compares_samples_has_a_case() -> None:
    families = {
        "attraction",
        "cross_modal",
        "hard_negatives",
        "hardness",
        "individual",
        "infonce",
        "multiview",
        "ordinal",
        "recommendation",
        "sigmoid",
        "supervised",
        "weighted",
    }
    exported = [getattr(objectives, name) for name in objectives.__all__]
    functions = {x.__name__ for x in exported if isfunction(x) and x.__module__.rsplit(".", 1)[-1] in families}
    tested = {case.name.split(",")[0].split(" of ")[0] for case in CASES}
    # Row by row, or on sequences: tests of their own.
    apart = {"positive_rank", "bpr", "sampled_logistic", "attended_info_nce"}
    assert functions - apart == tested


@EVERY
def test_tiles_give_the_same_value_and_gradient(case: Case) -> None:
    z, index = problem(case, n=7)
    results = []
    for way in (nullcontext(), small_tiles(), small_tiles(convolve=True)):
        leaf = z.clone().requires_grad_()
        temperature = torch.full((7,), TAU, dtype=torch.float64, requires_grad=True)
        with way:
            loss = case.loss(leaf, temperature, index)
            loss.backward()
        results.append((loss.detach(), leaf.grad, temperature.grad))
    for tiled in results[1:]:
        torch.testing.assert_close(tiled, results[0], rtol=1e-10, atol=1e-10)
    assert results[0][1].abs().max() > 1e-3


@pytest.mark.parametrize("case", [case for case in CASES if case.exact_gradient], ids=lambda case: case.name)
def test_gradcheck(case: Case) -> None:
    z, index = problem(case, n=4, dim=2, seed=2)
    temperature = torch.tensor(TAU, dtype=torch.float64, requires_grad=case.has_temperature)
    assert torch.autograd.gradcheck(lambda z, t: case.loss(z, t, index), (z.requires_grad_(), temperature))


@EVERY
@settings(max_examples=6, deadline=None, derandomize=True, database=None)
@given(n=st.integers(2, 8), dim=st.integers(2, 5), seed=st.integers(0, 999))
def test_the_order_of_samples_does_not_matter(case: Case, n: int, dim: int, seed: int) -> None:
    z, index = problem(case, n, dim, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(case.loss(z[:, order], TAU, index[order]), case.loss(z, TAU, index))
    if case.per is None:
        return
    values = case.loss(z, TAU, index, reduction="none").reshape(-1, n)
    assert len(values) == (case.views if case.per == "anchor" else 1)
    permuted = case.loss(z[:, order], TAU, index[order], reduction="none").reshape(-1, n)
    torch.testing.assert_close(permuted, values[:, order])


@EVERY
def test_the_order_of_views_matters_only_where_it_should(case: Case) -> None:
    z, index = problem(case)
    change = (case.loss(z.flip(0), TAU, index) - case.loss(z, TAU, index)).abs()
    assert (change < 1e-12) == case.symmetric


@EVERY
@settings(max_examples=6, deadline=None, derandomize=True, database=None)
@given(n=st.integers(2, 6), dim=st.integers(2, 5), seed=st.integers(0, 999))
def test_rotations_and_lengths_do_not_matter(case: Case, n: int, dim: int, seed: int) -> None:
    z, index = problem(case, n, dim, seed)
    expected = case.loss(z, TAU, index)
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=generator, dtype=torch.float64)).Q
    torch.testing.assert_close(case.loss(z @ rotation, TAU, index), expected)
    lengths = 10 ** (4 * torch.rand(case.views, n, 1, generator=generator, dtype=torch.float64) - 2)
    torch.testing.assert_close(case.loss(z * lengths, TAU, index), expected)


@EVERY
def test_without_normalisation_lengths_matter(case: Case) -> None:
    z, index = problem(case)
    unit = torch.nn.functional.normalize(z, dim=-1)
    expected = case.loss(z, TAU, index)
    torch.testing.assert_close(case.loss(unit, TAU, index, normalize=False), expected)
    assert (case.loss(z, TAU, index, normalize=False) - expected).abs() > 1e-3


@pytest.mark.parametrize("case", [case for case in CASES if case.per], ids=lambda case: case.name)
def test_reductions_of_anchors(case: Case) -> None:
    z, index = problem(case)
    each = case.loss(z, TAU, index, reduction="none")
    torch.testing.assert_close(case.loss(z, TAU, index, reduction="sum"), each.sum())
    torch.testing.assert_close(case.loss(z, TAU, index), each.mean())
    with pytest.raises(ValueError, match="reduction must be 'mean', 'sum' or 'none', got 'avg'"):
        case.loss(z, TAU, index, reduction="avg")


@EVERY
def test_aligned_views_of_spread_samples_cost_less_than_chance(case: Case) -> None:
    spread = torch.eye(6, dtype=torch.float64).expand(case.views, 6, 6).clone()
    mixed = torch.stack([spread[v].roll(v, 0) for v in range(case.views)])
    if case.name == "info_nce_with_negatives":
        spread[2:] = mixed[2:]
    index = torch.arange(6)
    assert case.loss(spread, TAU, index) < case.loss(mixed, TAU, index)


@EVERY
def test_autocast_does_not_change_the_loss(case: Case) -> None:
    z, index = problem(case)
    z = z.float()
    expected = case.loss(z, 0.05, index)
    assert expected.dtype == torch.float32
    for tiled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16), small_tiles() if tiled else nullcontext():
            torch.testing.assert_close(case.loss(z, 0.05, index), expected, rtol=1e-5, atol=1e-5)
