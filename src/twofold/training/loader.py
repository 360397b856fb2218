"""Batches in an order that is a pure function of (seed, step): resuming is exact, worker count is irrelevant."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError, RunError, TwofoldError
from twofold.training.distributed import smallest
from twofold.training.prefetching import prefetched
from twofold.training.randomness import generator

Batch = dict[str, Any]


class Loader:
    """Endless shuffled batches of a dataset, read ahead by threads.

    Epoch e visits the samples in a permutation drawn from (seed, "order", e); step s is batch s mod
    ``steps_per_epoch`` of epoch s div ``steps_per_epoch``. With several processes each batch is split, contiguous by
    rank.

    Args:
        dataset: Its ``fetch`` is called from several threads at once, and may return fewer rows than asked for
            (unreadable files).
        batch_size: Samples in a step, over all processes. More than the dataset has: shrunk to it, with a warning.
        seed: Of the order.
        drop_last: Leave out the last, incomplete batch of each epoch (other samples every time). Of one that is kept,
            rows that do not divide by the processes are left out: all get equally many.
        workers: Threads that read; 0 reads when asked.
        rank: This process's number.
        world: How many processes there are.

    Raises:
        ConfigError: If a number is out of range or ``batch_size`` cannot be split evenly over the processes.
        DataError: If there are fewer than two samples a process.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        seed: int,
        drop_last: bool = True,
        workers: int = 2,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        _check(batch_size=batch_size, workers=workers, rank=rank, world=world)
        samples = len(dataset)
        if samples < 2 * world:
            raise DataError(
                f"The dataset has {samples} samples; contrast needs at least two a process, {2 * world} here. "
                "Check that the source is the one you meant."
            )
        if drop_last and batch_size > samples:
            shrunk = samples - samples % world
            warnings.warn(
                f"batch_size {batch_size} is more than the {samples} samples; training with batches of {shrunk}. "
                "Set batch_size to silence this.",
                stacklevel=2,
            )
            batch_size = shrunk
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.workers = workers
        self.rank = rank
        self.world = world
        # A tail of one sample a process has nothing to be contrasted with.
        tail = 0 if drop_last or samples % batch_size < 2 * world else 1
        self.steps_per_epoch = samples // batch_size + tail
        self.skipped_batches = 0
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step and the number of its batch in that epoch, both from 0."""
        return divmod(step, self.steps_per_epoch)

    def index(self, step: int) -> Tensor:
        """The samples that this process reads for a step: int64."""
        epoch, position = self.position(step)
        if self._order[0] != epoch:
            drawn = torch.randperm(len(self.dataset), generator=generator(self.seed, "order", epoch))
            self._order = (epoch, drawn)
        batch = self._order[1][position * self.batch_size : (position + 1) * self.batch_size]
        rows = len(batch) // self.world
        return batch[self.rank * rows : (self.rank + 1) * rows]

    def batches(self, start_step: int, total_steps: int) -> Iterator[tuple[int, Batch]]:
        """Yield ``(step, batch)`` for the steps from ``start_step`` up to, not including, ``total_steps``.

        Every process gets as many rows as the one with the fewest readable. A step with fewer than two is left out
        and counted in ``skipped_batches``; its number is then missing, on every process. Closing the iterator stops
        the threads.

        Raises:
            DataError: If ``fetch`` fails (the message names samples), or if a whole epoch has no usable batch.
        """
        tasks = ((step, self.index(step)) for step in range(start_step, total_steps))
        unusable = 0
        fetched = prefetched(tasks, lambda task: fetch(self.dataset, task[1], f" for step {task[0]}"), self.workers)
        with contextlib.closing(fetched):
            for (step, _), batch in fetched:
                rows = smallest(len(batch["index"])) if self.world > 1 else len(batch["index"])
                if rows >= 2:
                    unusable = 0
                    yield step, _first_rows(batch, rows)
                    continue
                self.skipped_batches += 1
                unusable += 1
                if unusable >= self.steps_per_epoch:
                    raise DataError(f"No batch of a whole epoch had two readable samples. {_reasons(self.dataset)}")


def sequential(
    dataset: Dataset, batch_size: int, workers: int = 2, *, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """All samples once, in order, for embedding and evaluation; a batch is shorter by those that cannot be read.

    Of several processes each gets every ``world``-th batch, the first of them batch ``rank``, so that all processes'
    batches, taken in turns, are those of one. A batch of which nothing can be read is given too: its ``index`` is
    empty.

    Raises:
        ConfigError: If ``batch_size`` is below 1 or ``workers`` is negative.
        DataError: If ``fetch`` fails; the message names samples.
    """
    _check(batch_size=batch_size, workers=workers, least=1)
    batches = torch.arange(len(dataset)).split(batch_size)
    return _in_order(dataset, batches[rank::world], workers)


def _in_order(dataset: Dataset, tasks: Sequence[Tensor], workers: int) -> Iterator[Batch]:
    with contextlib.closing(prefetched(tasks, lambda index: fetch(dataset, index), workers)) as fetched:
        yield from (batch for _, batch in fetched)


def fetch(dataset: Dataset, index: Tensor, occasion: str = "") -> Batch:
    """What ``dataset`` gives for some samples; an error of it becomes one that names them."""
    try:
        return dataset.fetch(index)
    except TwofoldError:
        raise
    except Exception as error:
        names = [str(dataset.ids[i]) for i in index[:3].tolist()]
        more = f" and {len(index) - 3} more" if len(index) > 3 else ""
        if isinstance(error, MemoryError):
            raise RunError(
                f"The memory does not suffice for reading{occasion} (the samples {', '.join(names)}{more}). Take fewer "
                "workers, a smaller batch_size or size, or, of pictures, cache='disk'. The run's checkpoints are as "
                "they were."
            ) from error
        raise DataError(
            f"Reading failed{occasion}, on one of the samples {', '.join(names)}{more}: {type(error).__name__}: {error}"
        ) from error


def _first_rows(value: Any, rows: int) -> Any:
    """The first ``rows`` of every tensor and list of a batch, at any depth."""
    if isinstance(value, dict):
        return {key: _first_rows(item, rows) for key, item in value.items()}
    return value[:rows] if isinstance(value, Tensor | list | tuple) else value


def _reasons(dataset: Dataset) -> str:
    told = [f"{name}: {reason}" for name, reason in itertools.islice(dataset.skipped.items(), 3)]
    return f"Skipped so far: {len(dataset.skipped)}, such as {'; '.join(told)}." if told else "Nothing was skipped."


def _check(*, batch_size: int, workers: int, rank: int = 0, world: int = 1, least: int = 2) -> None:
    problems = []
    if world < 1 or not 0 <= rank < world:
        problems.append(f"rank {rank} of {world} processes does not exist; ranks are 0 to world - 1.")
    elif batch_size < least * world:
        problems.append(f"batch_size is {batch_size}; it must be at least {least * world} ({least} a process).")
    elif batch_size % world:
        near = batch_size - batch_size % world
        problems.append(
            f"batch_size {batch_size} cannot be split over {world} processes; take {near} or {near + world}."
        )
    if workers < 0:
        problems.append(f"workers is {workers}; it must be 0 (read when asked) or more.")
    if problems:
        raise ConfigError(problems)
