"""The data set of clips: decoded when fetched, brought to one form, kept in memory where they fit."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.labels import checked_index
from twofold.modalities.pixels.decode import UnreadableError
from twofold.modalities.video.readers.files import ClipSource
from twofold.modalities.video.readers.form import Clip, Form

SIZES = (112, 96, 64, 48, 32)
"""Default sides: the largest that is not above the sampled clips' median shorter side. 112 as for R3D-18."""
MAX_FRAMES = 32
"""Default clips have no more frames: four seconds at the default eight a second."""
FPS = 8.0
CACHE_BYTES = 2 * 1024**3
"""Sets whose clips fit in this are kept in memory by default."""

_HEADERS = 128
_SAMPLE = 64  # clips, evenly spread, from which the number of frames and the moments are found
_COVERED = 0.95
_MAJORITY_AFTER = 32  # so many clips must have been tried before "more than half fail" stops a run


class VideoClips:
    """Clips of one form, decoded on fetch and maybe kept. Safe to fetch from several threads.

    A clip that cannot be used is left out of the batch and recorded in `skipped` with its reason. Up to 64 clips,
    evenly spread, are decoded at once, for the number of frames and the moments in `spec`.

    Args:
        source: Where they lie.
        size: Side of the squares that frames are squashed to; None: the largest of 112, 96, 64, 48, 32 that is not
            above the median shorter side of a sample.
        frames: How many are kept of a clip; None: what 95 % of the sample do not exceed, at most 32.
        fps: Frames a second that films and animations are brought to; None: 8.
        stride: Of the frames that then remain, every how manieth is kept.
        cache: Keep decoded clips in memory; None: if they take at most 2 GiB.

    Raises:
        DataError: If there are no clips, or more than half of the sample cannot be read, or it does not fit in memory.
    """

    def __init__(
        self,
        source: ClipSource,
        *,
        size: int | None = None,
        frames: int | None = None,
        fps: float | None = None,
        stride: int = 1,
        cache: bool | None = None,
    ) -> None:
        if len(source.ids) == 0:
            raise DataError(f"{source.name}: no clips")
        self.source = source
        self.labels, self.class_names, self.ids = source.labels, source.class_names, source.ids
        self.notes = list(source.notes)
        self.skipped: dict[str, str] = {}
        self._lock = threading.Lock()
        self._failed: set[int] = set()
        self._tried: set[int] = set()
        form = Form(size or self._default_size(), source.channels, frames or MAX_FRAMES, fps or FPS, stride)
        check_memory(2 * _SAMPLE * _bytes(form), f"{source.name}: a sample of {_SAMPLE} clips")
        self.form = form
        sample = self._sample()
        lengths = sorted(len(clip.pixels) for clip in sample.values())
        self.form = replace(form, frames=frames or lengths[min(len(lengths) - 1, int(_COVERED * len(lengths)))])
        needed = len(self) * _bytes(self.form)
        if cache is None:
            cache = needed <= CACHE_BYTES
        if cache:
            check_memory(needed, f"{source.name}: keeping {len(self):,} clips (cache)")
        self._aspect = torch.ones(len(self))
        self._lengths = torch.zeros(len(self), dtype=torch.int64)  # 0: not kept
        self._clips = torch.empty((len(self) if cache else 0, *_shape(self.form)), dtype=torch.uint8)
        for i, clip in sample.items():
            self._keep(i, clip)
        self.spec = self._spec([clip.pixels[: self.form.frames] for clip in sample.values()])

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The readable clips of `index` (int64, (b,)).

        Returns:
            "inputs" uint8 (kept, frames, channels, size, size), "length" int64 (kept,), how many of these frames are
            the clip's (black ones follow), "index" int64 (kept,), "label" if there are labels, "aspect" float32 (kept,)
            unless all of these clips are square. kept <= b: unreadable ones are left out.

        Raises:
            DataError: If more than half of all clips tried so far (32 or more of them) could not be read.
        """
        index = checked_index(index, len(self))
        inputs = torch.zeros((len(index), *_shape(self.form)), dtype=torch.uint8)
        kept: list[int] = []
        lengths: list[int] = []
        for i in index.tolist():
            if length := self._fetch(i, inputs[len(kept)]):
                kept.append(i)
                lengths.append(length)
        self._stop_if_mostly_broken(_MAJORITY_AFTER)
        rows = torch.tensor(kept, dtype=torch.int64)
        batch: dict[str, Any] = {"inputs": inputs[: len(kept)], "length": torch.tensor(lengths, dtype=torch.int64)}
        batch["index"] = rows
        if self.labels is not None:
            batch["label"] = self.labels[rows]
        if bool((self._aspect[rows] != 1).any()):
            batch["aspect"] = self._aspect[rows]
        return batch

    def _fetch(self, i: int, out: Tensor) -> int:
        """Write clip i into ``out``; how many frames it has, or 0 if it cannot be read."""
        if len(self._clips) and (length := int(self._lengths[i])):
            out[:length] = self._clips[i, :length]
            return length
        clip = self._decoded(i)
        if clip is None:
            return 0
        self._keep(i, clip)
        length = len(clip.pixels)
        out[:length] = torch.from_numpy(clip.pixels)
        return length

    def _decoded(self, i: int) -> Clip | None:
        """Clip i; None, and a reason in `skipped`, if there is none."""
        if i in self._failed:
            return None
        try:
            clip = self.source.read(i, self.form)
        except UnreadableError as error:
            with self._lock:
                self._tried.add(i)
                self._failed.add(i)
                self.skipped[self.ids[i]] = str(error)
            return None
        with self._lock:
            self._tried.add(i)
        return clip

    def _keep(self, i: int, clip: Clip) -> None:
        self._aspect[i] = clip.aspect
        if len(self._clips):
            pixels = torch.from_numpy(clip.pixels[: self.form.frames])
            self._clips[i, : len(pixels)] = pixels
            self._lengths[i] = len(pixels)  # last: another thread may look at any moment

    def _default_size(self) -> int:
        sides, reasons = [], {}
        for i in spread(len(self), _HEADERS).tolist():
            try:
                sides.append(min(self.source.size(i)))
            except UnreadableError as error:
                reasons[self.ids[i]] = str(error)
        if not sides:
            raise DataError(
                f"{self.source.name}: none of the {len(reasons)} clips tried could be opened. The first:\n"
                + _first(reasons)
            )
        side = float(np.median(sides))
        return next((size for size in SIZES if size <= side), max(1, int(side)))

    def _sample(self) -> dict[int, Clip]:
        """Evenly spread clips, decoded by several threads (the decoders release the interpreter lock)."""
        rows = spread(len(self), _SAMPLE).tolist()
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            found = list(pool.map(self._decoded, rows))
        self._stop_if_mostly_broken(1)
        return {i: clip for i, clip in zip(rows, found, strict=True) if clip is not None}

    def _spec(self, sample: Sequence[np.ndarray]) -> dict[str, Any]:
        mean, std = moments(sample)
        return {
            "modality": "video",
            "channels": self.form.channels,
            "size": self.form.size,
            "frames": self.form.frames,
            "fps": self.form.fps,
            "stride": self.form.stride,
            "mean": mean,
            "std": std,
            "samples": len(self),
        }

    def _stop_if_mostly_broken(self, at_least: int) -> None:
        with self._lock:
            tried, failed = len(self._tried), len(self._failed)
            first = _first({self.ids[i]: self.skipped[self.ids[i]] for i in sorted(self._failed)})
        if tried >= min(at_least, len(self)) and 2 * failed > tried:
            raise DataError(
                f"{self.source.name}: {failed} of the {tried} clips tried could not be read. The first:\n{first}"
            )


def moments(clips: Sequence[np.ndarray]) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel of clips (t, c, h, w) uint8, in [0, 1]; each deviation at least 0.01."""
    total = np.zeros((3, clips[0].shape[1]))
    for clip in clips:
        values = clip.astype(np.float64) / 255
        total += np.stack([np.full(clip.shape[1], clip[:, 0].size), values.sum((0, 2, 3)), (values**2).sum((0, 2, 3))])
    mean = total[1] / total[0]
    std = np.sqrt(np.maximum(total[2] / total[0] - mean**2, 1e-4))
    return np.round(mean, 6).tolist(), np.round(std, 6).tolist()


def spread(count: int, wanted: int) -> Tensor:
    """At most `wanted` positions, evenly spread over range(count) so that sorted classes are all met."""
    return torch.arange(min(count, wanted)) * count // min(count, wanted)


def _shape(form: Form) -> tuple[int, int, int, int]:
    return form.frames, form.channels, form.size, form.size


def _bytes(form: Form) -> int:
    return form.frames * form.channels * form.size**2


def _first(reasons: dict[str, str]) -> str:
    return "\n".join(f"  {name}: {reason}" for name, reason in islice(reasons.items(), 5))
