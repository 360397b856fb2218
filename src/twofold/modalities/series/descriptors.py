"""What can be said of a series without learning: moments, quantiles, speed and spectrum of each channel."""

from __future__ import annotations

import torch
from torch import Tensor

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BANDS = 6
_SMALL = 1e-8


def series_descriptor(series: Tensor) -> Tensor:
    """Baseline features of series (n, t, c): for each channel mean, deviation, five quantiles, speed, six bands.

    The speed is the mean absolute difference of neighbouring steps. 14 numbers a channel.
    """
    series = series.float()
    levels = torch.tensor(QUANTILES, device=series.device)
    parts = [
        series.mean(1),
        series.std(1, correction=0),
        series.quantile(levels, dim=1).permute(1, 0, 2).flatten(1),
        series.diff(dim=1).abs().mean(1) if series.shape[1] > 1 else torch.zeros_like(series[:, 0]),
        spectral_bands(series).flatten(1),
    ]
    return torch.cat(parts, 1)


def spectral_bands(series: Tensor, *, bands: int = BANDS) -> Tensor:
    """Logarithm of the power in bands of the frequencies, (n, bands, c); each band is about as wide as all below it.

    Args:
        series: (n, t, c). Their means are taken away first.
        bands: How many.
    """
    power = torch.fft.rfft(series - series.mean(1, keepdim=True), dim=1).abs().square() / series.shape[1]
    last = max(1, power.shape[1] - 1)
    edges = torch.logspace(0, 1, bands + 1, base=last + 1.0, device=series.device) - 1  # from 0 up to `last`
    frequency = torch.arange(power.shape[1], device=series.device)
    band = (torch.bucketize(frequency.float(), edges[1:-1]) if bands > 1 else torch.zeros_like(frequency)).long()
    summed = power.new_zeros(len(power), bands, power.shape[2])
    summed.index_add_(1, band, power)
    return (summed + _SMALL).log()
