"""The scaled cosine error of GraphMAE."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import assert_values, similarity_of
from objective_cases import random_views

from twofold.contrast.objectives import scaled_cosine_error


@pytest.mark.parametrize("gamma", [1.0, 1.5, 3.0])
def test_by_definition(gamma: float) -> None:
    z = random_views(2, 5, 4)
    s = similarity_of(z)
    expected = [(1 - s(0, i, 1, i)) ** gamma for i in range(5)]
    assert_values(scaled_cosine_error(z[0], z[1], gamma=gamma, reduction="none"), expected)


@pytest.mark.parametrize("gamma", [1.0, 1.5, 3.0])
def test_gradcheck(gamma: float) -> None:
    z = random_views(2, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: scaled_cosine_error(z[0], z[1], gamma=gamma), (z,))


def test_equal_rows_cost_nothing_and_give_no_broken_gradient() -> None:
    x = random_views(1, 50, 7, dtype=torch.float32)[0].requires_grad_()
    loss = scaled_cosine_error(x, 3 * x.detach(), gamma=1.5)
    assert 0 <= loss < 1e-6
    loss.backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_a_row_of_zeros_costs_one_and_learns_nothing() -> None:
    x = random_views(2, 3, 4)
    x[1, 1] = 0
    x.requires_grad_()
    losses = scaled_cosine_error(x[0], x[1], gamma=3.0, reduction="none")
    assert losses[1] == 1
    losses[1].backward()
    assert x.grad is not None
    assert (x.grad[0] == 0).all()


def test_with_an_epsilon_a_prediction_of_zeros_learns_by_its_inverse() -> None:
    predictions, targets = random_views(2, 3, 4)
    predictions[1] = 0
    predictions.requires_grad_()
    losses = scaled_cosine_error(predictions, targets, gamma=1.0, reduction="none", epsilon=1e-6)
    assert losses[1] == 1
    plain = scaled_cosine_error(predictions, targets, gamma=1.0, reduction="none")
    torch.testing.assert_close(losses, plain)
    (gradient,) = torch.autograd.grad(losses.sum(), predictions)
    torch.testing.assert_close(gradient[1], -1e6 * targets[1] / targets[1].norm())
    (usual,) = torch.autograd.grad(plain.sum(), predictions)
    torch.testing.assert_close(gradient[::2], usual[::2])


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(gamma=st.floats(1, 4), seed=st.integers(0, 99), scale=st.floats(1e-2, 1e2))
def test_lengths_do_not_matter_and_good_rows_weigh_less(gamma: float, seed: int, scale: float) -> None:
    z = random_views(2, 6, 4, seed=seed)
    error = scaled_cosine_error(z[0], z[1], gamma=gamma, reduction="none")
    torch.testing.assert_close(scaled_cosine_error(scale * z[0], z[1], gamma=gamma, reduction="none"), error)
    plain = scaled_cosine_error(z[0], z[1], gamma=1.0, reduction="none")
    assert (error[plain < 1] <= plain[plain < 1]).all()
    assert (error[plain > 1] >= plain[plain > 1]).all()


def test_what_is_refused() -> None:
    z = random_views(2, 4, 3)
    with pytest.raises(ValueError, match=r"gamma must be at least 1, got 0\.5"):
        scaled_cosine_error(z[0], z[1], gamma=0.5)
    with pytest.raises(ValueError, match="must have the same shape"):
        scaled_cosine_error(z[0], z[1, :2])
    with pytest.raises(ValueError, match="epsilon"):
        scaled_cosine_error(z[0], z[1], epsilon=-1.0)
