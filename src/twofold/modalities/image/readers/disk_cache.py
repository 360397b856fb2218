"""Decoded pictures on disk, for sets that do not fit into memory.

A set has a folder of two files: the pixels, one picture of ``channels * size**2`` bytes after the other, and as many
records of 24 bytes. Both are sparse, and filled as pictures are decoded. A record says which file the pixels came from
(a digest of path, size and time of change, or of the content where there is no file) and what their checksum is. It is
written after the pixels, and both are compared at every read. So whatever happens (a process is killed half-way, the
power fails, several processes write the same picture, a file changes), pixels are either right or decoded again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import threading
import warnings
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.limits import in_words
from twofold.options import did_you_mean

DISK = "disk"
"""The option that asks for it; ``disk:FOLDER`` chooses the folder."""

_FORMAT = 1
_RECORD = struct.Struct("<16sIf")  # digest of the source, CRC-32 of the pixels, width / height of the original


class DiskCache:
    """Squares of pixels by number, in files that all threads and processes may share.

    Writing goes through the file, reading through a memory map: a full disk is then an error that can be handled, and
    not a signal that ends the process.

    Args:
        folder: Of this set alone; made if it is missing. See `cache_folder`.
        count: How many pictures there are.
        channels: 1 or 3.
        size: Their side.
        source: What was read, in words.

    Raises:
        DataError: If the folder cannot be written to, or if the disk has not room enough for the pictures.
    """

    def __init__(self, folder: Path, *, count: int, channels: int, size: int, source: str) -> None:
        self.folder, self.shape = folder, (channels, size, size)
        self._slots: Sequence[int] = range(count)
        self._lock = threading.Lock()
        self._full = threading.Event()
        lengths = {"pixels.bin": count * channels * size * size, "records.bin": count * _RECORD.size}
        self._files: list[int] = []
        self._closing = weakref.finalize(self, _close, self._files)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, length in lengths.items():
                self._files.append(_opened(folder / name, length))
            _describe(folder, source=source, pictures=count, channels=channels, size=size)
        except OSError as error:
            raise DataError(
                f"{source}: decoded pictures cannot be kept in {folder} ({error}). Choose another folder with "
                "cache='disk:FOLDER', or read without (cache=False)"
            ) from error
        _check_room(self._files[0], lengths["pixels.bin"], folder, source)
        self._pixels, self._records = (np.memmap(folder / name, np.uint8, mode="r") for name in lengths)

    def subset(self, index: Tensor) -> DiskCache:
        """The same files, for the pictures of `index` in that order."""
        part = object.__new__(DiskCache)
        vars(part).update(vars(self) | {"_slots": [self._slots[i] for i in index.tolist()], "_whole": self})
        return part

    def get(self, i: int, source: str | Path | bytes, out: np.ndarray) -> float | None:
        """Write picture `i` into `out` (c, s, s).

        Args:
            i: Its number.
            source: The file or the content that it is decoded from.
            out: uint8; holds nothing of use where the result is None.

        Returns:
            The original's width / height; None if the picture is not here, or comes from another state of the file.
        """
        slot, length = self._slots[i], out.nbytes
        digest, checksum, aspect = _RECORD.unpack_from(self._records.data, slot * _RECORD.size)
        if digest != _digest(source):
            return None
        out.reshape(-1)[:] = self._pixels[slot * length : (slot + 1) * length]
        return float(aspect) if zlib.crc32(out.data) == checksum else None

    def put(self, i: int, source: str | Path | bytes, pixels: np.ndarray, aspect: float) -> None:
        """Keep picture `i`, contiguous uint8 (c, s, s). Once the disk is full, nothing more is kept."""
        digest = _digest(source)
        if digest is None or self._full.is_set():
            return
        slot = self._slots[i]
        record = _RECORD.pack(digest, zlib.crc32(pixels.data), aspect)
        try:
            with self._lock:
                _write(self._files[0], slot * pixels.nbytes, pixels.data.cast("B"))
                _write(self._files[1], slot * len(record), memoryview(record))
        except OSError as error:
            if not self._full.is_set():
                self._full.set()
                warnings.warn(
                    f"No more decoded pictures are kept in {self.folder}: {error}. Reading goes on without; free some "
                    "space for the next run, or read with cache=False.",
                    stacklevel=2,
                )


def is_disk(cache: bool | str | None) -> bool:
    """Whether the option `cache` asks for pixels on disk.

    Raises:
        ConfigError: If it is text of another kind.
    """
    if not isinstance(cache, str):
        return False
    name, colon, folder = cache.partition(":")
    if name != DISK or (colon and not folder):
        raise ConfigError(
            f"cache={cache!r}: it is true, false, {DISK!r} or '{DISK}:FOLDER'{did_you_mean(name, [DISK])}"
        )
    return True


def cache_folder(cache: str, key: Sequence[object]) -> Path:
    """Where the pictures of a set lie, below ``$XDG_CACHE_HOME/twofold/pictures``, unless `cache` names a folder.

    Args:
        cache: ``disk`` or ``disk:FOLDER``.
        key: All that tells this set from others, and can be written as text.
    """
    named = cache.partition(":")[2]
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "twofold" / "pictures"
    digest = hashlib.blake2b(digest_size=12)
    for part in (_FORMAT, *key):
        digest.update(repr(part).encode("utf-8", "surrogatepass") + b"\0")
    return (Path(named).expanduser() if named else home) / digest.hexdigest()


def location(source: str | Path | bytes) -> str:
    """The absolute path of a picture, or nothing where it does not come from a file of its own."""
    return "" if isinstance(source, bytes) else os.path.abspath(source)  # noqa: PTH100 - resolve() asks the disk


def _digest(source: str | Path | bytes) -> bytes | None:
    """What changes when a picture does, 16 bytes; None for a file that is not there."""
    if isinstance(source, bytes):
        return hashlib.blake2b(source, digest_size=16).digest()
    try:
        status = os.stat(source)  # noqa: PTH116 - for each picture of each batch
    except (OSError, ValueError):
        return None
    told = f"{location(source)}\0{status.st_size}\0{status.st_mtime_ns}"
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _opened(path: Path, length: int) -> int:
    """A file open for writing, at least `length` bytes long; what is new reads as zeros and takes no room."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    if os.fstat(file).st_size < length:
        os.ftruncate(file, length)
    return file


def _close(files: list[int]) -> None:
    for file in files:
        os.close(file)


def _check_room(file: int, length: int, folder: Path, source: str) -> None:
    missing = length - getattr(os.fstat(file), "st_blocks", 0) * 512
    free = shutil.disk_usage(folder).free
    if missing > free:
        raise DataError(
            f"{source}: the decoded pictures need {in_words(missing)} more on disk, and {in_words(free)} are free in "
            f"{folder.parent}. Delete what is there and no longer wanted, choose another folder with "
            "cache='disk:FOLDER', or read without (cache=False)"
        )


def _describe(folder: Path, **facts: Any) -> None:
    """A file for whoever comes across the folder."""
    path = folder / "about.json"
    if path.exists():
        return
    text = json.dumps({"what": "decoded pictures of Twofold; may be deleted at any time", **facts}, indent=1)
    temporary = folder / f"about.json.{os.getpid()}"
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def _write(file: int, offset: int, content: memoryview) -> None:
    os.lseek(file, offset, os.SEEK_SET)
    while len(content):
        content = content[os.write(file, content) :]
