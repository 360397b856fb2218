"""IDX files, in which MNIST and its relatives ship: a big-endian header with the shape, then the bytes."""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from twofold.errors import DataError
from twofold.limits import check_deflated, check_memory
from twofold.modalities.image.readers.folders import SPLITS, split_of

_IMAGES = re.compile(r"images?[-._]idx[34]", re.IGNORECASE)
_UNSIGNED_BYTE = 0x08
_PIECE = 1024**2


def is_idx(name: str) -> bool:
    """Whether a file is named like IDX images, such as train-images-idx3-ubyte.gz."""
    return bool(_IMAGES.search(name))


def choose_images(folder: Path, split: str | None) -> Path:
    """The IDX image file of a folder for a split; None: the only one, or that of "train"."""
    files = sorted(path for path in folder.iterdir() if is_idx(path.name) and not path.name.startswith("."))
    found: dict[str | None, Path] = {}
    for path in files:
        found.setdefault(_split(path), path)  # x.gz sorts after x: an unpacked file wins
    wanted = (split_of(split) or split) if split else "train"
    if wanted in found:
        return found[wanted]
    if split is None and len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(path.name for path in files)
    raise DataError(f"{folder} has no IDX images of split {wanted!r}; it holds: {names}")


def read_idx(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (n, h, w) or (n, h, w, c), uint8, and the labels (n,) of the file beside it, if there is one."""
    images = read_idx_array(path)
    if images.ndim not in (3, 4):
        raise DataError(f"{path}: IDX images have 3 or 4 dimensions, this file has {images.ndim}")
    labels_path = _labels_path(path)
    return images, None if labels_path is None else read_idx_array(labels_path)


def read_idx_array(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, plain or gzipped.

    Raises:
        DataError: If it is no IDX file, holds anything but unsigned bytes, is longer or shorter than it says, or needs
            more memory than is free.
    """
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            zeros, kind, dimensions = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or kind != _UNSIGNED_BYTE:
                raise DataError(f"{path}: not an IDX file of unsigned bytes (its header is {zeros:#06x} {kind:#04x})")
            shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
            return _content(cast("IO[bytes]", file), path, shape, packed)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DataError(f"{path}: damaged or cut short ({error})") from error


def _content(file: IO[bytes], path: Path, shape: tuple[int, ...], packed: bool) -> np.ndarray:
    expected, present = math.prod(shape), path.stat().st_size - file.tell()
    if not 1 <= len(shape) <= 4:
        raise DataError(f"{path}: IDX files of pictures have 3 or 4 dimensions, of labels 1; this claims {len(shape)}")
    if packed:
        check_deflated(expected, path.stat().st_size, str(path))
    elif expected > present:
        raise DataError(f"{path}: its header promises {expected:,} bytes {shape}, but the file holds {present:,}")
    check_memory(expected, str(path))
    content = np.empty(expected, np.uint8)
    _fill(file, content, str(path))
    if file.read(1):
        raise DataError(f"{path}: its header promises {expected:,} bytes {shape}, but the file holds more")
    return content.reshape(shape)


def _fill(file: IO[bytes], out: np.ndarray, where: str) -> None:
    """Read as many bytes as `out` (uint8, 1-D) has, piece by piece; DataError if there are fewer."""
    position = 0
    while position < len(out):
        piece = file.read(min(_PIECE, len(out) - position))
        if not piece:
            raise DataError(f"{where}: its header promises {len(out):,} bytes, but the file holds {position:,}")
        out[position : position + len(piece)] = np.frombuffer(piece, np.uint8)
        position += len(piece)


def _split(path: Path) -> str | None:
    words = re.split(r"[-._]", path.name.lower())
    return next((split for split, names in SPLITS.items() if any(name in words for name in names)), None)


def _labels_path(path: Path) -> Path | None:
    name = re.sub("image", "label", path.name, flags=re.IGNORECASE)
    name = re.sub(r"idx[34]", "idx1", name, flags=re.IGNORECASE)
    bare = name.removesuffix(".gz")
    return next((path.with_name(n) for n in (name, bare, f"{bare}.gz") if path.with_name(n).is_file()), None)
