"""Views of series: what each change does, and that nothing but the generator decides."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import ConfigError, DataError
from twofold.modalities.series import views
from twofold.modalities.series.skeletons import named
from twofold.modalities.series.views.base import at_places
from twofold.modalities.series.views.values import rotations

SENSORS = views.Facts(mean=(1.0, 2.0, 3.0, 0.0, 0.0, 0.0), std=(1.0, 2.0, 0.5, 1.0, 1.0, 1.0))
FLAT = views.Facts(mean=(0.0,) * 30, std=(1.0,) * 30, joints=15, mirror=named("jhmdb-15").mirror)
SPACE = views.Facts(mean=(0.0,) * 12, std=(1.0,) * 12, joints=4)
ALL = [
    *((step, SENSORS) for step in (views.Jitter(), views.Scale(), views.MagnitudeWarp(), views.RotateAxes())),
    *((step, SENSORS) for step in (views.FlipSign(), views.DropChannels(0.5), views.DropSegment((0.2, 0.5)))),
    *((step, SENSORS) for step in (views.Smooth(p=1.0), views.CropTime(), views.ShiftTime(), views.TimeWarp())),
    *((step, SENSORS) for step in (views.PermuteSegments(), views.ReverseTime())),
    *((step, facts) for facts in (FLAT, SPACE) for step in (views.Shear(), views.Turn(), views.Mirror())),
    *((step, facts) for facts in (FLAT, SPACE) for step in (views.JointNoise(), views.DropJoints(0.4))),
    *((step, facts) for facts in (FLAT, SPACE) for step in (views.DropAxis(),)),
    (views.Heading(), SPACE),
]


def series(facts, n=16, t=24, seed=0):
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, t, len(facts.mean), generator=draw)
    return noise * torch.tensor(facts.std) + torch.tensor(facts.mean)


def seen(step, facts, x, seed=0):
    return views.View((step,), facts)(x, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("step", "facts"), ALL, ids=lambda part: type(part).__name__)
def test_each_change_is_random_repeatable_and_leaves_its_input_alone(step, facts):
    x = series(facts)
    before = x.clone()
    view = seen(step, facts, x)
    assert view.shape == x.shape
    assert view.dtype == torch.float32
    assert bool(torch.isfinite(view).all())
    assert torch.equal(x, before)
    assert torch.equal(view, seen(step, facts, x))
    assert not torch.equal(view, seen(step, facts, x, seed=1))
    same = x[:1].expand(16, -1, -1)
    assert len(torch.unique(seen(step, facts, same).flatten(1), dim=0)) > 1  # each sample has its own


@pytest.mark.parametrize(("step", "facts"), ALL, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("t", [1, 2, 3])
def test_each_change_takes_very_short_series(step, facts, t):
    x = series(facts, n=3, t=t)
    assert bool(torch.isfinite(seen(step, facts, x)).all())


@pytest.mark.parametrize(
    ("step", "facts"),
    [
        (views.Jitter(0.0), SENSORS),
        (views.Scale(0.0), SENSORS),
        (views.MagnitudeWarp(0.0), SENSORS),
        (views.RotateAxes(0.0), SENSORS),
        (views.FlipSign(0.0), SENSORS),
        (views.DropChannels(0.0), SENSORS),
        (views.DropSegment((0.0, 0.0)), SENSORS),
        (views.Smooth(p=0.0), SENSORS),
        (views.CropTime((1.0, 1.0)), SENSORS),
        (views.ShiftTime(0.0), SENSORS),
        (views.TimeWarp(0.0), SENSORS),
        (views.PermuteSegments(1), SENSORS),
        (views.ReverseTime(0.0), SENSORS),
        (views.Shear(0.0), FLAT),
        (views.Turn(0.0, 0.0), SPACE),
        (views.Mirror(0.0), FLAT),
        (views.JointNoise(0.0), FLAT),
        (views.DropJoints(0.0), FLAT),
        (views.DropAxis(0.0), SPACE),
    ],
    ids=lambda part: type(part).__name__,
)
def test_neutral_parameters_change_nothing(step, facts):
    x = series(facts)
    torch.testing.assert_close(seen(step, facts, x), x, atol=1e-4, rtol=1e-4)


def test_times_that_fall_between_steps():
    x = torch.tensor([[[0.0], [10.0], [40.0]]])
    place = torch.tensor([[0.0, 0.5, 1.9, 2.0, 5.0, -1.0]])
    assert at_places(x, place)[0, :, 0].tolist() == pytest.approx([0, 5, 37, 40, 40, 0])


@pytest.mark.parametrize("step", [views.CropTime(), views.TimeWarp(0.5), views.ShiftTime(0.3)])
def test_changes_of_time_only_read_the_series_elsewhere(step):
    ramp = torch.linspace(0, 1, 50)[None, :, None].expand(8, 50, 6).contiguous()
    view = seen(step, SENSORS, ramp)
    assert float(view.min()) >= 0
    assert float(view.max()) <= 1
    torch.testing.assert_close(view, view[:, :, :1].expand_as(view))  # all channels at the same times
    if not isinstance(step, views.ShiftTime):
        assert bool((view.diff(dim=1) >= -1e-6).all())


def test_warped_time_starts_and_ends_where_it_did():
    x = series(SENSORS)
    view = seen(views.TimeWarp(0.8), SENSORS, x)
    torch.testing.assert_close(view[:, [0, -1]], x[:, [0, -1]], atol=1e-4, rtol=0)


def test_permuted_pieces_hold_the_same_steps():
    x = torch.arange(24.0)[None, :, None].expand(64, 24, 6).contiguous()
    view = seen(views.PermuteSegments(4), SENSORS, x)[:, :, 0]
    assert torch.equal(view.sort(1)[0], x[:, :, 0])
    jumps = (view.diff(dim=1) != 1).sum(1)
    assert int(jumps.max()) == 3  # four pieces at most
    assert int(jumps.min()) == 0


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_turned_axes_keep_lengths_and_angles_between_sensors(seed):
    x = series(SENSORS, n=4, seed=seed)
    view = seen(views.RotateAxes(), SENSORS, x, seed)
    before, after = (v.unflatten(2, (2, 3)) for v in (x, view))
    torch.testing.assert_close(after.norm(dim=3), before.norm(dim=3), atol=1e-4, rtol=1e-4)
    inner = [(v[:, :, 0] * v[:, :, 1]).sum(2) for v in (before, after)]
    torch.testing.assert_close(*inner, atol=1e-3, rtol=1e-3)


def test_rotations_about_an_axis():
    quarter = rotations(torch.tensor([[0.0, 0, 1]]), torch.tensor([math.pi / 2]))[0]
    torch.testing.assert_close(quarter @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)


def test_what_is_dropped_is_put_to_the_mean():
    x = series(SENSORS, n=200)
    dropped = (seen(views.DropChannels(0.9), SENSORS, x) == torch.tensor(SENSORS.mean)).all(1)
    assert not bool(dropped.all(1).any())  # one channel always stays
    assert 0.7 < float(dropped.float().mean()) < 0.9
    hidden = (seen(views.DropSegment((0.25, 0.25)), SENSORS, x) == torch.tensor(SENSORS.mean)).all(2)
    assert hidden.sum(1).unique().tolist() == [6]
    assert bool(((hidden.float().diff(dim=1) == 1).sum(1) <= 1).all())  # in one piece


def test_noise_is_measured_in_deviations():
    x = torch.zeros(400, 50, 6)
    deviation = seen(views.Jitter(0.1), SENSORS, x).std((0, 1))
    torch.testing.assert_close(deviation, 0.1 * torch.tensor(SENSORS.std), rtol=0.03, atol=0)


def test_a_mirror_changes_left_and_right():
    x = series(FLAT)
    view = seen(views.Mirror(1.0), FLAT, x)
    places, mirrored = (v.unflatten(2, (15, 2)) for v in (x, view))
    assert torch.equal(mirrored[:, :, 3], places[:, :, 4] * torch.tensor([-1.0, 1.0]))
    assert torch.equal(mirrored[:, :, 0], places[:, :, 0] * torch.tensor([-1.0, 1.0]))
    assert torch.equal(seen(views.Mirror(1.0), FLAT, view), x)
    assert all(order[order[i]] == i for order in (named("ntu-25").mirror, named("coco-17").mirror) for i in order)


def test_turning_a_body_keeps_its_shape():
    for step, facts in ((views.Turn(90.0), FLAT), (views.Turn(90.0), SPACE), (views.Heading(), SPACE)):
        x = series(facts)
        before, after = (v.unflatten(2, (facts.joints, -1)) for v in (x, seen(step, facts, x)))
        distance = [torch.cdist(v, v) for v in (before, after)]
        torch.testing.assert_close(*distance, atol=1e-3, rtol=1e-3)
    upright = seen(views.Heading(), SPACE, series(SPACE)).unflatten(2, (4, 3))[..., 1]
    torch.testing.assert_close(upright, series(SPACE).unflatten(2, (4, 3))[..., 1])


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(0, 10_000))
def test_crops_overlap_in_the_same_steps(t, seed):
    """With the values as their own places, both views show the same ones in the common part."""
    x = torch.arange(float(t))[None, :, None].expand(5, t, 6).contiguous()
    x = x + 1000 * torch.arange(5.0)[:, None, None]
    first, second = views.OverlappingCrops(SENSORS)(x, generator=torch.Generator().manual_seed(seed))
    (a, b), (c, d) = (view["common"][0].tolist() for view in (first, second))
    assert min(t, 2) <= b - a == d - c
    assert (b, c) == (first["series"].shape[1], 0)
    assert torch.equal(first["series"][:, a:b], second["series"][:, c:d])
    assert bool((first["series"] // 1000 == torch.arange(5)[:, None, None]).all())
    assert bool((first["series"].diff(dim=1) == 1).all())


def test_crops_are_of_all_lengths_and_rows_have_their_own_place():
    x = torch.arange(30.0)[None, :, None].expand(20, 30, 6).contiguous()
    lengths, starts = set(), set()
    for seed in range(200):
        first, _ = views.OverlappingCrops(SENSORS)(x, generator=torch.Generator().manual_seed(seed))
        lengths.add(int(first["common"][0, 1] - first["common"][0, 0]))
        starts.add(len(first["series"][:, 0, 0].unique()))
    assert len(lengths) > 20
    assert max(starts) > 5


def test_presets():
    for name in views.NAMES:
        facts = SENSORS if name in ("sensors", "har", "ts-tcc-weak", "ts-tcc-strong", "masked", "ts2vec") else SPACE
        spec = dataclasses.asdict(facts)
        made = views.make_views(name, spec)(series(facts), generator=torch.Generator().manual_seed(0))
        assert len(made) == 2, name
    aimclr = views.make_views("aimclr", dataclasses.asdict(FLAT), count=3)
    assert [len(view.augmentations) for view in aimclr.views] == [2, 2, 8]


def test_what_cannot_be_asked_for():
    spec = dataclasses.asdict(SENSORS)
    with pytest.raises(ConfigError, match="no views called 'sensor'; did you mean 'sensors'"):
        views.make_views("sensor", spec)
    with pytest.raises(ConfigError, match="'sensors' have no option 'jiter'; did you mean 'jitter'"):
        views.make_views("sensors", spec, jiter=1)
    with pytest.raises(ConfigError, match="view_count must be 2, not 3"):
        views.make_views("ts2vec", spec, count=3)
    with pytest.raises(ConfigError, match="Shear is for skeletons: read the data with skeleton="):
        views.make_views("skeleton", spec)
    with pytest.raises(ConfigError, match="Heading turns skeletons in space"):
        views.make_views("skeleton-heading", dataclasses.asdict(FLAT))
    with pytest.raises(ConfigError, match=r"turns channels by threes \(x, y, z\), and this data has 2"):
        views.make_views("har", {"mean": (0, 0), "std": (1, 1)})
    with pytest.raises(ConfigError, match=r"CropTime: share must be \(smallest, largest\) within \[0, 1\]"):
        views.CropTime((0.5, 1.5))
    with pytest.raises(ConfigError, match="at least one view"):
        views.MultiView(())
    view = views.make_views("sensors", spec)
    with pytest.raises(DataError, match=r"shape \(n, steps, 6\), but these have \(4, 5\)"):
        view(torch.zeros(4, 5), generator=torch.Generator())
    with pytest.raises(DataError, match=r"must be floating, but these are torch\.int64"):
        view(torch.zeros(4, 5, 6, dtype=torch.int64), generator=torch.Generator())
