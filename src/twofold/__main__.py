"""``twofold`` and ``python -m twofold``: the command line, and how its process ends."""

import os

from twofold.cli import main


def run() -> None:
    """The command line; a process of several leaves by :func:`twofold.training.distributed.leave`."""
    try:
        main()
    except SystemExit as left:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1 and isinstance(left.code, int | None):
            from twofold.training.distributed import leave

            leave(left.code or 0)
        raise


if __name__ == "__main__":
    run()
