"""From a sound file to a mono waveform of 16 bits at a given rate, with libsndfile."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import require
from twofold.limits import check_memory
from twofold.modalities.audio.readers.resampling import resample

SUFFIXES = frozenset(
    {".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".caf"}
)
"""File names that are taken for sounds in a folder tree."""

RATES = (1000, 768_000)
"""Sampling rates that a header may claim; others are those of damaged files."""

FULL_SCALE = 32768
"""What 1.0 is in 16 bits."""
_BLOCK = 2**16  # numbers that are decoded at a time
_BROKEN = (RuntimeError, OSError, ValueError, TypeError, ArithmeticError, LookupError, MemoryError)


class UnreadableError(Exception):
    """One sound that cannot be used; the message is the reason, without its name."""


@dataclass(frozen=True)
class Header:
    """What a file claims of itself."""

    rate: int
    frames: int

    @property
    def seconds(self) -> float:
        """Its claimed duration."""
        return self.frames / self.rate


def read_header(source: str | bytes) -> Header:
    """The claims of a sound file, checked as far as they can be without decoding.

    Args:
        source: A path, or the content of a file.

    Raises:
        UnreadableError: With the reason.
    """
    with _opened(source) as file:
        return _header(file)


def decode(source: str | bytes, *, rate: int, samples: int) -> np.ndarray:
    """The beginning of a sound as mono, resampled; channels are averaged.

    Blocks are decoded until there is enough, so that neither a long file nor the claims of a header decide how much
    memory is used. A sound that goes beyond full scale is scaled down to it.

    Args:
        source: A path, or the content of a file.
        rate: Samples a second of the result.
        samples: As many as are wanted of it.

    Returns:
        int16 ``(m,)``, 1 <= m <= samples.

    Raises:
        UnreadableError: With the reason: no known format, damaged, no samples, NaN.
    """
    with _opened(source) as file:
        header = _header(file)
        wanted = min(header.frames, math.ceil(samples / rate * header.rate) + 1)
        wave = _decoded(file, wanted)
    if 2 * len(wave) < wanted:
        raise UnreadableError(
            f"damaged: the header claims {header.seconds:,.1f} s, and {len(wave) / header.rate:,.1f} s are there"
        )
    if not np.isfinite(wave).all():
        raise UnreadableError("holds samples that are NaN or infinite")
    return to_int16(resample(wave, header.rate, rate)[:samples])


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Floats in [-1, 1] as 16 bits; what goes beyond is scaled down as a whole."""
    peak = float(np.abs(wave).max())
    scale = FULL_SCALE / max(1.0, peak)
    return np.rint(wave * scale).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _decoded(file: Any, wanted: int) -> np.ndarray:
    """Up to ``wanted`` frames, averaged over channels, float32."""
    check_memory(4 * wanted, "one sound")
    block = max(1, _BLOCK // file.channels)
    parts: list[np.ndarray] = []
    missing = wanted
    try:
        while missing > 0:
            part = file.read(min(block, missing), dtype="float32", always_2d=True)
            with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are refused once all is read
                parts.append(part.mean(1, dtype=np.float32))
            missing -= len(part)
            if len(part) == 0:
                break
    except _BROKEN as error:
        raise UnreadableError(f"damaged ({_reason(error)})") from error
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _header(file: Any) -> Header:
    low, high = RATES
    if not low <= file.samplerate <= high:
        raise UnreadableError(f"the header claims {file.samplerate:,} samples a second ({low:,} to {high:,} are read)")
    if file.frames <= 0:
        raise UnreadableError("holds no samples")
    return Header(int(file.samplerate), int(file.frames))


@contextmanager
def _opened(source: str | bytes) -> Iterator[Any]:
    library = require("soundfile", extra="audio", purpose="reading sound files")
    if isinstance(source, str):
        path = Path(source)
        if not path.is_file():
            raise UnreadableError("is not a regular file" if path.exists() else "no such file")
        empty = path.stat().st_size == 0
    else:
        empty = not source
    if empty:
        raise UnreadableError("empty (0 bytes)")
    try:
        file = library.SoundFile(str(path.absolute()) if isinstance(source, str) else _Content(source))
    except _BROKEN as error:
        raise UnreadableError(f"not a sound in a known format ({_reason(error)})") from error
    with file:
        yield file


class _Content(io.BytesIO):
    """Bytes as a file in which a damaged header may seek anywhere: before the start is the start."""

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self.tell(), len(self.getbuffer()))[whence]
        return super().seek(min(max(0, base + offset), len(self.getbuffer())))


def _reason(error: BaseException) -> str:
    text = " ".join(str(getattr(error, "error_string", error)).split())
    return text[:200].rstrip(".") or type(error).__name__
