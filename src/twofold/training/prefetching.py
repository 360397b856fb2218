"""Work done ahead of whoever needs its results, by threads, in order."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def prefetched(
    tasks: Iterable[_Task], work: Callable[[_Task], _Result], threads: int, *, waiting: int = 1
) -> Generator[tuple[_Task, _Result], None, None]:
    """``(task, work(task))`` in order, at most ``threads + waiting`` of them ahead of whoever iterates.

    Torch's operations have one core in each of the threads: beside others that compute, those of several cores would
    spend most of their time waiting for each other. Closing the iterator stops the threads. Without threads the work
    is done when it is asked for.

    Args:
        tasks: Taken one by one, by the thread that iterates.
        work: Called from several threads at once.
        threads: How many.
        waiting: Tasks that wait for a thread: more of them, and no thread waits for whoever iterates, but more results
            may have to be kept.
    """
    if threads == 0:
        for task in tasks:
            yield task, work(task)
        return
    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="twofold-ahead", initializer=_one_core)
    pending: deque[tuple[_Task, Future[_Result]]] = deque()
    try:
        for task in tasks:
            pending.append((task, pool.submit(work, task)))
            if len(pending) >= threads + waiting:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:  # also when the iterator is closed early
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(cores)


def side_by_side(
    tasks: Iterable[_Task], work: Callable[[_Task], _Result], lanes: int
) -> Generator[_Result, None, None]:
    """Results of ``work`` in order, computed by several threads at once, each of which has one core.

    Several small computations on a core each are faster than one after the other on all cores: nothing waits for the
    slowest part of each operation, nor for a core on which a reader is at work. The numbers do not depend on how many
    lanes there are, if there are two or more.

    Args:
        tasks: As of :func:`prefetched`.
        work: Computes with torch on the CPU.
        lanes: How many; with one, the thread that iterates does the work, with all cores.
    """
    if lanes < 2:
        yield from map(work, tasks)
        return
    with contextlib.closing(prefetched(tasks, work, lanes, waiting=lanes)) as results:
        yield from (result for _, result in results)


def _one_core() -> None:
    torch.set_num_threads(1)  # in this thread, and in all that compute for the first time from now on
