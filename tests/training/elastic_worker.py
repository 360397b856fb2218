"""The command line, of which one process dies at its seventh step, once: torchrun elastic_worker.py ARGUMENTS."""

from __future__ import annotations

import os
import signal

from twofold.cli import main
from twofold.training.trainer import Trainer

DIES_AT = 6


def dying_step(trainer, step, fetched):
    if step == DIES_AT and os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    return original_step(trainer, step, fetched)


if __name__ == "__main__":
    original_step = Trainer._step
    Trainer._step = dying_step
    main()
