from __future__ import annotations

import threading
import time
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.training.loader import Loader, sequential


class Numbers:
    """Sample i is the number i; ``broken`` ones cannot be read, ``bad`` ones make reading fail."""

    def __init__(
        self, count: int, *, broken: set[int] | None = None, bad: int | None = None, slow: bool = False
    ) -> None:
        self.spec: dict[str, Any] = {}
        self.labels = torch.arange(count) % 3
        self.class_names = None
        self.ids = [f"item-{i}" for i in range(count)]
        self.skipped: dict[str, str] = {}
        self.broken, self.bad, self.slow = broken or set(), bad, slow
        self.fetches = 0
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        self.fetches += 1
        self.threads.add(threading.current_thread().name)
        if self.slow:  # the first fetch of each pair takes longer, so that threads finish out of order
            time.sleep(0.02 * (self.fetches % 2))
        if self.bad in index.tolist():
            raise ValueError("truncated")
        kept = [i for i in index.tolist() if i not in self.broken]
        self.skipped |= {self.ids[i]: "broken" for i in set(index.tolist()) & self.broken}
        rows = torch.tensor(kept, dtype=torch.int64)
        texts = {"ids": rows[:, None], "words": [self.ids[i] for i in kept]}
        return {"inputs": texts, "index": rows, "label": self.labels[rows], "kind": "number"}


def read(loader: Loader, start: int, total: int) -> list[tuple[int, list[int]]]:
    return [(step, batch["index"].tolist()) for step, batch in loader.batches(start, total)]


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("twofold-ahead")]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_order_depends_on_neither_workers_nor_start(workers: int) -> None:
    expected = read(Loader(Numbers(23), 5, seed=3, workers=0), 0, 11)
    dataset = Numbers(23, slow=True)
    assert read(Loader(dataset, 5, seed=3, workers=workers), 0, 11) == expected
    assert read(Loader(dataset, 5, seed=3, workers=workers), 6, 11) == expected[6:]
    assert any(name.startswith("twofold-ahead") for name in dataset.threads) == (workers > 0)
    assert read(Loader(Numbers(23), 5, seed=4, workers=0), 0, 11) != expected


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 60), st.integers(4, 20), st.booleans(), st.sampled_from([1, 2]), st.integers(0, 3))
def test_an_epoch_is_a_permutation_split_by_rank(samples: int, half: int, drop: bool, world: int, seed: int) -> None:
    batch_size = half * world
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a batch larger than the data
        loaders = [
            Loader(Numbers(samples), batch_size, seed=seed, drop_last=drop, workers=0, rank=rank, world=world)
            for rank in range(world)
        ]
    per_epoch = loaders[0].steps_per_epoch
    for epoch in (0, 1):
        steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
        parts = [[loader.index(step).tolist() for loader in loaders] for step in steps]
        assert all(len(part) == len(parts[i][0]) >= 2 for i, batch in enumerate(parts) for part in batch)
        seen = [sample for batch in parts for part in batch for sample in part]
        assert len(set(seen)) == len(seen)
        lost = samples - len(seen)
        assert lost < (loaders[0].batch_size if drop else 2 * world)
    assert loaders[0].position(per_epoch) == (1, 0)


def test_every_epoch_has_an_order_of_its_own_whatever_the_global_state() -> None:
    epochs = []
    for epoch in (0, 1):
        torch.rand(epoch + 1)
        epochs.append([i for _, rows in read(Loader(Numbers(40), 8, seed=0), epoch * 5, epoch * 5 + 5) for i in rows])
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(40))
    assert epochs[0] != epochs[1]
    assert epochs[0] == [i for _, rows in read(Loader(Numbers(40), 8, seed=0), 0, 5) for i in rows]


def test_ranks_hold_contiguous_parts_of_the_batch_of_one_process() -> None:
    whole = read(Loader(Numbers(20), 8, seed=0), 0, 4)
    parts = [read(Loader(Numbers(20), 8, seed=0, rank=rank, world=2), 0, 4) for rank in (0, 1)]
    assert [(step, a + b) for (step, a), (_, b) in zip(*parts, strict=True)] == whole


def test_everything_in_a_batch_belongs_together() -> None:
    for _, batch in Loader(Numbers(12, broken={3}), 4, seed=1).batches(0, 6):
        assert torch.equal(batch["inputs"]["ids"][:, 0], batch["index"])
        assert batch["inputs"]["words"] == [f"item-{i}" for i in batch["index"].tolist()]
        assert torch.equal(batch["label"], batch["index"] % 3)
        assert batch["kind"] == "number"


def test_a_set_smaller_than_a_batch_shrinks_it_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="batch_size 64 is more than the 7 samples; training with batches of 6"):
        loader = Loader(Numbers(7), 64, seed=0, world=2)
    assert (loader.batch_size, loader.steps_per_epoch) == (6, 1)


def test_unreadable_samples_shorten_batches_and_too_short_ones_are_counted() -> None:
    loader = Loader(Numbers(12, broken=set(range(1, 12, 2))), 3, seed=0)
    steps = read(loader, 0, 40)
    assert {len(rows) for _, rows in steps} == {2, 3}
    assert loader.skipped_batches == 40 - len(steps) > 0
    assert [step for step, _ in steps] == sorted({step for step, _ in steps})
    assert read(Loader(Numbers(12, broken=set(range(1, 12, 2))), 3, seed=0, workers=0), 0, 40) == steps


def test_processes_agree_on_the_shortest_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twofold.training.loader.smallest", lambda count: min(count, 3))
    for _, batch in Loader(Numbers(20), 10, seed=0, rank=1, world=2).batches(0, 2):
        assert len(batch["index"]) == len(batch["label"]) == len(batch["inputs"]["words"]) == 3


def test_a_set_with_nothing_readable_ends_in_an_error() -> None:
    loader = Loader(Numbers(8, broken=set(range(8))), 4, seed=0)
    with pytest.raises(DataError, match=r"Skipped so far: 8, such as item-\d: broken;"):
        read(loader, 0, 100)
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_exception_while_reading_names_step_and_samples(workers: int) -> None:
    loader = Loader(Numbers(40, bad=17), 10, seed=0, workers=workers)
    step = next(step for step in range(4) if 17 in loader.index(step).tolist())
    names = ", ".join(f"item-{i}" for i in loader.index(step)[:3].tolist())
    batches = loader.batches(0, 4)
    assert [next(batches)[0] for _ in range(step)] == list(range(step))
    with pytest.raises(DataError) as caught:
        next(batches)
    expected = f"failed for step {step}, on one of the samples {names} and 7 more: ValueError: truncated"
    assert expected in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    assert not loader_threads()


def test_closing_early_stops_the_threads_and_reading_ahead_is_bounded() -> None:
    dataset = Numbers(400)
    batches = Loader(dataset, 2, seed=0, workers=3).batches(0, 1000)
    next(batches)
    time.sleep(0.05)
    assert loader_threads()
    assert 1 <= dataset.fetches <= 5  # the one given out, and workers + 1 ahead
    batches.close()
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_sequential_reads_all_readable_samples_once_in_order(workers: int) -> None:
    dataset = Numbers(11, broken={0, 1, 2, 7}, slow=True)
    batches = [batch["index"].tolist() for batch in sequential(dataset, 3, workers)]
    assert batches == [[], [3, 4, 5], [6, 8], [9, 10]]
    assert [batch["index"].tolist() for batch in sequential(Numbers(3), 1)] == [[0], [1], [2]]


def test_batches_of_several_processes_in_turns_are_those_of_one() -> None:
    whole = [batch["index"].tolist() for batch in sequential(Numbers(23), 3)]
    shares = [[batch["index"].tolist() for batch in sequential(Numbers(23), 3, rank=r, world=3)] for r in range(3)]
    assert [share[turn] for turn in range(3) for share in shares if turn < len(share)] == whole


def test_sequential_names_samples_and_checks_at_once() -> None:
    with pytest.raises(DataError, match="Reading failed, on one of the samples item-0, item-1: ValueError"):
        list(sequential(Numbers(4, bad=1), 2))
    with pytest.raises(ConfigError, match="batch_size is 0"):
        sequential(Numbers(4), 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size is 1; it must be at least 2"),
        ({"batch_size": 2, "world": 2}, "at least 4"),
        ({"batch_size": 7, "world": 2}, "cannot be split over 2 processes; take 6 or 8"),
        ({"batch_size": 4, "rank": 2, "world": 2}, "rank 2 of 2"),
        ({"batch_size": 4, "workers": -1}, "workers is -1"),
    ],
)
def test_wrong_numbers_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Loader(Numbers(20), seed=0, **options)


def test_a_set_without_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="has 1 samples; contrast needs at least two a process, 2 here"):
        Loader(Numbers(1), 4, seed=0)
