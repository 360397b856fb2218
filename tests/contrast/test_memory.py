"""Queue, bank and per-sample state: order, wrap-around, repeated samples, and all of it in the checkpoint."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.contrast.memory import Bank, PerSampleState, Queue, _last_occurrences


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


def restored(module, fresh):
    fresh.load_state_dict(module.state_dict())
    return fresh


@given(st.integers(1, 9), st.lists(st.integers(1, 12), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_the_queue_holds_the_latest_rows(size, batches):
    queue, stream = Queue(size, 3, with_index=True), unit(rows(sum(batches), 3))
    position = 0
    for n in batches:
        queue.push(stream[position : position + n] * 5, torch.arange(position, position + n))
        position += n
    kept = min(position, size)
    assert queue.filled == kept
    held = queue.index[queue.index >= 0]
    assert sorted(held.tolist()) == list(range(position - kept, position))
    torch.testing.assert_close(queue.rows[queue.index >= 0], stream[held])


def test_wrap_around_replaces_the_oldest_rows_only():
    queue = Queue(5, 3, with_index=True)
    queue.push(rows(4, 3), torch.arange(4))
    queue.push(rows(3, 3), torch.arange(4, 7))
    assert queue.index.tolist() == [5, 6, 2, 3, 4]


def test_a_new_queue_is_random_unit_rows_from_its_seed():
    queue = Queue(20, 4, with_index=True, seed=3)
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(20))
    assert (queue.index == -1).all()
    assert queue.filled == 0
    assert torch.equal(queue.rows, Queue(20, 4, seed=3).rows)
    assert not torch.equal(queue.rows, Queue(20, 4, seed=4).rows)


def test_a_restored_queue_goes_on_where_it_stopped():
    queue = Queue(5, 3, with_index=True)
    queue.push(rows(3, 3), torch.arange(3))
    twin = restored(queue, Queue(5, 3, with_index=True, seed=9))
    for memory in (queue, twin):
        memory.push(rows(4, 3, seed=1), torch.arange(3, 7))
    assert torch.equal(queue.rows, twin.rows)
    assert torch.equal(queue.index, twin.index)
    assert queue.filled == twin.filled == 5


def test_a_queue_keeps_no_graph_and_takes_half_precision():
    queue = Queue(4, 3)
    queue.push(rows(2, 3).requires_grad_())
    queue.push(torch.zeros(1, 3, dtype=torch.bfloat16))
    assert not queue.rows.requires_grad
    assert queue.rows.dtype == torch.float32
    assert torch.isfinite(queue.rows).all()


def test_pushing_before_the_backward_pass_is_refused_by_autograd():
    queue, query = Queue(4, 3), rows(2, 3).requires_grad_()
    loss = (query @ queue.rows.T).logsumexp(dim=1).sum()
    queue.push(rows(2, 3))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_queue_names_bad_input():
    with pytest.raises(ValueError, match="with_index=True"):
        Queue(4, 3).push(rows(2, 3), torch.arange(2))
    with pytest.raises(ValueError, match="with_index=True"):
        Queue(4, 3, with_index=True).push(rows(2, 3))
    with pytest.raises(ValueError, match=r"rows must be \(n, 3\), got shape \(2, 4\)"):
        Queue(4, 3).push(rows(2, 4))
    with pytest.raises(ValueError, match=r"index must be \(2,\).*\(3,\)"):
        Queue(4, 3, with_index=True).push(rows(2, 3), torch.arange(3))
    with pytest.raises(TypeError, match=r"index must be int64, got torch\.int32"):
        Queue(4, 3, with_index=True).push(rows(2, 3), torch.arange(2, dtype=torch.int32))
    with pytest.raises(ValueError, match=r"got 0 row\(s\) of 3"):
        Queue(0, 3)


def test_a_bank_mixes_old_and_new_and_leaves_the_others():
    bank, new = Bank(6, 4, momentum=0.3), rows(2, 4)
    before = bank.rows.clone()
    bank.write(torch.tensor([4, 1]), new * 7)
    torch.testing.assert_close(bank.read(torch.tensor([4, 1])), unit(0.3 * before[[4, 1]] + 0.7 * unit(new)))
    assert torch.equal(bank.rows[[0, 2, 3, 5]], before[[0, 2, 3, 5]])


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_a_bank_at_its_ends(momentum):
    bank, new = Bank(3, 4, momentum=momentum), rows(3, 4, seed=1)
    expected = unit(new) if momentum == 0 else bank.rows.clone()
    bank.write(torch.arange(3), new)
    torch.testing.assert_close(bank.rows, expected)


def test_of_a_repeated_sample_the_last_row_counts():
    bank, state, new = Bank(300, 4, momentum=0), PerSampleState(300, u=0.0), rows(1000, 4)
    index = torch.randint(300, (1000,), generator=torch.Generator().manual_seed(0))
    bank.write(index, new)
    state.write(index, u=torch.arange(1000.0))
    last = {sample: position for position, sample in enumerate(index.tolist())}
    seen = torch.tensor(list(last))
    positions = torch.tensor(list(last.values()))
    torch.testing.assert_close(bank.read(seen), unit(new[positions]))
    assert torch.equal(state.read(seen)["u"], positions.float())


def test_no_position_is_ever_written_twice():
    assert _last_occurrences(torch.tensor([7, 2, 7, 2, 2, 0])).tolist() == [5, 4, 2]


def test_reading_a_bank_gives_a_copy():
    bank = Bank(3, 4)
    bank.read(torch.tensor([0])).zero_()
    torch.testing.assert_close(bank.rows.norm(dim=1), torch.ones(3))


def test_bank_names_bad_input():
    bank = Bank(3, 4)
    for index in ([3], [-1]):
        with pytest.raises(IndexError, match="between 0 and 2"):
            bank.read(torch.tensor(index))
    with pytest.raises(IndexError, match="got 0 to 7"):
        bank.write(torch.tensor([0, 7]), rows(2, 4))
    with pytest.raises(ValueError, match=r"index must be \(2,\)"):
        bank.write(torch.tensor([0]), rows(2, 4))
    with pytest.raises(ValueError, match="momentum must lie between 0 and 1"):
        Bank(3, 4, momentum=-0.1)


def test_state_reads_what_was_written_and_keeps_the_rest():
    state = PerSampleState(5, u=0.0, tau=0.1)
    index = torch.tensor([3, 0])
    state.write(index, tau=torch.tensor([0.7, 0.2]))
    values = state.read(index)
    assert list(values) == ["u", "tau"]
    torch.testing.assert_close(values["tau"], torch.tensor([0.7, 0.2]))
    torch.testing.assert_close(state.tau, torch.tensor([0.2, 0.1, 0.1, 0.7, 0.1]))
    assert (state.u == 0).all()
    assert torch.equal(restored(state, PerSampleState(5, u=9.0, tau=9.0)).tau, state.tau)


def test_state_names_bad_input():
    state = PerSampleState(5, u=0.0)
    index = torch.tensor([1, 2])
    with pytest.raises(ValueError, match="no field 'v'; the fields are u"):
        state.write(index, v=torch.zeros(2))
    with pytest.raises(ValueError, match=r"u must be one value per index \(2,\), got \(3,\)"):
        state.write(index, u=torch.zeros(3))
    with pytest.raises(IndexError, match="between 0 and 4"):
        state.read(torch.tensor([5]))
    for taken in ("training", "samples", "write"):
        with pytest.raises(ValueError, match=f"cannot be called '{taken}'"):
            PerSampleState(5, **{taken: 0.0})
    with pytest.raises(ValueError, match="at least one sample and one field"):
        PerSampleState(5)


def test_the_shares_of_a_queue_are_equal_disjoint_parts(monkeypatch):
    queue = Queue(7, 4)
    assert torch.equal(queue.share(), queue.rows)
    parts = []
    for place in range(3):
        monkeypatch.setattr("twofold.contrast.memory.world_size", lambda: 3)
        monkeypatch.setattr("twofold.contrast.memory.rank", lambda place=place: place)
        parts.append(queue.share())
    assert [len(part) for part in parts] == [2, 2, 2]
    assert {tuple(row.tolist()) for part in parts for row in part} == {tuple(row.tolist()) for row in queue.rows[:6]}
