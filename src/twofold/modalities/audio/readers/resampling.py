"""Waveforms at another sampling rate: band-limited interpolation by a polyphase filter."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_LARGEST_TERM = 1000  # of the ratio of two rates: 44.1 kHz to 16 kHz is 160 / 441
_PASSED = 0.95  # share of the lower rate's band that passes
_ZERO_CROSSINGS = 16  # of the sinc on either side
_KAISER = 8.0  # about 80 dB of suppression


def resample(wave: np.ndarray, source: int, target: int) -> np.ndarray:
    """A waveform at another rate.

    Each output is a windowed sinc of the inputs around it (Smith, "Digital Audio Resampling", 2002). Where the rates
    are as ``up`` to ``down``, there are ``up`` different filters, and each serves every ``up``-th output.

    Args:
        wave: float32 ``(samples,)``.
        source: Its samples a second.
        target: Those of the result. Their ratio is taken to the nearest fraction with terms up to 1000.

    Returns:
        float32 ``(ceil(samples * target / source),)``.
    """
    if source == target:
        return wave
    up, down = _ratio(source, target)
    filters, half = _filters(up, down)
    padded = F.pad(torch.from_numpy(wave)[None, None], (half, half + down))
    outputs = F.conv1d(padded, filters[:, None], stride=down)[0]  # (up, blocks of down inputs)
    resampled: np.ndarray = outputs.T.reshape(-1)[: math.ceil(len(wave) * up / down)].numpy()
    return resampled


def _ratio(source: int, target: int) -> tuple[int, int]:
    large, small = max(source, target), min(source, target)
    # Bounded so that unusual rates need no filters of millions of taps.
    ratio = Fraction(large, small).limit_denominator(max(1, _LARGEST_TERM * small // large))
    return (ratio.denominator, ratio.numerator) if source > target else (ratio.numerator, ratio.denominator)


@lru_cache(maxsize=32)
def _filters(up: int, down: int) -> tuple[Tensor, int]:
    """``(up, down + 2 half + 1)``: for each output of a block the weights of its inputs; and ``half``."""
    cutoff = min(1.0, up / down) * _PASSED
    half = math.ceil(_ZERO_CROSSINGS / cutoff)
    place = torch.arange(up, dtype=torch.float64)[:, None] * down / up
    distance = place - torch.arange(-half, down + half + 1, dtype=torch.float64)
    inside = (1 - (distance / half).square()).clamp(min=0)
    window = torch.special.i0(_KAISER * inside.sqrt()) / torch.special.i0(torch.tensor(_KAISER, dtype=torch.float64))
    weights = cutoff * torch.sinc(cutoff * distance) * window * (inside > 0)
    return weights.float(), half
