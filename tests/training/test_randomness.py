from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twofold.training import randomness
from twofold.training.randomness import forked_rng, generator, seed_from, seed_global, seeded_init

KEYS = st.lists(st.one_of(st.integers(), st.text(max_size=4)), max_size=4)


def test_seeds_are_the_same_in_every_process_and_release() -> None:
    expected = 1100073153597901585  # the first 63 bits of sha256(b"2:i06:sorder2:i3")
    assert seed_from(0, "order", 3) == expected
    code = "from twofold.training.randomness import seed_from; print(seed_from(0, 'order', 3))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) == expected


@given(KEYS, KEYS)
def test_different_keys_give_different_seeds(first: list[int | str], second: list[int | str]) -> None:
    same = [(type(part), part) for part in first] == [(type(part), part) for part in second]
    assert (seed_from(*first) == seed_from(*second)) == same
    assert 0 <= seed_from(*first) < 2**63


def test_parts_of_a_key_do_not_run_together() -> None:
    keys = [("ab", "c"), ("a", "bc"), ("abc",), (1, 2), (12,), ("1", 2), (1, "2"), (), ("",)]
    assert len({seed_from(*key) for key in keys}) == len(keys)


def test_numpy_integers_count_as_integers_and_floats_do_not() -> None:
    assert seed_from(np.int64(5)) == seed_from(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"not float: 0\.5"):
        seed_from(0.5)  # type: ignore[arg-type]


def test_generators_repeat_and_leave_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    first, again = (torch.rand(4, generator=generator(1, "views", 2)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, torch.rand(4, generator=generator(1, "views", 3)))
    assert torch.equal(torch.get_rng_state(), before)


def test_forked_rng_replays_dropout_and_restores_the_state() -> None:
    seed_global(7, "step", 0)
    expected = torch.rand(3)
    seed_global(7, "step", 0)
    masks = []
    for _ in range(2):
        with forked_rng(7, "chunk", 1):
            masks.append(torch.dropout(torch.ones(64), 0.5, train=True))
    with forked_rng():
        torch.rand(5)
    assert torch.equal(masks[0], masks[1])
    assert 0 < int((masks[0] == 0).sum()) < 64
    assert torch.equal(torch.rand(3), expected)


def test_the_global_seed_is_that_of_torch_with_and_without_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(seed_from(3, "step"))
    expected = torch.rand(4)
    for present in (False, True):
        monkeypatch.setattr(randomness, "_has_accelerator", lambda present=present: present)
        seed_global(3, "step")
        assert torch.equal(torch.rand(4), expected)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    weights = []
    for seed in (0, 0, 1):
        torch.rand(3)
        with seeded_init(seed):
            weights.append(torch.nn.Linear(3, 3).weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_state_is_restored_after_an_error() -> None:
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="shape"), seeded_init(0):
        torch.rand(1).view(2)
    assert torch.equal(torch.get_rng_state(), before)
