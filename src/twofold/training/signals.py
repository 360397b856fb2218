"""Being asked to stop: a run ends after the step at hand, with a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Stop:
    """Whether a stop was asked for."""

    requested = False


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """SIGINT and SIGTERM ask for a stop after the current step; a second SIGINT stops at once."""
    stop = Stop()

    def handler(number: int, frame: Any) -> None:
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = True

    previous: dict[int, Any] = {}
    try:
        for wanted in (signal.SIGINT, signal.SIGTERM):
            previous[wanted] = signal.signal(wanted, handler)
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        previous.clear()
    try:
        yield stop
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
