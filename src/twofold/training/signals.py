"""Being asked to stop: a run ends after the step at hand, with a checkpoint."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells give it."""
TRY_AGAIN = 75
"""Exit code after a preemption: EX_TEMPFAIL of sysexits.h. A scheduler that requeues jobs on it resumes the run."""
PREEMPTIONS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""How schedulers announce that they will take the machine away."""


class Stop:
    """Whether a stop was asked for, and with which exit code the program should end."""

    requested = False
    exit_code = INTERRUPTED


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """SIGINT, SIGTERM and SIGUSR1 ask for a stop after the current step; a second SIGINT stops at once."""
    stop = Stop()

    def handler(number: int, frame: Any) -> None:
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = True
        stop.exit_code = TRY_AGAIN if number in PREEMPTIONS else INTERRUPTED

    previous: dict[int, Any] = {}
    try:
        for wanted in (signal.SIGINT, *PREEMPTIONS):
            previous[wanted] = signal.signal(wanted, handler)
    except ValueError:  # not in the main thread: whoever runs us there handles signals
        previous.clear()
    try:
        yield stop
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
