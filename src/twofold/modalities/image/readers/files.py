"""Pictures that are decoded when they are fetched."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.image.readers.arrays import (
    MOMENT_SAMPLE,
    checked_index,
    checked_labels,
    image_spec,
    moments,
    spread,
)
from twofold.modalities.image.readers.disk_cache import DiskCache, cache_folder, is_disk, location
from twofold.modalities.pixels.decode import MAX_PIXELS, UnreadableError, decode, is_grey, open_picture
from twofold.modalities.shown import shortened

CACHE_BYTES = 2 * 1024**3
"""Sets whose decoded pixels fit in this are kept in memory by default."""

SIZES = (224, 160, 128, 96, 64, 32)
"""Default sides: the largest that is not above the sampled pictures' median shorter side."""

_HEADER_SAMPLE = 256
_SAMPLE_BYTES = 512 * 1024**2  # decoded pictures from which the moments are computed, at most
_TIMED = 8  # pictures whose decoding is timed
_WORTH_A_THREAD = 1e-3  # seconds a picture
_MAJORITY_AFTER = 32  # so many pictures must have been tried before "more than half fail" stops a run


@dataclass
class Pictures:
    """Where encoded pictures lie, and what is known of them; every reader of files returns this.

    Attributes:
        load: Position to a path or to encoded bytes; called from several threads. May raise UnreadableError.
        ids: One readable name a picture.
        source: What was read, in words, for messages.
        labels: int64 (n,), or None; -1 = no label.
        class_names: Names of the classes, or None.
        label_source: Where the labels come from, in words.
        notes: What else a user should know.
    """

    load: Callable[[int], str | Path | bytes]
    ids: Sequence[str]
    source: str
    labels: Tensor | None = None
    class_names: list[str] | None = None
    label_source: str | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, index: Tensor) -> Pictures:
        """The pictures of `index`, in that order."""
        rows = index.tolist()
        load = self.load
        labels = None if self.labels is None else self.labels[index]
        return replace(self, load=lambda i: load(rows[i]), ids=[self.ids[i] for i in rows], labels=labels)


class ImageFiles:
    """Pictures decoded on fetch, optionally kept in memory or on disk once decoded. Safe to fetch from several threads.

    A picture that cannot be used is left out of the batch and recorded in `skipped` with its reason. Up to 512
    pictures (fewer of more than 590 px, so that they take 512 MiB), evenly spread, are decoded at once, for the mean
    and the deviation in `spec`.

    Args:
        pictures: Where they lie.
        size: Side of the squares they are squashed to.
        channels: 1 or 3.
        cache: Keep decoded pixels in memory (n · channels · size² bytes, taken up as pictures are fetched).
        disk: Keep them there.
        max_pixels: Pictures whose header claims more are skipped.

    Raises:
        DataError: If there are no pictures, if more than half of the sample cannot be read, or if they are to be kept
            and memory does not suffice.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        size: int,
        channels: int,
        cache: bool = False,
        disk: DiskCache | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if len(pictures) == 0:
            raise DataError(f"{pictures.source}: no pictures")
        self.pictures = pictures
        self.size, self.channels, self.cache, self.max_pixels = size, channels, cache, max_pixels
        self.disk = disk
        labels = pictures.labels
        self.labels = None if labels is None else checked_labels(labels, len(pictures), pictures.class_names)
        self.class_names = pictures.class_names
        self.ids = pictures.ids
        self.skipped: dict[str, str] = {}
        self.label_source = pictures.label_source
        self.notes = pictures.notes
        if cache:
            check_memory(
                len(pictures) * channels * size * size,
                f"{pictures.source}: keeping {len(pictures):,} decoded pictures (cache=True)",
            )
        self._lock = threading.Lock()
        # Arrays: taking single numbers out of tensors costs as much as a good part of decoding a small picture.
        self._tried = np.zeros(len(pictures), bool)
        self._failed: dict[int, str] = {}
        self._stored = np.zeros(len(pictures) if cache else 0, bool)
        self._pixels = np.empty((len(pictures) if cache else 0, channels, size, size), np.uint8)
        self._aspect = np.ones(len(pictures), np.float32)
        mean, std = moments(self._sampled())
        self.spec = image_spec(channels, size, mean, std, len(self))

    def __len__(self) -> int:
        return len(self.pictures)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The readable pictures of `index` (int64, (b,)).

        Returns:
            "inputs" uint8 (kept, c, s, s), "index" int64 (kept,), and "label" if there are labels, "aspect" float32
            unless all of these pictures are square. kept <= b: unreadable ones are left out.

        Raises:
            DataError: If more than half of all pictures tried so far (32 or more of them) could not be read.
        """
        index = checked_index(index, len(self))
        kept: list[int] = []
        inputs = np.empty((len(index), self.channels, self.size, self.size), np.uint8)
        for i in index.tolist():
            if self._read(i, inputs[len(kept)]):
                kept.append(i)
        self._stop_if_mostly_broken(_MAJORITY_AFTER)
        rows = torch.tensor(kept, dtype=torch.int64)
        batch: dict[str, Any] = {"inputs": torch.from_numpy(inputs[: len(kept)]), "index": rows}
        if self.labels is not None:
            batch["label"] = self.labels[rows]
        aspect = torch.from_numpy(self._aspect[kept])
        if bool((aspect != 1).any()):
            batch["aspect"] = aspect
        return batch

    def subset(self, index: Tensor) -> ImageFiles:
        """A dataset of the pictures of `index` (int64, (b,)), in that order, with its own mean and deviation."""
        index = checked_index(index, len(self))
        return ImageFiles(
            self.pictures.subset(index),
            size=self.size,
            channels=self.channels,
            cache=self.cache,
            disk=None if self.disk is None else self.disk.subset(index),
            max_pixels=self.max_pixels,
        )

    def _read(self, i: int, out: np.ndarray) -> bool:
        """Write picture i into `out` (c, s, s); False if it cannot be read."""
        if self.cache and self._stored[i]:
            out[:] = self._pixels[i]
            return True
        if i in self._failed:
            return False
        try:
            self._aspect[i] = self._decode(i, out)
        except UnreadableError as error:
            with self._lock:
                self._tried[i] = True
                self._failed[i] = self.skipped[self.ids[i]] = str(error)
            return False
        self._tried[i] = True
        if self.cache:
            self._pixels[i] = out
            self._stored[i] = True  # last: another thread may look at any moment
        return True

    def _decode(self, i: int, out: np.ndarray) -> float:
        """Write picture i into `out` (c, s, s), from the cache on disk where it is there; its width / height."""
        source = self.pictures.load(i)
        if self.disk is not None and (known := self.disk.get(i, source, out)) is not None:
            return known
        out[:], aspect = decode(source, size=self.size, channels=self.channels, max_pixels=self.max_pixels)
        if self.disk is not None:
            self.disk.put(i, source, out, aspect)
        return aspect

    def _sampled(self) -> Tensor:
        """Evenly spread pictures, decoded by several threads if they are not small.

        Pillow releases the interpreter lock while it decodes; for less than a millisecond, that costs more than it
        gains.
        """
        fitting = max(1, _SAMPLE_BYTES // (self.channels * self.size**2))
        rows = spread(len(self), min(MOMENT_SAMPLE, fitting))
        out = np.empty((len(rows), self.channels, self.size, self.size), np.uint8)
        started = time.perf_counter()
        good = [self._read(i, one) for i, one in zip(rows[:_TIMED].tolist(), out, strict=False)]
        others = rows[_TIMED:].tolist(), out[_TIMED:]
        if time.perf_counter() - started < len(good) * _WORTH_A_THREAD:
            good += map(self._read, *others)
        else:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                good += pool.map(self._read, *others)
        self._stop_if_mostly_broken(len(rows))
        return torch.from_numpy(out[good])

    def _stop_if_mostly_broken(self, at_least: int) -> None:
        tried, failed = int(self._tried.sum()), len(self._failed)
        if tried < min(at_least, len(self)) or 2 * failed <= tried:
            return
        with self._lock:
            first = _first_reasons(self.skipped)
        raise DataError(
            f"{self.pictures.source}: {failed} of the {tried} pictures tried could not be read. The first:\n{first}"
        )


def open_files(pictures: Pictures, *, size: int | None, cache: bool | str | None) -> ImageFiles:
    """An `ImageFiles` whose size and channels are decided from a sample of headers; fails early if most are broken.

    Args:
        pictures: Where they lie.
        size: Side, in pixels; None: see `SIZES`. Pictures are never enlarged by the default: where the median shorter
            side is below 32, that is the size.
        cache: Keep decoded pixels in memory; None: if they take at most 2 GiB; "disk" or "disk:FOLDER": on disk.

    Raises:
        ConfigError: If `cache` is none of these.
    """
    on_disk = is_disk(cache)
    if len(pictures) == 0:
        raise DataError(f"{pictures.source}: no pictures")
    shorter, grey, reasons = _headers(pictures)
    if not shorter:
        first = _first_reasons(reasons)
        raise DataError(
            f"{pictures.source}: none of the {len(reasons)} pictures tried could be opened. The first:\n{first}"
        )
    channels = 1 if grey else 3
    size = size or default_size(float(np.median(shorter)))
    if cache is None:
        cache = len(pictures) * channels * size * size <= CACHE_BYTES
    if on_disk:
        disk = _disk_cache(pictures, str(cache), channels=channels, size=size)
        return ImageFiles(pictures, size=size, channels=channels, disk=disk)
    cache = bool(cache)
    return ImageFiles(pictures, size=size, channels=channels, cache=cache)


def _disk_cache(pictures: Pictures, cache: str, *, channels: int, size: int) -> DiskCache:
    """The cache of these pictures; others, or the same in another form, have other folders."""
    try:
        where = location(pictures.load(0))
    except UnreadableError:
        where = ""
    key = (pictures.source, where, channels, size, *pictures.ids)
    folder = cache_folder(cache, key)
    return DiskCache(folder, count=len(pictures), channels=channels, size=size, source=pictures.source)


def default_size(shorter_side: float) -> int:
    """The largest of 32, 64, 96, 128, 160, 224 that is at most `shorter_side`; below 32, `shorter_side` itself."""
    return next((size for size in SIZES if size <= shorter_side), max(1, int(shorter_side)))


def _headers(pictures: Pictures) -> tuple[list[int], bool, dict[str, str]]:
    """Shorter sides, whether all are stored grey, and failures, of a spread of headers."""
    shorter, grey, reasons = [], True, {}
    for i in spread(len(pictures), _HEADER_SAMPLE).tolist():
        try:
            with open_picture(pictures.load(i)) as image:
                shorter.append(min(image.size))
                grey = grey and is_grey(image)
        except UnreadableError as error:
            reasons[pictures.ids[i]] = str(error)
    return shorter, grey, reasons


def _first_reasons(skipped: dict[str, str]) -> str:
    return "\n".join(f"  {shortened(name, 300)}: {reason}" for name, reason in list(skipped.items())[:5])
