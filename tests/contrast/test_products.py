"""Products in bfloat16: only where asked for, only in the asking thread, and with an error that is known."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twofold.contrast.objectives import info_nce, nt_xent, symmetric_info_nce
from twofold.contrast.products import reduced, total_of

LOSSES = {
    "nt_xent": lambda z, tau: nt_xent(z, temperature=tau),
    "info_nce": lambda z, tau: info_nce(z[0], z[1], temperature=tau),
    "symmetric_info_nce": lambda z, tau: symmetric_info_nce(z[0], z[1], temperature=tau),
}


def views(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 1100, 32, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()


def run(name: str, tau: float = 0.1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    z = views(dtype)
    loss = LOSSES[name](z, tau)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


@pytest.mark.parametrize("name", LOSSES)
def test_the_error_is_small_and_there(name: str) -> None:
    loss, gradient = run(name)
    with reduced():
        rough_loss, rough_gradient = run(name)
    assert 0 < abs(rough_loss - loss) < 2e-3
    assert 1e-4 < (rough_gradient - gradient).norm() / gradient.norm() < 2e-2
    assert rough_gradient.dtype == torch.float32


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("tau", "dtype"), [(0.04, torch.float32), (0.1, torch.float64)])
def test_large_logits_and_float64_are_never_rounded(name: str, tau: float, dtype: torch.dtype) -> None:
    exact = run(name, tau, dtype)
    with reduced():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(run(name, tau, dtype), exact, strict=True))


def test_other_threads_are_not_affected() -> None:
    exact, elsewhere = run("nt_xent"), []
    with reduced():
        thread = threading.Thread(target=lambda: elsewhere.extend(run("nt_xent")))
        thread.start()
        thread.join()
        here = run("nt_xent")
    assert all(torch.equal(theirs, ours) for theirs, ours in zip(elsewhere, exact, strict=True))
    assert not torch.equal(here[1], exact[1])
    assert all(torch.equal(after, ours) for after, ours in zip(run("nt_xent"), exact, strict=True))


def test_the_backward_pass_does_as_the_forward_pass_did() -> None:
    with reduced():
        _, inside = run("nt_xent")
        z = views()
        loss = nt_xent(z, temperature=0.1)
    assert torch.equal(torch.autograd.grad(loss, z)[0], inside)


def test_it_can_be_switched_off_within() -> None:
    exact = run("info_nce")
    with reduced(), reduced(False):
        assert torch.equal(run("info_nce")[1], exact[1])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 400),
    columns=st.integers(1, 400),
    axis=st.integers(0, 1),
    dtype=st.sampled_from([torch.bfloat16, torch.float32, torch.float64]),
)
def test_totals_are_those_of_the_tile(rows: int, columns: int, axis: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(rows + columns)
    tile = torch.rand(rows, columns, generator=draw).mul_(8).exp_().to(dtype)
    wanted = torch.promote_types(dtype, torch.float32)
    found, true = total_of(tile, axis, wanted), tile.double().sum(axis)
    assert found.dtype == wanted
    error = ((found - true) / true).abs()
    # A stretch is rounded once; what is left over by all stretches is rounded once too.
    assert error.max() <= (2**-8 if dtype == torch.bfloat16 else 1e-5)
    if dtype == torch.bfloat16 and tile.shape[axis] == 384:
        assert error.mean() < 2**-9


def test_parts_of_a_tile_can_be_totalled() -> None:
    tile = torch.ones(300, 700, dtype=torch.bfloat16)
    assert torch.equal(total_of(tile[:, 100:], 1, torch.float32), torch.full((300,), 600.0))
    assert torch.equal(total_of(tile[:, 100:], 0, torch.float32), torch.full((600,), 300.0))
