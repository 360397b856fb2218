"""Gradients that are formed early: each backward pass gives the same, and the last one takes no further memory."""

from __future__ import annotations

import pytest
import torch
from objective_cases import small_tiles
from torch import Tensor

from twofold.contrast import autograd
from twofold.contrast.reductions import logsumexp


def total_of(first: Tensor, second: Tensor, tile: int | None) -> Tensor:
    return logsumexp(first, second, reduction="mean", scale=3.0, matched=0, normalize=True, tile=tile)


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.randn(70, 5, generator=draw, requires_grad=True) for _ in range(2))
    return first, second


@pytest.mark.parametrize("tile", [None, 8])  # at once, and in tiles
def test_a_kept_graph_gives_the_same_again_whatever_is_done_to_its_results(pair, tile) -> None:
    total = total_of(*pair, tile)
    first = torch.autograd.grad(total, pair, retain_graph=True)
    kept = [gradient.clone() for gradient in first]
    for gradient in first:
        gradient.mul_(7)
    second = torch.autograd.grad(2 * total, pair, retain_graph=True)
    last = torch.autograd.grad(-total, pair)
    for once, twice, negative in zip(kept, second, last, strict=True):
        assert torch.equal(2 * once, twice)
        assert torch.equal(-once, negative)


def test_leaves_gather_gradients_of_several_passes(pair) -> None:
    (total_of(*pair, 8) * 3).backward()
    once = [leaf.grad.clone() for leaf in pair]
    total_of(*pair, 8).backward()
    for leaf, before in zip(pair, once, strict=True):
        torch.testing.assert_close(leaf.grad, before * 4 / 3)


def test_the_last_pass_hands_its_gradients_over() -> None:
    saved, factor = [torch.ones(3), None], torch.tensor(2.0)

    class Early(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.sum()

        @staticmethod
        def backward(ctx, *grads: Tensor) -> Tensor:
            found.append(autograd.times(saved, factor)[0])
            return torch.zeros(3)

    found: list[Tensor] = []
    leaf = torch.zeros(3, requires_grad=True)
    for keep in (True, False):
        Early.apply(leaf).backward(retain_graph=keep)
    assert found[0] is not saved[0]
    assert found[1] is saved[0]
    assert found[0].tolist() == found[1].tolist() == [2.0] * 3


def test_without_word_from_torch_the_graph_counts_as_kept(pair, monkeypatch) -> None:
    monkeypatch.delattr(torch._C._autograd, "_get_current_graph_task_keep_graph")
    with small_tiles():
        total = total_of(*pair, 8)
    first, second = (torch.autograd.grad(total, pair, retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
