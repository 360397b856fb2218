"""The log-mel spectrogram: what encoders of sound see.

It is computed where views are made, between the augmentations of the waveform (crop, gain, noise) and those of the
spectrogram (masks, stretching), and not in the encoder. So data sets hold and batches carry waveforms of 16 bits, a
quarter of the bytes of their spectrograms at usual settings, and it is computed once for each view, on the batch's
device.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

MELS = 64
"""Bands of a spectrogram, as of COLA (Saeed et al., ICASSP 2021) and BYOL-A (Niizumi et al., IJCNN 2021)."""
WINDOW_SECONDS = 0.064
"""Length of the analysis window: BYOL-A's 1024 samples at 16 kHz. Shorter ones leave low bands without a bin."""
FRAMES_PER_SECOND = 100
LOWEST = 60.0
"""Hz below which there are no bands; BYOL-A's."""
HIGHEST = 0.975
"""Upper end of the bands, as a share of half the sampling rate: BYOL-A's 7800 Hz of 8000."""
FLOOR = 1e-10
"""Power that is added before the logarithm, where a full-scale sine has 1/4: -94 dB of it."""

_PIECE = 2**19  # samples that are transformed at once: their spectra stay in the processor's cache


def window_length(rate: int) -> int:
    """Samples in a window: the power of two nearest to 64 ms."""
    return int(2 ** round(math.log2(WINDOW_SECONDS * rate)))


def hop_length(rate: int) -> int:
    """Samples between two frames."""
    return round(rate / FRAMES_PER_SECOND)


def frame_count(samples: int, rate: int) -> int:
    """Frames of a waveform: one at each hop, the first centered on its first sample."""
    return 1 + samples // hop_length(rate)


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """2595 log10(1 + f / 700) (O'Shaughnessy, 1987)."""
    return 2595 * torch.log10(1 + hertz / 700)


def mel_to_hertz(mel: Tensor) -> Tensor:
    """The inverse of :func:`hertz_to_mel`."""
    return 700 * (10 ** (mel / 2595) - 1)


def mel_edges(rate: int) -> Tensor:
    """Corners of the bands in Hz, float64 ``(MELS + 2,)``, equally spaced in mel: band m has its peak at edge m + 1."""
    ends = hertz_to_mel(torch.tensor([LOWEST, HIGHEST * rate / 2], dtype=torch.float64))
    return mel_to_hertz(torch.linspace(float(ends[0]), float(ends[1]), MELS + 2, dtype=torch.float64))


@cache
def mel_filters(rate: int) -> Tensor:
    """Triangular filters of peak 1, ``(bins, MELS)``; between the first and the last peak they sum to 1 at each bin."""
    bins = torch.fft.rfftfreq(window_length(rate), 1 / rate, dtype=torch.float64)
    edges = mel_edges(rate)
    left, peak, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (peak - left)
    falling = (right - bins[:, None]) / (right - peak)
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel(waves: Tensor, rate: int) -> Tensor:
    """Log-mel power spectrograms.

    Args:
        waves: ``(n, samples)``, float in [-1, 1].
        rate: Samples a second.

    Returns:
        float32 ``(n, 1, MELS, frames)``: log(power + 1e-10), between -23 (silence) and about 0. Outside of the
        waveform there is silence.
    """
    window = torch.hann_window(window_length(rate), device=waves.device)
    filters = mel_filters(rate).to(waves.device).repeat_interleave(2, 0)  # for real and imaginary parts in turn
    rows = max(1, _PIECE // max(1, waves.shape[1]))
    parts = []
    for part in waves.float().split(rows):
        spectrum = torch.stft(
            part,
            len(window),
            hop_length(rate),
            window=window / window.sum(),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        # As real numbers (rows, frames, 2 * bins): the sum of squares over both parts is left to the product.
        squares = torch.view_as_real(spectrum.transpose(1, 2)).flatten(2).square_()
        parts.append((squares @ filters).transpose(1, 2))
    return torch.cat(parts).unsqueeze(1).add_(FLOOR).log_()


def cepstrum(spectrograms: Tensor, count: int) -> Tensor:
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II of the bands.

    Args:
        spectrograms: ``(n, 1, MELS, frames)``.
        count: Coefficients to keep, from the zeroth.

    Returns:
        ``(n, count, frames)``.
    """
    band = torch.arange(MELS, dtype=torch.float64) + 0.5
    order = torch.arange(count, dtype=torch.float64)
    basis = torch.cos(math.pi / MELS * order[:, None] * band) * math.sqrt(2 / MELS)
    basis[0] /= math.sqrt(2)
    return torch.einsum("cm,nmf->ncf", basis.to(spectrograms), spectrograms.squeeze(1))
