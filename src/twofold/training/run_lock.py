"""One run folder, one run: a lock that the operating system takes back when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from twofold.errors import RunError

NAME = ".lock"


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, which must exist; inside, no other process can hold it.

    The lock is on the open file and not on its existence, so a run that was killed leaves none behind. The file stays;
    while the lock is held it says by whom.

    Raises:
        RunError: If another process holds it; the message names that process. Or if the folder cannot be written to.
    """
    path = folder / NAME
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{folder} cannot be written to ({error.strerror}): choose another --out, or mend the permissions."
        ) from error
    with file:
        if not _try_lock(file):
            file.seek(0)
            raise RunError(
                f"{folder} is in use by another run ({file.read().strip() or 'which has just started'}). Wait for it, "
                "stop it, or give this run another --out."
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _try_lock(file: IO[str]) -> bool:
    """Lock an open file for this process without waiting; False if another one holds it.

    Some network file systems have no locks: a warning, and the run goes on.
    """
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK):
            return False
        warnings.warn(
            f"{file.name} cannot be locked here ({error.strerror}): take care that no second run uses this folder.",
            stacklevel=4,
        )
    return True
