from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twofold.training.schedule import learning_rate, scaled, set_learning_rate


def test_the_landmarks_of_the_curve() -> None:
    rates = [learning_rate(step, base=2.0, warmup_steps=4, total_steps=12, final=0.2) for step in range(13)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[8] == pytest.approx(1.1)  # half-way down
    assert rates[12] == 0.2
    assert learning_rate(99, base=2.0, warmup_steps=4, total_steps=12, final=0.2) == 0.2


@given(st.integers(0, 60), st.integers(1, 60), st.floats(1e-6, 10), st.floats(0, 1))
def test_it_rises_then_falls_between_its_bounds(warmup: int, total: int, base: float, share: float) -> None:
    final = base * share
    rates = [learning_rate(s, base=base, warmup_steps=warmup, total_steps=total, final=final) for s in range(total)]
    top = min(warmup, total)
    assert rates[:top] == sorted(rates[:top])
    falling = rates[max(0, top - 1) :]
    assert all(late <= early * (1 + 1e-12) for early, late in itertools.pairwise(falling))
    assert 0 < max(rates) <= base * (1 + 1e-12)


def test_a_rate_does_not_depend_on_what_was_asked_before() -> None:
    def curve(steps: range) -> list[float]:
        return [learning_rate(step, base=1.0, warmup_steps=3, total_steps=20) for step in steps]

    assert curve(range(20))[7:] == curve(range(7, 20))


def test_negative_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="step=-1"):
        learning_rate(-1, base=1.0, warmup_steps=0, total_steps=1)


def test_the_scaling_rule_is_linear_and_neutral_at_256() -> None:
    assert scaled(0.3, 256) == 0.3
    assert scaled(0.3, 4096) == pytest.approx(4.8)


def test_constant_groups_keep_their_rate() -> None:
    moving, constant = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([{"params": [moving]}, {"params": [constant], "constant_lr": True}], lr=0.5)
    set_learning_rate(optimizer, 0.1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.5]
