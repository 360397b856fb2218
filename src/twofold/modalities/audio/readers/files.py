"""Sounds that are decoded when they are fetched."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.audio.readers.decode import Header, UnreadableError, decode, read_header
from twofold.modalities.audio.readers.facts import (
    MOMENT_SAMPLE,
    audio_spec,
    default_rate,
    default_seconds,
    spread,
)
from twofold.modalities.labels import checked_index

CACHE_BYTES = 2 * 1024**3
"""Sets whose waveforms fit in this are kept in memory by default."""

_HEADERS = 256
_MAJORITY_AFTER = 32  # so many sounds must have been tried before "more than half fail" stops a run


@dataclass
class Sounds:
    """Where encoded sounds lie, and what is known of them; every reader of files returns this.

    Attributes:
        load: Position to a path or to the content of a file; called from several threads. May raise UnreadableError.
        ids: One readable name a sound.
        source: What was read, in words, for messages.
        labels: int64 (n,), or None; -1 = no label.
        class_names: Names of the classes, or None.
        notes: What else a user should know.
    """

    load: Callable[[int], str | bytes]
    ids: Sequence[str]
    source: str
    labels: Tensor | None = None
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)


class AudioFiles:
    """Sounds decoded on fetch, optionally kept in memory once decoded. Safe to fetch from several threads.

    A sound that cannot be used is left out of the batch and recorded in `skipped` with its reason. Up to 512 sounds,
    evenly spread, are decoded at once, for the mean and the deviation in `spec`.

    Args:
        sounds: Where they lie.
        rate: Samples a second that all are brought to.
        length: Samples of a clip: longer sounds are cut, shorter ones are followed by zeros.
        cache: Keep waveforms in memory (2 bytes a sample, taken up as sounds are fetched).

    Raises:
        DataError: If more than half of the sounds tried cannot be read.
    """

    def __init__(self, sounds: Sounds, *, rate: int, length: int, cache: bool) -> None:
        self.sounds, self.rate, self.clip_length = sounds, rate, length
        self.labels, self.class_names = sounds.labels, sounds.class_names
        self.ids, self.notes = sounds.ids, sounds.notes
        self.skipped: dict[str, str] = {}
        self._lock = threading.Lock()
        self._failed: set[int] = set()
        self._tried: set[int] = set()
        kept = len(self) if cache else 0
        self._waves = torch.empty((kept, length), dtype=torch.int16)
        self._lengths = torch.zeros(kept, dtype=torch.int64)  # 0: not kept yet
        chosen = spread(len(self), MOMENT_SAMPLE)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            found = [wave for wave in pool.map(self._read, chosen.tolist()) if wave is not None]
        self._stop_if_mostly_broken(1)
        lengths = torch.tensor([len(wave) for wave in found])
        self.spec = audio_spec(rate, self._stacked(found), lengths, len(self))

    def __len__(self) -> int:
        return len(self.sounds.ids)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The readable sounds of `index` (int64, (b,)).

        Returns:
            "inputs" int16 (kept, samples), "length" int64 (kept,), how many of these samples are sound, "index" int64
            (kept,), and "label" if there are labels. kept <= b: unreadable ones are left out.

        Raises:
            DataError: If more than half of all sounds tried so far (32 or more of them) could not be read.
        """
        index = checked_index(index, len(self))
        read = {i: wave for i in index.tolist() if (wave := self._read(i)) is not None}
        self._stop_if_mostly_broken(_MAJORITY_AFTER)
        kept = torch.tensor([i for i in index.tolist() if i in read], dtype=torch.int64)
        waves = [read[i] for i in kept.tolist()]
        lengths = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
        batch = {"inputs": self._stacked(waves), "length": lengths, "index": kept}
        return batch if self.labels is None else batch | {"label": self.labels[kept]}

    def _read(self, i: int) -> Tensor | None:
        """The waveform of sound i, int16 (samples of sound,); None if it cannot be read."""
        if len(self._lengths) and (length := int(self._lengths[i])):
            return self._waves[i, :length]
        if i in self._failed:
            return None
        try:
            wave = torch.from_numpy(decode(self.sounds.load(i), rate=self.rate, samples=self.clip_length))
        except UnreadableError as error:
            with self._lock:
                self._tried.add(i)
                self._failed.add(i)
                self.skipped[self.ids[i]] = str(error)
            return None
        with self._lock:
            self._tried.add(i)
        if len(self._lengths):
            self._waves[i, : len(wave)] = wave
            self._lengths[i] = len(wave)  # last: another thread may look at any moment
        return wave

    def _stacked(self, waves: Sequence[Tensor]) -> Tensor:
        out = torch.zeros((len(waves), self.clip_length), dtype=torch.int16)
        for row, wave in zip(out, waves, strict=True):
            row[: len(wave)] = wave
        return out

    def _stop_if_mostly_broken(self, at_least: int) -> None:
        with self._lock:
            tried, failed = len(self._tried), len(self._failed)
            first = _first({self.ids[i]: self.skipped[self.ids[i]] for i in sorted(self._failed)})
        if tried >= min(at_least, len(self)) and 2 * failed > tried:
            raise DataError(
                f"{self.sounds.source}: {failed} of the {tried} sounds tried could not be read. The first:\n{first}"
            )


def open_files(sounds: Sounds, *, rate: int | None, seconds: float | None, cache: bool | None) -> AudioFiles:
    """An `AudioFiles` whose rate and length are decided from a sample of headers.

    Args:
        sounds: Where they lie.
        rate: Samples a second; None: see :func:`default_rate`.
        seconds: Length of a clip; None: see :func:`default_seconds`.
        cache: Keep waveforms in memory; None: if they take at most 2 GiB.

    Raises:
        DataError: If there are no sounds, or none of the sample can be opened, or the cache does not fit into memory.
    """
    if len(sounds.ids) == 0:
        raise DataError(f"{sounds.source}: no sounds")
    headers, reasons = _headers(sounds)
    if not headers:
        raise DataError(
            f"{sounds.source}: none of the {len(reasons)} sounds tried could be opened. The first:\n{_first(reasons)}"
        )
    rate = rate or default_rate([header.rate for header in headers])
    seconds = seconds or default_seconds([header.seconds for header in headers])
    length = max(1, round(seconds * rate))
    needed = 2 * length * len(sounds.ids)
    if cache is None:
        cache = needed <= CACHE_BYTES
    if cache:
        check_memory(needed, f"{sounds.source}: keeping {len(sounds.ids):,} clips of {seconds:g} s (cache)")
    sounds.notes += _resampling([header.rate for header in headers], rate)
    return AudioFiles(sounds, rate=rate, length=length, cache=cache)


def _headers(sounds: Sounds) -> tuple[list[Header], dict[str, str]]:
    """The headers of a spread of sounds, and what could not be opened."""
    headers, reasons = [], {}
    for i in spread(len(sounds.ids), _HEADERS).tolist():
        try:
            headers.append(read_header(sounds.load(i)))
        except UnreadableError as error:
            reasons[sounds.ids[i]] = str(error)
    return headers, reasons


def _resampling(found: Sequence[int], rate: int) -> list[str]:
    """A note on rates that are brought to another one."""
    others = {one: count for one, count in Counter(found).most_common() if one != rate}
    if not others:
        return []
    told = ", ".join(f"{one:,} Hz ({count})" for one, count in islice(others.items(), 4))
    more = f" and {len(others) - 4} more" if len(others) > 4 else ""
    return [f"of {len(found)} headers looked at, resampled to {rate:,} Hz: {told}{more}"]


def _first(reasons: dict[str, str]) -> str:
    return "\n".join(f"  {name}: {reason}" for name, reason in islice(reasons.items(), 5))
