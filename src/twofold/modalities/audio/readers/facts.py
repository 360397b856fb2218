"""What a set of sounds is like: its rate, the length of its clips, the moments of its spectrograms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError
from twofold.modalities.audio.readers.decode import FULL_SCALE
from twofold.modalities.audio.spectrogram import MELS, frame_count, log_mel

HIGHEST_RATE = 16_000
"""Default rates are no higher: speech and most labels of sounds need none, and each doubling doubles all work."""
RATES = (4000, 192_000)
"""Rates that data can be brought to. Below 4 kHz the lowest bands would have no bin of the spectrum."""
SECONDS = (0.1, 600.0)
MAX_SECONDS = 10.0
"""Default lengths are no longer: the length of AudioSet's clips."""
MOMENT_SAMPLE = 512
"""How many clips, evenly spread over the set, the mean and the deviation are computed from."""

_COVERED = 0.95
_STEP = 0.01
_CLIPS = 16


def default_rate(rates: Sequence[int]) -> int:
    """The most frequent rate, but at most 16 kHz and at least 4 kHz."""
    (usual, _), *_ = Counter(rates).most_common(1)
    return min(max(usual, RATES[0]), HIGHEST_RATE)


def default_seconds(durations: Sequence[float]) -> float:
    """The duration that 95 % of the clips do not exceed, at most 10 s, rounded up to hundredths."""
    ordered = sorted(durations)
    covered = ordered[min(len(ordered) - 1, int(_COVERED * len(ordered)))]
    return min(max(math.ceil(covered / _STEP) * _STEP, SECONDS[0]), MAX_SECONDS)


def check_options(rate: Any, seconds: Any) -> None:
    """Raise ConfigError, with both problems if there are two, unless both are None or within their bounds."""
    problems = []
    if rate is not None and (not isinstance(rate, int) or isinstance(rate, bool) or not RATES[0] <= rate <= RATES[1]):
        problems.append(f"rate={rate!r}: a whole number of samples a second in {RATES[0]}..{RATES[1]} is needed")
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if seconds is not None and not (number and SECONDS[0] <= seconds <= SECONDS[1]):
        problems.append(f"seconds={seconds!r}: the length of a clip must be within {SECONDS[0]:g}..{SECONDS[1]:g}")
    if problems:
        raise ConfigError(problems)


def audio_spec(rate: int, waves: Tensor, length: Tensor, samples: int) -> dict[str, Any]:
    """The `spec` of a data set of sounds.

    Args:
        rate: Samples a second.
        waves: int16 ``(m, clip length)``, all clips or some that stand for them.
        length: int64 ``(m,)``, how many samples of each are sound.
        samples: How many clips the set has.
    """
    chosen = spread(len(waves), MOMENT_SAMPLE)
    mean, std = moments(waves[chosen], length[chosen], rate)
    facts = {"rate": rate, "length": waves.shape[1], "mels": MELS, "mean": mean, "std": std}
    return {"modality": "audio", **facts, "samples": samples}


def moments(waves: Tensor, length: Tensor, rate: int) -> tuple[float, float]:
    """Mean and standard deviation of the log-mel spectrograms where there is sound; the deviation is at least 0.1."""
    total = torch.zeros(3, dtype=torch.float64)
    for part, lengths in zip(waves.split(_CLIPS), length.split(_CLIPS), strict=True):
        spectrograms = log_mel(part.float() / FULL_SCALE, rate)[:, 0].double()
        frames = torch.tensor([frame_count(n, rate) for n in lengths.tolist()])
        inside = torch.arange(spectrograms.shape[2]) < frames[:, None]
        values = spectrograms.transpose(1, 2)[inside]
        total += torch.stack([torch.tensor(float(values.numel())), values.sum(), values.square().sum()])
    mean = total[1] / total[0]
    variance = (total[2] / total[0] - mean.square()).clamp(min=0.01)
    return round(float(mean), 6), round(float(variance.sqrt()), 6)


def spread(count: int, wanted: int) -> Tensor:
    """At most `wanted` positions, evenly spread over range(count) so that sorted classes are all met."""
    return torch.arange(min(count, wanted)) * count // min(count, wanted)
