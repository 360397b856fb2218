"""Views of clips: where they lie in time, and that all frames of one are changed alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import ConfigError, DataError
from twofold.modalities.pixels.colour import ColorJitter, RandomGrey
from twofold.modalities.pixels.compose import View
from twofold.modalities.pixels.filters import Cutout, GaussianBlur, GaussianNoise
from twofold.modalities.pixels.geometry import RandomAffine, RandomResizedCrop
from twofold.modalities.video import views as V


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def clips():
    return torch.randint(0, 256, (4, 12, 3, 40, 40), generator=seeded(), dtype=torch.uint8)


@pytest.mark.parametrize("preset", V.PRESETS)
def test_presets_are_functions_of_the_seed_and_differ_between_clips_and_views(preset, clips):
    same = clips[:1].expand(4, -1, -1, -1, -1).contiguous()
    kept, state = same.clone(), torch.get_rng_state()
    views = V.make_views(preset, size=40, frames=5, count=3)
    made, again, other = (views(same, generator=seeded(s)) for s in (1, 1, 2))
    assert len(made) == len(views) == 3
    for view, repeated, another in zip(made, again, other, strict=True):
        assert (view.shape, view.dtype) == ((4, 5, 3, 40, 40), torch.float32)
        assert 0 <= float(view.min()) <= float(view.max()) <= 1
        assert torch.equal(view, repeated)
        assert not torch.equal(view, another)
        assert not torch.equal(view[0], view[1])
    assert not torch.equal(made[0], made[1])
    assert torch.equal(same, kept)
    assert torch.equal(torch.get_rng_state(), state)


EVERYTHING = View(
    RandomResizedCrop(24, (0.3, 1.0)),
    (
        ColorJitter(0.8, 0.8, 0.8, 0.2, p=0.8),
        RandomGrey(0.5),
        GaussianBlur(),
        RandomAffine(30),
        GaussianNoise(),
        Cutout(),
    ),
)


def test_all_frames_of_a_view_are_changed_alike(clips):
    still = clips[:, :1].expand(-1, 6, -1, -1, -1).contiguous()
    view = V.ClipView(EVERYTHING)(still, generator=seeded())
    assert torch.allclose(view, view[:, :1].expand_as(view), atol=1e-6)
    assert not torch.allclose(view[0], view[1], atol=0.05)
    apart = V.ClipView(EVERYTHING, consistent=False)(still, generator=seeded())
    assert not torch.allclose(apart[:, 0], apart[:, 1], atol=0.05)


@pytest.mark.parametrize("wide", [False, True])
def test_a_view_of_frames_is_the_picture_view_of_each_with_the_same_parameters(clips, wide):
    aspect = torch.tensor([0.5, 1.0, 2.0, 1.5]) if wide else None
    view = V.ClipView(EVERYTHING)(clips, generator=seeded(3), aspect=aspect)
    for t in range(clips.shape[1]):
        assert torch.allclose(view[:, t], EVERYTHING(clips[:, t], generator=seeded(3), aspect=aspect), atol=1e-5)


def test_the_interval_falls_linearly_and_a_third_of_the_longest_on_average():
    n, frames, length = 60_000, 8, 48
    timing = V.Timing(frames)
    first, second = timing.draw(torch.full((n,), length), 2, seeded())
    longest = length - frames + 1
    assert int(torch.minimum(first, second).min()) == 0
    assert int(torch.maximum(first, second).max()) == longest - 1
    interval = (first - second).abs().float()
    assert float(interval.mean()) == pytest.approx(longest / 3, rel=0.02)
    counts = interval.long().bincount(minlength=longest).float() / n
    middle = torch.arange(1, longest - 1)
    wanted = 2 * (longest - middle) / longest**2  # the density at whole numbers
    assert float((counts[1:-1] - wanted).abs().max()) < 0.004
    assert float((first < second).float().mean()) == pytest.approx(0.5, abs=0.02)


def test_uniform_intervals_are_longer_and_zero_ones_none():
    length = torch.full((20_000,), 30)
    first, second = V.Timing(5, interval="uniform").draw(length, 2, seeded())
    assert float((first - second).abs().float().mean()) == pytest.approx(13, rel=0.03)
    first, second = V.Timing(5, interval="zero").draw(length, 2, seeded())
    assert torch.equal(first, second)
    assert float(first.float().mean()) == pytest.approx(12.5, rel=0.03)


@given(length=st.integers(1, 40), frames=st.integers(1, 20), stride=st.integers(1, 3), count=st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_views_never_leave_the_clip_and_repeat_it_only_if_it_is_too_short(length, frames, stride, count):
    timing = V.Timing(frames, stride)
    lengths = torch.full((7,), length)
    starts = timing.draw(lengths, count, seeded(length))
    assert len(starts) == count
    needed = (frames - 1) * stride + 1
    for start in starts:
        places = timing.places(start, lengths)
        assert places.shape == (7, frames)
        assert 0 <= int(places.min()) <= int(places.max()) < length
        if needed <= length:
            assert torch.equal(places, start[:, None] + stride * torch.arange(frames))
        else:
            assert torch.equal(places[0], (stride * torch.arange(frames)) % length)


def test_views_see_the_frames_of_their_clip_only():
    clips = torch.zeros(3, 10, 1, 8, 8)
    length = torch.tensor([4, 10, 6])
    for clip, n in zip(clips, length.tolist(), strict=True):
        clip[:n] = 0.5  # what follows is black
    views = V.make_views("weak", size=8, frames=5, channels=1)(clips, generator=seeded(), length=length)
    assert all(torch.allclose(view, torch.tensor(0.5)) for view in views)
    whole = V.whole_view(clips, size=8, length=length)
    assert whole.shape == clips.shape
    assert torch.allclose(whole, torch.tensor(0.5))


def test_the_whole_view_repeats_short_clips_and_takes_the_centre():
    clips = torch.arange(6.0).div(10).reshape(1, 6, 1, 1, 1).expand(2, 6, 1, 8, 8).contiguous()
    whole = V.whole_view(clips, size=8, length=torch.tensor([6, 4]))
    assert torch.allclose(whole[0, :, 0, 0, 0], torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]))
    assert torch.allclose(whole[1, :, 0, 0, 0], torch.tensor([0.0, 0.1, 0.2, 0.3, 0.0, 0.1]))
    assert torch.equal(V.still(clips, length=torch.tensor([6, 4]))[:, 0, 0, 0], clips[0, [3, 2], 0, 0, 0])
    wide = torch.zeros(1, 2, 1, 8, 8)
    wide[..., 2:6] = 1  # the middle half of a picture that was twice as wide as high
    assert bool((V.whole_view(wide, size=4, aspect=torch.tensor([2.0])) > 0.99).all())


@pytest.mark.parametrize(
    ("inputs", "length", "message"),
    [
        (torch.zeros(2, 4, 3, 8), None, r"Clips must have shape \(n, frames, channels, size, size\)"),
        (torch.zeros(2, 0, 3, 8, 8), None, "Clips must have shape"),
        (torch.zeros(2, 4, 1, 8, 8), None, "made for clips with 3 channels, but these have 1"),
        (torch.zeros(2, 4, 3, 8, 6), None, "must be square"),
        (torch.zeros(2, 4, 3, 8, 8), torch.tensor([4]), "2 numbers of frames from 1 to 4"),
        (torch.zeros(2, 4, 3, 8, 8), torch.tensor([0, 4]), "2 numbers of frames from 1 to 4"),
        (torch.full((2, 4, 3, 8, 8), 7.0), None, r"must lie in \[0, 1\]"),
    ],
)
def test_wrong_inputs_are_refused(inputs, length, message):
    with pytest.raises(DataError, match=message):
        V.make_views("clips", size=8, frames=2)(inputs, generator=seeded(), length=length)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "clip"}, "no views called 'clip'; did you mean 'clips'"),
        ({"name": "cvrl", "scales": 1}, "no option 'scales'; did you mean 'scale'"),
        ({"name": "cvrl", "frames": 0}, "frames must be a whole number from 1 up"),
        ({"name": "cvrl", "channels": 2}, r"channels must be 1 \(grey\) or 3"),
        ({"name": "cvrl", "interval": "longer"}, "interval must be one of decreasing, uniform, zero"),
        ({"name": "cvrl", "stride": 0}, "stride must be a whole number from 1 up"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        V.make_views(**({"size": 8, "frames": 2} | options))


def test_there_must_be_a_view():
    with pytest.raises(ConfigError, match="at least one view"):
        V.MultiView(V.Timing(2), (), 3)
