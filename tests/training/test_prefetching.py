"""Work done ahead by threads: in order, not too far ahead, on one core each, and all is as before when it ends."""

import itertools
import threading

import pytest
import torch

from twofold.training.prefetching import prefetched, side_by_side


@pytest.fixture
def cores():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_order(threads):
    assert list(prefetched(range(20), lambda i: i * i, threads)) == [(i, i * i) for i in range(20)]
    assert list(side_by_side(range(20), lambda i: i * i, threads)) == [i * i for i in range(20)]


@pytest.mark.parametrize("waiting", [1, 2])
@pytest.mark.parametrize("threads", [1, 3])
def test_no_more_is_begun_than_was_said(threads, waiting):
    taken = itertools.count()
    results = prefetched((next(taken) for _ in range(100)), lambda i: i, threads, waiting=waiting)
    next(results)
    assert next(taken) == threads + waiting
    results.close()
    assert next(taken) == threads + waiting + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("twofold-ahead")]


def test_each_thread_has_one_core_and_the_others_keep_theirs(cores):
    seen = []
    for _, inside in prefetched(range(8), lambda _: torch.get_num_threads(), 2):
        seen.append((inside, torch.get_num_threads()))
    assert set(seen) == {(1, cores)}
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [cores]


@pytest.mark.parametrize("threads", [0, 2])
def test_an_error_reaches_whoever_iterates_and_stops_the_rest(threads, cores):
    def work(i):
        if i == 3:
            raise ValueError("the fourth")
        return i

    results = side_by_side(range(100), work, threads)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(results)
    assert torch.get_num_threads() == cores
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("twofold-ahead")]
