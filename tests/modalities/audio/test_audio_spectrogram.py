"""The log-mel front end against its formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.modalities.audio.readers.resampling import resample
from twofold.modalities.audio.spectrogram import (
    FLOOR,
    MELS,
    cepstrum,
    frame_count,
    hertz_to_mel,
    hop_length,
    log_mel,
    mel_edges,
    mel_filters,
    mel_to_hertz,
    window_length,
)

RATES = [4000, 8000, 11025, 16000, 22050, 44100, 48000, 192000]


def tone(hertz, rate, samples, amplitude=1.0):
    return amplitude * torch.sin(2 * math.pi * hertz * torch.arange(samples, dtype=torch.float64) / rate)


def naive_filter(rate, band):
    """One triangle, bin by bin, from the definition."""
    edges = [2595 * math.log10(1 + f / 700) for f in (60.0, 0.975 * rate / 2)]
    corners = [edges[0] + (edges[1] - edges[0]) * i / (MELS + 1) for i in range(band, band + 3)]
    left, peak, right = (700 * (10 ** (mel / 2595) - 1) for mel in corners)
    weights = []
    for k in range(window_length(rate) // 2 + 1):
        hertz = k * rate / window_length(rate)
        rising, falling = (hertz - left) / (peak - left), (right - hertz) / (right - peak)
        weights.append(max(0.0, min(rising, falling)))
    return torch.tensor(weights)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("band", [0, 17, MELS - 1])
def test_filters_are_the_triangles_of_the_definition(rate, band):
    assert torch.allclose(mel_filters(rate)[:, band], naive_filter(rate, band), atol=1e-6)


@pytest.mark.parametrize("rate", RATES)
def test_filters_share_each_bin_between_them_and_none_is_empty(rate):
    filters, edges = mel_filters(rate), mel_edges(rate)
    bins = torch.fft.rfftfreq(window_length(rate), 1 / rate, dtype=torch.float64)
    between = (bins >= edges[1]) & (bins <= edges[-2])
    assert int(between.sum()) > MELS / 2
    assert torch.allclose(filters[between].sum(1), torch.ones(int(between.sum())), atol=1e-5)
    assert bool((filters.sum(0) > 0).all())
    assert float(filters[(bins <= edges[0]) | (bins >= edges[-1])].sum()) == 0


def test_mel_scale_goes_both_ways_and_has_its_fixed_point():
    hertz = torch.linspace(20, 20000, 100, dtype=torch.float64)
    assert torch.allclose(mel_to_hertz(hertz_to_mel(hertz)), hertz)
    assert float(hertz_to_mel(torch.tensor(1000.0, dtype=torch.float64))) == pytest.approx(1000, abs=0.1)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_tone_lies_in_its_band_with_its_power(rate):
    edges = mel_edges(rate)
    for band in (10, 30, 50):
        hertz = float(edges[band + 1])
        quiet, loud = (log_mel(tone(hertz, rate, rate, a)[None], rate)[0, 0, :, 50] for a in (0.01, 0.1))
        assert int(loud.argmax()) == band
        assert float(loud.max() - quiet.max()) == pytest.approx(2 * math.log(10), abs=0.01)


def test_power_is_that_of_the_windowed_transform():
    rate, frame = 8000, 20
    wave = torch.randn(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    length, hop = window_length(rate), hop_length(rate)
    start = frame * hop - length // 2
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(length, dtype=torch.float64) / length)
    k = torch.arange(length // 2 + 1, dtype=torch.float64)[:, None]
    turns = torch.exp(-2j * math.pi * k * torch.arange(length, dtype=torch.float64) / length)
    power = (turns @ (wave[start : start + length] * window / window.sum()).to(torch.complex128)).abs().square()
    expected = torch.log(power @ mel_filters(rate).double() + FLOOR)
    assert torch.allclose(log_mel(wave[None], rate)[0, 0, :, frame].double(), expected, atol=1e-4)


@given(samples=st.integers(1, 30000), rate=st.sampled_from(RATES[:4]))
@settings(max_examples=25, deadline=None)
def test_shapes(samples, rate):
    made = log_mel(torch.zeros(2, samples), rate)
    assert made.shape == (2, 1, MELS, frame_count(samples, rate))
    assert torch.allclose(made, torch.full_like(made, math.log(FLOOR)))


def test_many_clips_in_pieces_are_as_each_alone():
    waves = torch.randn(40, 30000, generator=torch.Generator().manual_seed(1))
    together = log_mel(waves, 16000)
    assert torch.allclose(together[37:38], log_mel(waves[37:38], 16000), atol=1e-4)


def test_cepstrum_is_the_orthonormal_cosine_transform():
    spectrograms = torch.randn(3, 1, MELS, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    whole = cepstrum(spectrograms, MELS)
    assert torch.allclose(whole.square().sum(1), spectrograms[:, 0].square().sum(1))  # orthonormal: energy stays
    flat = cepstrum(torch.ones(1, 1, MELS, 1, dtype=torch.float64), 4)[0, :, 0]
    assert torch.allclose(flat, torch.tensor([math.sqrt(MELS), 0, 0, 0], dtype=torch.float64), atol=1e-12)
    assert torch.equal(cepstrum(spectrograms, 4), whole[:, :4])


@given(
    source=st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 767_999]),
    target=st.sampled_from([4000, 8000, 16000, 22050]),
    share=st.floats(0.05, 0.8),
)
@settings(max_examples=25, deadline=None)
def test_resampling_keeps_a_tone_s_frequency_level_and_duration(source, target, share):
    hertz = share * min(source, target) / 2
    wave = tone(hertz, source, source // 2, 0.5).float().numpy()
    made = resample(wave, source, target)
    assert made.dtype == np.float32
    assert len(made) == pytest.approx(target / 2, rel=1e-3, abs=1)
    middle = made[len(made) // 4 : 3 * len(made) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    found = spectrum.argmax() * target / len(middle)
    assert found == pytest.approx(hertz, abs=1.5 * target / len(middle))
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, abs=0.05)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    made = resample(tone(7000, 16000, 16000).float().numpy(), 16000, 8000)
    assert np.abs(made[500:-500]).max() < 0.01


def test_resampling_to_the_same_rate_changes_nothing():
    wave = np.ones(5, np.float32)
    assert resample(wave, 8000, 8000) is wave
