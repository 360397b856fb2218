"""Arrays in .npy and .npz files: what a header claims is compared with what is there, then allocated."""

from __future__ import annotations

import math
import mmap
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from twofold.errors import DataError
from twofold.limits import check_deflated, check_memory
from twofold.modalities.folders import SPLITS, split_of

UNSAFE = (
    "it holds Python objects, and reading those can run any code that is stored with them. Where you trust the file, "
    "load it yourself with allow_pickle=True and save plain arrays of numbers"
)
"""Why an array of objects is not read, and the way out."""

_KINDS = "buifSU"  # booleans, whole numbers, floats, text
_PIECE = 1024**2
_MAX_DIMENSIONS = 32
_HEADER_FAULTS = (
    ValueError,
    SyntaxError,
    TypeError,
    EOFError,
    OverflowError,
    RecursionError,
    MemoryError,  # how Python's parser says "nested too deeply"
    tokenize.TokenError,
    struct.error,
)
_ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    OverflowError,
    RuntimeError,  # encrypted
    struct.error,
)


def open_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped: its content is read from the disk as it is used.

    Raises:
        DataError: If the file is damaged, shorter than its header says, or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            shape, kind, fortran = _read_header(file, str(path))
            offset = file.tell()
            present = path.stat().st_size - offset
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    stated = math.prod(shape) * kind.itemsize
    if stated > present:
        raise DataError(f"{path}: damaged; its header claims {stated:,} bytes {shape}, and {present:,} are there")
    if stated == 0:
        return np.empty(shape, kind)
    return np.memmap(path, kind, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def forget(array: np.memmap) -> None:
    """Give back the memory of what was read of a file that is mapped for reading only; of others, nothing.

    On Linux; elsewhere the system does so in its time. Changes that are kept in memory alone (mode "c") would be lost.
    """
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and array.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


class NpzArrays(Mapping[str, np.ndarray]):
    """The arrays of an .npz file by name, each read when it is asked for.

    Raises:
        DataError: On opening, if it is no zip file; on reading, if a member is damaged, lies about its size, needs
            more memory than is free or holds Python objects.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except _ZIP_FAULTS as error:
            raise DataError(f"{path}: damaged or not an array file ({error})") from error
        self._members = {info.filename.removesuffix(".npy"): info for info in members}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __getitem__(self, name: str) -> np.ndarray:
        info, where = self._members[name], f"{self.path}[{name}]"
        check_deflated(info.file_size, min(info.compress_size, self.path.stat().st_size), where)
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(info) as file:
                return _read_member(file, info, where)
        except DataError:
            raise
        except _ZIP_FAULTS as error:
            raise DataError(f"{where}: damaged ({error})") from error


def find_array(arrays: Mapping[str, Any], names: Sequence[str], split: str | None) -> str | None:
    """Which of several names an array file uses, bare or joined to a split: ``x``, ``x_train``, ``test_x``.

    Args:
        arrays: The file's arrays by name.
        names: Those that are usual, the likeliest first.
        split: Which part is wanted; None takes what has no part in its name, or else train.

    Returns:
        The name, or None if there is none of them.
    """
    bare = next((name for name in names if name in arrays), None)
    if split is None and bare is not None:
        return bare
    words = SPLITS.get(split_of(split or "train") or "", (split or "",))
    joined = (key for word in words for name in names for key in (f"{name}_{word}", f"{word}_{name}"))
    return next((key for key in joined if key in arrays), None)


def _read_member(file: IO[bytes], info: zipfile.ZipInfo, where: str) -> np.ndarray:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(f"{where}: packed in a way that numpy does not use; save it again with np.savez_compressed")
    shape, kind, fortran = _read_header(file, where)
    stated, listed = math.prod(shape) * kind.itemsize, info.file_size - file.tell()
    if stated != listed:
        raise DataError(f"{where}: damaged; its header claims {stated:,} bytes {shape}, the archive lists {listed:,}")
    check_memory(stated, where)
    raw = np.empty(stated, np.uint8)
    for start in range(0, stated, _PIECE):
        piece = file.read(min(_PIECE, stated - start))
        if len(piece) < min(_PIECE, stated - start):
            raise DataError(f"{where}: damaged; its header claims {stated:,} bytes, and there are fewer")
        raw[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
    return raw.view(kind).reshape(shape, order="F" if fortran else "C")


def _read_header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type and whether columns come first; the file is then at the array's first byte."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in read:
            raise DataError(f"{where}: a record array (.npy version {version}); save plain arrays of numbers")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # headers that Python 2 wrote
            shape, fortran, kind = read[version](file)
    except DataError:
        raise
    except _HEADER_FAULTS as error:
        raise DataError(f"{where}: damaged or not an array file ({type(error).__name__}: {error})") from error
    if kind.hasobject:
        raise DataError(f"{where} is not read: {UNSAFE}")
    if kind.kind not in _KINDS or kind.itemsize == 0 or len(shape) > _MAX_DIMENSIONS or any(k < 0 for k in shape):
        raise DataError(f"{where} has type {kind} and shape {shape}; plain arrays of numbers are read")
    return tuple(int(length) for length in shape), kind, bool(fortran)
