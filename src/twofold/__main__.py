"""``python -m twofold`` is the command line."""

import os

from twofold.cli import main

try:
    main()
except SystemExit as left:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and isinstance(left.code, int | None):
        from twofold.training.distributed import leave

        leave(left.code or 0)
    raise
