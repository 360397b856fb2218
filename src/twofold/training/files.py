"""Files that are either whole or not there: atomic writes, checksums, and JSON that names its faults."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from twofold.errors import DataError

_TEMPORARY = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.tmp")
"""Names that :func:`whole_file` gives to files that it has not finished."""


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file atomically, as :func:`whole_file` does.

    Raises:
        OSError: If the folder cannot be written to; ``path`` is then as it was.
    """
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: Path | str) -> Iterator[IO[bytes]]:
    """Write a file in pieces, and yet atomically: a reader, or a crash at any moment, finds the old content or the new.

    What is given is a temporary file in the same folder. On leaving it is flushed to the disk and renamed over
    ``path``; after an error it is removed.

    Raises:
        OSError: If the folder cannot be written to; ``path`` is then as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile: its files are private (mode 0600), and the result should follow the user's umask.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def remove_leftovers(folder: Path | str, of: str = "") -> None:
    """Remove temporary files that killed writers left in a folder; only where nobody else writes to now.

    Args:
        folder: Where to look.
        of: Only those of the file of this name.
    """
    for path in Path(folder).glob(f".{glob.escape(of)}.*.tmp" if of else ".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically, as :func:`write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write indented JSON atomically; numbers from torch and NumPy become plain ones, NaN and infinity become null."""
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises:
        DataError: If the file cannot be read or is not JSON; the message names the file, and the line of the fault.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}); it is no JSON file, or it is damaged."
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg}). "
            "Mend that line, or delete the file if it was made by a run and can be made again."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets in brackets in brackets
        raise DataError(f"{path} is no JSON that a run would write ({error}).") from error


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file's content as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path | str) -> None:
    """Have the disk hold what another library wrote to ``path``."""
    with Path(path).open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path | str) -> None:
    """Have the disk hold a folder's entries, so that a rename in it survives a power cut (Windows has no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain(value: Any) -> Any:
    """The value as JSON can hold it: tensors and arrays as (nested) numbers, paths as text, NaN and infinity as None.

    Raises:
        TypeError: If a part of the value has no such form.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # torch tensors, NumPy arrays and scalars
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}")
