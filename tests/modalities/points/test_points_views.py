"""Views of clouds: determinism, ranges, what each leaves as it was."""

from __future__ import annotations

import math

import pytest
import torch

from twofold.errors import ConfigError, DataError
from twofold.modalities.points.views import PRESETS, View, make_views
from twofold.modalities.points.views.base import keep_only
from twofold.modalities.points.views.moves import (
    Jitter,
    RandomMirror,
    RandomRotation,
    RandomScale,
    RandomTranslation,
    random_rotations,
)
from twofold.modalities.points.views.parts import BoxCutout, PointDropout, RandomCrop


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def viewed(augmentation, clouds, *, seed=0, normals=False):
    return View((augmentation,), normals=normals)(clouds, generator=seeded(seed))


def distances(places):
    return torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_depend_on_the_generator_alone_and_differ_between_samples(name, clouds):
    same = clouds[:1].expand(6, -1, -1).clone()
    views = make_views(name, count=3)
    made, again = views(same, generator=seeded(1)), views(same, generator=seeded(1))
    other = views(same, generator=seeded(2))
    assert len(made) == 3
    assert all(torch.equal(a, b) for a, b in zip(made, again, strict=True))
    assert not torch.equal(made[0], other[0])
    assert not torch.equal(made[0], made[1])
    assert all(not torch.equal(made[0][0], made[0][i]) for i in range(1, 6))
    assert made[0].shape == same.shape
    assert made[0].dtype == torch.float32
    assert torch.isfinite(made[0]).all()


@pytest.mark.parametrize("name", PRESETS)
def test_views_leave_their_input_alone_and_take_any_number_of_columns(name, clouds):
    wide = torch.cat([clouds, torch.nn.functional.normalize(clouds, dim=2), clouds[..., :1]], 2)
    before = wide.clone()
    (view,) = make_views(name, count=1, normals=True, points=25)(wide, generator=seeded())
    assert torch.equal(wide, before)
    assert view.shape == (5, 25, 7)
    assert torch.allclose(view[..., 3:6].norm(dim=2), torch.ones(5, 25), atol=1e-5)
    assert all(set(view[i, :, 6].tolist()) <= set(wide[i, :, 6].tolist()) for i in range(5))


def test_a_sample_in_a_batch_gets_what_its_parameters_say(clouds):
    for step in PRESETS["shapes"]() + PRESETS["scenes"]() + PRESETS["crosspoint"]():
        drawn = step.draw(5, 40, seeded())
        whole = step.apply(clouds, drawn, normals=False)
        alone = step.apply(clouds[2:3], {name: value[2:3] for name, value in drawn.items()}, normals=False)
        assert torch.allclose(whole[2:3], alone, atol=1e-6)


@pytest.mark.parametrize("everywhere", [False, True])
def test_rotations_keep_distances_and_turn_normals_along(clouds, everywhere):
    both = torch.cat([clouds, clouds], 2)
    turned = viewed(RandomRotation(everywhere=everywhere), both, normals=True)
    assert torch.allclose(distances(turned[..., :3]), distances(clouds), atol=1e-4)
    assert torch.allclose(turned[..., :3], turned[..., 3:], atol=1e-6)
    assert torch.equal(turned[..., 2], clouds[..., 2]) != everywhere
    still = viewed(RandomRotation(0), clouds)
    assert torch.allclose(still, clouds)


def test_rotations_everywhere_are_even_and_proper():
    matrices = random_rotations(4000, seeded())
    assert torch.allclose(matrices @ matrices.transpose(1, 2), torch.eye(3).expand(4000, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(4000), atol=1e-4)
    assert matrices.mean(0).abs().max() < 0.04
    assert matrices.square().mean(0).sub(1 / 3).abs().max() < 0.03


def test_rotation_about_the_up_axis_reaches_all_angles_and_no_more():
    east = torch.tensor([[[1.0, 0, 0]]]).expand(3000, 1, 3)
    angle = viewed(RandomRotation(30), east)[:, 0]
    angle = torch.atan2(angle[:, 1], angle[:, 0]).rad2deg()
    assert angle.abs().max() <= 30.001
    assert angle.min() < -29 < 29 < angle.max()


def test_scaling(clouds):
    ratio = viewed(RandomScale((0.5, 2)), clouds) / clouds
    assert torch.allclose(ratio, ratio[:, :1, :1].expand_as(ratio), rtol=1e-4)
    assert 0.5 <= ratio.min() <= ratio.max() <= 2
    ratio = viewed(RandomScale((0.5, 2), per_axis=True), clouds) / clouds
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4)
    assert (ratio[:, 0].std(1) > 0.01).all()


def test_normals_stay_upright_when_a_surface_is_stretched():
    slope = torch.tensor([1.0, 1.0, 0.0]) / math.sqrt(2)
    along = torch.tensor([1.0, -1.0, 0.0])
    cloud = torch.cat([torch.stack([along, -along, torch.zeros(3)]), slope.expand(3, 3)], 1)[None]
    stretched = viewed(RandomScale((0.3, 3), per_axis=True), cloud, normals=True)[0]
    assert float((stretched[0, :3] - stretched[1, :3]) @ stretched[0, 3:]) == pytest.approx(0, abs=1e-6)


def test_translation_jitter_and_mirrors(clouds):
    shift = viewed(RandomTranslation(0.2), clouds) - clouds
    assert torch.allclose(shift, shift[:, :1].expand_as(shift), atol=1e-5)
    assert 0.01 < shift.abs().max() <= 0.2001
    far = viewed(RandomTranslation(0.5, of_extent=True), clouds) - clouds
    assert (far[:, 0].abs() <= 0.5 * (clouds.amax(1) - clouds.amin(1)) + 1e-5).all()
    noise = viewed(Jitter(0.1, 0.15), clouds) - clouds
    assert noise.abs().max() <= 0.1501
    assert float(noise.std()) == pytest.approx(0.09, abs=0.02)
    mirrored = viewed(RandomMirror(1), clouds)
    assert torch.allclose(mirrored, clouds * torch.tensor([-1.0, -1, 1]), atol=1e-6)
    assert torch.equal(viewed(RandomMirror(0), clouds), clouds)


@pytest.mark.parametrize("step", [RandomCrop((0.3, 0.3)), PointDropout(1), BoxCutout((0.5, 0.9))])
def test_parts_are_made_of_points_that_were_there(step, clouds):
    view = viewed(step, clouds)
    for old, new in zip(clouds.tolist(), view.tolist(), strict=True):
        kept = {tuple(point) for point in new}
        assert kept <= {tuple(point) for point in old}
        assert len(kept) < len(old)


def test_a_crop_keeps_the_nearest_to_one_of_the_points(clouds):
    view = viewed(RandomCrop((0.3, 0.3)), clouds)
    for old, new in zip(clouds, view, strict=True):
        kept = (old[:, None] == new[None]).all(2).any(1)
        assert int(kept.sum()) == 12
        spans = [(old - centre).norm(dim=1) for centre in old[kept]]
        assert any(span[kept].max() < span[~kept].min() for span in spans)
    assert torch.equal(viewed(RandomCrop((1, 1)), clouds), clouds)
    assert torch.equal(viewed(PointDropout(0), clouds), clouds)


def test_what_is_dropped_is_filled_evenly(clouds):
    keep = torch.zeros(5, 40, dtype=torch.bool)
    keep[:, 7:19] = True
    keep[4] = False
    filled = keep_only(clouds, keep)
    times = filled[0].unique(dim=0, return_counts=True)[1]
    assert len(times) == 12
    assert times.max() - times.min() <= 1
    assert torch.equal(filled[4], clouds[4])


def test_views_of_fewer_points_choose_without_repeating(clouds):
    view = View((), points=15)(clouds, generator=seeded())
    assert view.shape == (5, 15, 3)
    assert all(len(one.unique(dim=0)) == 15 for one in view)
    assert torch.equal(View((), points=99)(clouds, generator=seeded()), clouds)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: make_views("shape"), "no views called 'shape'; did you mean 'shapes'"),
        (lambda: make_views("shapes", jiter=1), "have no option 'jiter'; did you mean 'jitter'"),
        (lambda: make_views("shapes", count=0), "count must be a whole number"),
        (lambda: make_views("shapes", crop=(0.9, 0.1)), r"RandomCrop: share must be .* not \(0.9, 0.1\)"),
        (lambda: RandomRotation(200), r"degrees must lie in \[0, 180\]"),
        (lambda: RandomScale((0, 1)), "RandomScale: scale must be"),
        (lambda: Jitter(-1), "Jitter: sigma must lie"),
    ],
)
def test_wrong_options(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(4, 3), r"shape \(n, points, 3 or more\), but these have \(4, 3\)"),
        (torch.zeros(2, 5, 2), "3 or more"),
        (torch.zeros(2, 0, 3), "3 or more"),
        (torch.zeros(2, 5, 3, dtype=torch.int64), "must be floating"),
    ],
)
def test_wrong_inputs(inputs, message):
    with pytest.raises(DataError, match=message):
        make_views("shapes")(inputs, generator=seeded())
