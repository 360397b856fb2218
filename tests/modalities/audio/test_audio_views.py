"""Views of sounds: each augmentation by its definition, and what all presets have in common."""

from __future__ import annotations

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import ConfigError, DataError
from twofold.modalities.audio import views as V
from twofold.modalities.audio.spectrogram import MELS, frame_count, log_mel
from twofold.modalities.audio.views.presets import crop_samples

SPEC = {"rate": 8000, "length": 16000, "mean": -12.0, "std": 3.0}
WAVES = [V.Gain(), V.Polarity(), V.Noise(p=1)]
SPECTRA = [V.Mixup(), V.RandomResizedCrop(), V.Mask("frequency"), V.Mask("time"), V.Fader(1.0)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def clips():
    return torch.randn(6, 16000, generator=seeded()).mul(3000).to(torch.int16)


@pytest.fixture
def spectrograms(clips):
    return log_mel(clips.float() / 32768, 8000)


@pytest.mark.parametrize("preset", V.PRESETS)
def test_presets_are_functions_of_the_seed_and_differ_between_clips_and_views(preset, clips):
    same = clips[:1].expand(6, -1).contiguous()
    views = V.make_views(preset, SPEC, count=3)
    made, again, other = (views(same, generator=seeded(s)) for s in (1, 1, 2))
    assert len(made) == len(views) == 3
    frames = frame_count(crop_samples(SPEC), 8000)
    for view, repeated, another in zip(made, again, other, strict=True):
        assert view.shape == (6, 1, MELS, frames)
        assert view.dtype == torch.float32
        assert bool(torch.isfinite(view).all())
        assert torch.equal(view, repeated)
        assert not torch.equal(view, another)
        assert not torch.equal(view[0], view[1])
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize("preset", V.PRESETS)
def test_no_preset_changes_its_inputs_or_draws_from_the_global_state(preset, clips):
    kept, state = clips.clone(), torch.get_rng_state()
    V.make_views(preset, SPEC, count=2)(clips, generator=seeded(), length=torch.full((6,), 9000))
    assert torch.equal(clips, kept)
    assert torch.equal(torch.get_rng_state(), state)


def test_silence_gives_finite_views():
    for preset in V.PRESETS:
        for view in V.make_views(preset, SPEC, count=2)(torch.zeros(3, 16000), generator=seeded()):
            assert bool(torch.isfinite(view).all())


@given(length=st.integers(1, 300), samples=st.integers(1, 300), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_a_crop_is_a_stretch_of_the_sound_or_all_of_it_repeated(length, samples, seed):
    clip = torch.full((1, 300), -1.0)
    clip[0, :length] = torch.arange(length)
    crop = V.RandomCrop(samples)
    (made,) = crop.apply(clip, torch.tensor([length]), crop.draw(1, seeded(seed)))
    first = int(made[0])
    assert torch.equal(made, (first + torch.arange(samples)) % length)
    assert samples > length or first + samples <= length  # no seam where there is enough


def test_crops_reach_both_ends():
    clip = torch.arange(10.0).expand(400, -1)
    for samples, starts in ((4, range(7)), (10, range(1)), (12, range(10))):
        crop = V.RandomCrop(samples)
        made = crop.apply(clip, torch.full((400,), 10), crop.draw(400, seeded()))
        assert made[:, 0].unique().tolist() == list(starts)


def test_the_whole_view_repeats_what_is_short(clips):
    length = torch.tensor([16000, 4000, 16000, 16000, 16000, 16000])
    made = V.whole_view(clips, rate=8000, length=length)
    assert torch.equal(made[0], log_mel(clips[:1].float() / 32768, 8000)[0])
    assert torch.allclose(made[1], log_mel(clips[1, :4000].repeat(4)[None].float() / 32768, 8000)[0], atol=1e-4)


def test_gain_and_polarity_scale(clips):
    x = clips.float()
    for step in (V.Gain((-6.0, 6.0)), V.Polarity(p=0.5)):
        made = step(x, seeded(1))
        factor = made[:, 5] / x[:, 5]
        assert torch.allclose(made, x * factor[:, None], rtol=1e-4)
        assert len(factor.unique()) > 1
    assert torch.equal(V.Polarity(p=1)(x, seeded()), -x)
    assert torch.allclose(V.Gain((6.0, 6.0))(x, seeded()), x * 10**0.3)


@pytest.mark.parametrize("decibels", [0.0, 10.0, 30.0])
def test_noise_has_the_ratio_that_was_asked_for(clips, decibels):
    x = clips.float() / 32768
    added = V.Noise((decibels, decibels), p=1)(x, seeded()) - x
    ratio = 10 * torch.log10(x.square().mean(1) / added.square().mean(1))
    assert torch.allclose(ratio, torch.full((6,), decibels), atol=0.3)
    assert not torch.allclose(added[0], added[1])
    assert float(V.Noise(p=1)(torch.zeros(2, 100), seeded()).abs().max()) == 0


def test_mixup_adds_powers(spectrograms):
    step = V.Mixup(0.4)
    drawn = step.draw(tuple(spectrograms.shape), seeded())
    assert float(drawn["share"].max()) < 0.4
    assert drawn["other"].sort().values.tolist() == list(range(6))
    share = drawn["share"].view(-1, 1, 1, 1)
    expected = (1 - share) * spectrograms.exp() + share * spectrograms[drawn["other"]].exp()
    assert torch.allclose(step.apply(spectrograms, drawn).exp(), expected, rtol=1e-4)


def test_a_box_of_the_spectrogram_s_own_size_and_place_changes_nothing(spectrograms):
    made = V.RandomResizedCrop((1, 1), (1, 1), canvas=1)(spectrograms, seeded())
    assert torch.allclose(made, spectrograms, atol=1e-3)


def test_stretching_time_alone_leaves_each_band_where_it_is():
    flat = torch.randn(4, 1, MELS, 1, generator=seeded()).expand(-1, -1, -1, 50).contiguous()
    made = V.RandomResizedCrop((1, 1), (0.5, 1.0), canvas=1)(flat, seeded())
    assert torch.allclose(made[..., 5:-5], flat[..., 5:-5], atol=1e-3)
    stepped = flat + (torch.arange(50) >= 25)
    assert not torch.allclose(V.RandomResizedCrop((1, 1), (0.5, 0.9), canvas=1)(stepped, seeded()), stepped, atol=0.1)


def test_a_box_of_half_the_frames_shows_half_of_them():
    ramp = torch.arange(100.0).expand(1, 1, MELS, 100).contiguous()
    made = V.RandomResizedCrop((1, 1), (0.5, 0.5), canvas=1)(ramp, seeded(4))
    slope = made[0, 0, 0].diff()
    assert torch.allclose(slope, torch.full((99,), 0.5), atol=1e-3)


@pytest.mark.parametrize("along", ["frequency", "time"])
def test_masks_hide_whole_lines_and_no_more_than_they_may(along, spectrograms):
    step = V.Mask(along, share=0.3, count=2)
    made = step(spectrograms, seeded(1))
    changed = made != spectrograms
    lines = changed.all(3) if along == "frequency" else changed.all(2)
    assert torch.equal(changed.any(3 if along == "frequency" else 2), lines)
    share = lines.float().mean((1, 2))
    assert 0 < float(share.max()) <= 0.65
    mean = spectrograms.mean((2, 3), keepdim=True).expand_as(made)
    assert torch.equal(made[changed], mean[changed])


def test_a_fader_is_linear_in_time(spectrograms):
    slope = (V.Fader(2.0)(spectrograms, seeded()) - spectrograms).diff(dim=3)
    assert torch.allclose(slope, slope[:, :, :1, :1].expand_as(slope), atol=1e-4)
    assert float(slope.abs().max()) > 0
    assert torch.equal(V.Fader(0)(spectrograms, seeded()), spectrograms)


@pytest.mark.parametrize("step", WAVES + SPECTRA, ids=lambda step: repr(step))
def test_parameters_have_a_row_a_clip_and_differ(step, spectrograms):
    shape = (6, 100) if step in WAVES else tuple(spectrograms.shape)
    drawn = step.draw(shape, seeded(5))
    assert drawn
    assert all(len(value) == 6 for value in drawn.values())
    assert any(len(value.unique(dim=0)) > 1 for value in drawn.values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: V.RandomCrop(0), "samples must be 1 or more"),
        (lambda: V.Gain((6.0, -6.0)), r"decibels must be \(smallest, largest\)"),
        (lambda: V.Noise(p=1.5), "p must lie between 0 and 1, not 1.5"),
        (lambda: V.Mixup(-0.1), "share must lie between 0 and 1"),
        (lambda: V.RandomResizedCrop(time=(0.0, 1.0)), "time must be"),
        (lambda: V.RandomResizedCrop(canvas=0.5), "canvas must lie between 1 and 4"),
        (lambda: V.Mask("pitch"), "along must be 'frequency' or 'time'"),
        (lambda: V.Mask("time", count=0), "count must be 1 or more"),
        (lambda: V.Fader(-1), "gain must be"),
        (lambda: V.MultiView(()), "at least one view"),
        (lambda: V.make_views("colo", SPEC, count=2), "no views called 'colo'; did you mean 'cola'"),
        (lambda: V.make_views("cola", SPEC, count=0), "count must be a whole number from 1 up"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("inputs", "length", "message"),
    [
        (torch.zeros(3, 1, 8), None, r"shape \(n, samples\)"),
        (torch.zeros(3, 0), None, r"shape \(n, samples\)"),
        (torch.zeros(3, 8, dtype=torch.int64), None, "int16 or floats"),
        (torch.zeros(3, 8), torch.tensor([1, 2]), "one whole number a clip"),
        (torch.zeros(3, 8), torch.ones(3), "one whole number a clip"),
    ],
)
def test_wrong_inputs_are_refused(inputs, length, message):
    view = V.View(8000, V.RandomCrop(100))
    with pytest.raises(DataError, match=message):
        view(inputs, generator=seeded(), length=length)


def test_a_view_of_a_short_clip_is_all_of_it():
    assert crop_samples(SPEC | {"length": 5000}) == 5000
    assert crop_samples(SPEC) == 7680


def test_views_take_whatever_else_a_data_set_gives(clips):
    views = V.make_views("cola", SPEC, count=1)
    assert len(views(clips, generator=seeded(), aspect=torch.ones(6))) == 1
    assert "length" in inspect.signature(V.MultiView.__call__).parameters
