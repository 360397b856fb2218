"""Sounds that lie in memory: the data set of arrays, and how arrays of any type become one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities.array_files import NpzArrays, find_array, open_npy
from twofold.modalities.audio.readers.decode import RATES, to_int16
from twofold.modalities.audio.readers.facts import audio_spec, default_rate, default_seconds
from twofold.modalities.audio.readers.resampling import resample
from twofold.modalities.folders import split_of
from twofold.modalities.labels import checked_index, encode_labels

_SOUND_KEYS = ("sounds", "audio", "waves", "x", "X", "data", "arr_0")
_LABEL_KEYS = ("labels", "y", "Y", "label", "targets", "target", "arr_1")
_RATE_KEYS = ("rate", "sampling_rate", "sample_rate", "sr", "fs")
_MAX_CHANNELS = 16


class AudioArrays:
    """Clips held in memory.

    Args:
        waves: int16 ``(n, samples)``.
        rate: Samples a second.
        length: int64 ``(n,)``, how many samples of each clip are sound; None: all.
        labels: int64 ``(n,)``, -1 = none; or None.
        class_names: Names of the classes, or None.
        ids: One readable name a clip; default "0", "1", ...
        skipped: What of the same source could not be used, name to reason.
        notes: What else a user should know.
    """

    def __init__(
        self,
        waves: Tensor,
        rate: int,
        *,
        length: Tensor | None = None,
        labels: Tensor | None = None,
        class_names: list[str] | None = None,
        ids: Sequence[str] | None = None,
        skipped: dict[str, str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        if waves.dtype != torch.int16 or waves.ndim != 2 or 0 in waves.shape:
            raise DataError(f"waves must be int16 of shape (n, samples), got {waves.dtype} of {tuple(waves.shape)}")
        self.waves = waves
        self.length = torch.full((len(waves),), waves.shape[1]) if length is None else length
        self.labels, self.class_names = labels, class_names
        self.ids: Sequence[str] = [str(i) for i in range(len(waves))] if ids is None else ids
        self.skipped = dict(skipped or {})
        self.notes = list(notes)
        self.spec = audio_spec(rate, waves, self.length, len(waves))

    def __len__(self) -> int:
        return len(self.waves)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The clips of `index`: "inputs" int16 (b, samples), "length" int64 (b,), "index", and "label" if any."""
        index = checked_index(index, len(self))
        batch = {"inputs": self.waves[index], "length": self.length[index], "index": index}
        return batch if self.labels is None else batch | {"label": self.labels[index]}


def from_arrays(
    waves: Any,
    labels: Any = None,
    *,
    rate: int | None,
    seconds: float | None,
    source: str,
    own_rate: int | None = None,
    notes: Sequence[str] = (),
) -> AudioArrays:
    """A data set of an array of clips, or of a list of clips of different lengths.

    Args:
        waves: ``(n, samples)``, or a list of ``(samples,)``: integers of 8 bits (unsigned), 16 or 32, or floats in
            [-1, 1]. Rows of a list may also be ``(samples, channels)`` or ``(channels, samples)``, which are averaged.
        labels: One class a clip, or None.
        rate: Samples a second of the data set; if ``own_rate`` is None, of the arrays too.
        seconds: Length that is kept; None: see :func:`default_seconds`.
        source: What the array is called, for messages.
        own_rate: Samples a second of the arrays.
        notes: Passed on to the data set.

    Raises:
        ConfigError: If nothing says what rate the arrays have.
        DataError: For other shapes, types or ranges, or if more than half of the clips cannot be used.
    """
    own_rate = own_rate or rate
    if own_rate is None:
        raise ConfigError(f"{source} does not say its sampling rate: give rate=, such as rate=16000")
    rate = rate or default_rate([own_rate])
    rows = _rows(waves, source)
    seconds = seconds or default_seconds([len(row) / own_rate for row in rows])
    samples = max(1, round(seconds * rate))
    check_memory(len(rows) * (2 * samples + SAMPLE_BYTES), f"{source}: {len(rows):,} clips of {seconds:g} s")
    encoded, names = (None, None) if labels is None else encode_labels(labels, f"{source}: labels", len(rows))
    kept, skipped = torch.zeros((len(rows), samples), dtype=torch.int16), {}
    lengths = torch.zeros(len(rows), dtype=torch.int64)
    for i, row in enumerate(rows):
        wave = _as_float(row[: int(seconds * own_rate) + 1], source)
        if len(wave) == 0 or not np.isfinite(wave).all():
            skipped[str(i)] = "holds samples that are NaN or infinite" if len(wave) else "holds no samples"
            continue
        wave = to_int16(resample(wave, own_rate, rate)[:samples])
        kept[i, : len(wave)] = torch.from_numpy(wave)
        lengths[i] = len(wave)
    if 2 * len(skipped) > len(rows):
        name, reason = next(iter(skipped.items()))
        raise DataError(f"{source}: {len(skipped)} of {len(rows)} clips cannot be used. The first: {name} {reason}")
    good = (lengths > 0).nonzero().flatten()
    return AudioArrays(
        kept[good],
        rate,
        length=lengths[good],
        labels=None if encoded is None else encoded[good],
        class_names=names,
        ids=[str(i) for i in good.tolist()],
        skipped=skipped,
        notes=notes,
    )


def read_array_file(path: Path, *, rate: int | None, seconds: float | None, split: str | None) -> AudioArrays:
    """A .npy file, or the sounds, labels and rate of an .npz file.

    Names looked for: sounds, audio, x, data ...; labels, y, targets ...; rate, sr, fs ...; with a split also
    train_sounds, x_train and such.

    Raises:
        DataError: If the file is damaged or holds no sounds.
        ConfigError: If neither the file nor ``rate`` says its rate.
    """
    if path.suffix.lower() == ".npy":
        return from_arrays(open_npy(path), rate=rate, seconds=seconds, source=str(path))
    arrays = NpzArrays(path)
    sounds = find_array(arrays, _SOUND_KEYS, split)
    if sounds is None:
        held = ", ".join(list(arrays)[:10]) or "nothing"
        which = f" of split {split!r}" if split else ""
        raise DataError(f"{path} has no sounds{which} under a known name; it holds: {held}. Name them 'sounds'")
    part = next((word for word in sounds.split("_") if split_of(word)), None)
    labels = find_array(arrays, _LABEL_KEYS, part)
    rates = find_array(arrays, _RATE_KEYS, None)
    return from_arrays(
        arrays[sounds],
        None if labels is None else arrays[labels],
        rate=rate,
        seconds=seconds,
        source=f"{path}[{sounds}]",
        own_rate=None if rates is None else _stated_rate(arrays[rates], f"{path}[{rates}]"),
        notes=[f"read the array {sounds!r} of {', '.join(arrays)}"] if part and not split else [],
    )


def _stated_rate(value: np.ndarray, where: str) -> int:
    stated = float(value.reshape(-1)[0]) if value.size == 1 and value.dtype.kind in "iuf" else 0.0
    if not RATES[0] <= stated <= RATES[1]:
        raise DataError(f"{where} must be one number, the sampling rate, within {RATES[0]:,}..{RATES[1]:,}")
    return round(stated)


def _rows(waves: Any, source: str) -> Sequence[np.ndarray]:
    """One mono waveform a clip, of its own type and without a copy where that is possible."""
    if isinstance(waves, list | tuple):
        rows = [_mono(_numpy(row), f"{source}, clip {i}") for i, row in enumerate(waves)]
    else:
        array = _numpy(waves)
        if array.ndim != 2:
            raise DataError(
                f"{source} has shape {array.shape}; sounds are (n, samples). Average channels first, and give clips "
                "of different lengths as a list"
            )
        _check_numbers(array, source)
        rows = array  # type: ignore[assignment]
    if len(rows) == 0 or (isinstance(rows, np.ndarray) and rows.size == 0):
        raise DataError(f"{source} is empty: it holds no sound")
    return rows


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asanyarray(values)


def _mono(wave: np.ndarray, where: str) -> np.ndarray:
    _check_numbers(wave, where)
    if wave.ndim == 1:
        return wave
    if wave.ndim == 2 and min(wave.shape) <= _MAX_CHANNELS:
        return _as_float(wave, where).mean(int(np.argmin(wave.shape)))
    raise DataError(f"{where} has shape {wave.shape}; a clip is (samples,), or (samples, channels)")


def _check_numbers(wave: np.ndarray, where: str) -> None:
    if wave.dtype.kind == "f" or (wave.dtype.kind, wave.dtype.itemsize) in (("u", 1), ("i", 2), ("i", 4)):
        return
    raise DataError(f"{where} has type {wave.dtype}; sounds are uint8, int16, int32 or floats in [-1, 1]")


def _as_float(wave: np.ndarray, where: str) -> np.ndarray:
    """float32; integers are divided by their full scale."""
    if wave.dtype.kind == "f":
        with np.errstate(over="ignore"):  # beyond float32: infinite, and reported as that
            return np.asarray(wave, np.float32)
    if wave.dtype.kind == "u":
        return (np.asarray(wave, np.float32) - 128) / 128
    return np.asarray(wave, np.float32) / np.float32(2 ** (8 * wave.dtype.itemsize - 1))
