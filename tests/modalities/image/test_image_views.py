"""Views of pictures: what any view must keep to, whatever torchvision does."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import twofold.modalities.pixels.compose as compose
from twofold.modalities.image.views import (
    PRESETS,
    Augmentation,
    CenterCrop,
    ColorJitter,
    Cutout,
    GaussianBlur,
    GaussianNoise,
    RandomAffine,
    RandomFlip,
    RandomGrey,
    RandomResizedCrop,
    Solarize,
    View,
    center_view,
    make_views,
)
from twofold.modalities.pixels.filters import blur_matrix

STEPS: list[Augmentation] = [
    RandomFlip(p=0.5),
    RandomAffine(15, 0.125, (0.9, 1.1), p=0.5),
    ColorJitter(p=0.5),
    RandomGrey(p=0.5),
    Solarize(p=0.5),
    GaussianBlur(sigma=(0.5, 2.0), p=0.5),  # below 0.2 a kernel is one pixel wide and changes nothing
    GaussianNoise(p=0.5),
    Cutout(p=0.5),
]
each_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 6, channels: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (n, channels, size, size), generator=seeded(seed), dtype=torch.uint8)


def disc(height: int, width: int) -> Tensor:
    """A black picture (1, 1, height, width) with a white disc in the middle, of 0.35 times the shorter side."""
    y = torch.arange(height).view(-1, 1) - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    return ((y**2 + x**2).sqrt() < 0.35 * min(height, width)).float()[None, None]


def extent(image: Tensor) -> tuple[float, float]:
    """Width and height of a bright shape (h, w): bright pixels in the middle row and in the middle column."""
    return image[image.shape[0] // 2].sum().item(), image[:, image.shape[1] // 2].sum().item()


# --- every view ---


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3), (40, 3), (40, 1)])
def test_presets_keep_the_contract(name: str, size: int, channels: int) -> None:
    views = make_views(name, size=size, channels=channels)
    inputs = pictures(5, channels, 20)
    made = views(inputs, generator=seeded(), aspect=torch.tensor([1.0, 2.0, 0.5, 3.0, 1.3]))
    assert [view.shape for view in made] == [(5, channels, side, side) for side in views.sizes]
    for view in made:
        assert view.dtype == torch.float32
        assert view.is_contiguous()
        assert view.min() >= 0
        assert view.max() <= 1
    assert not torch.equal(made[0], made[1])


@pytest.mark.parametrize("name", PRESETS)
def test_the_seed_decides(name: str) -> None:
    views, inputs = make_views(name, size=36), pictures()
    once, again = (views(inputs, generator=seeded(5)) for _ in range(2))
    other = views(inputs, generator=seeded(6))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(once, other, strict=True))


@pytest.mark.parametrize("name", PRESETS)
def test_samples_of_a_batch_are_changed_differently(name: str) -> None:
    views = make_views(name, size=24)
    same = pictures(1, size=24).expand(12, -1, -1, -1)
    for view in views(same, generator=seeded()):
        assert len(view.flatten(1).unique(dim=0)) == 12


@pytest.mark.parametrize("name", PRESETS)
def test_bytes_and_floats_give_the_same_view(name: str) -> None:
    views, inputs = make_views(name, size=24), pictures()
    from_bytes = views(inputs, generator=seeded())
    from_floats = views(inputs.double() / 255, generator=seeded())
    for a, b in zip(from_bytes, from_floats, strict=True):
        # A pixel within rounding of the solarisation's threshold may fall on either side.
        assert ((a - b).abs() > 1e-5).float().mean() < 1e-3


@pytest.mark.parametrize("name", PRESETS)
def test_pieces_do_not_change_the_view(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    views, inputs = make_views(name, size=20), pictures(7)
    aspect = torch.linspace(0.5, 2, 7)
    whole = views(inputs, generator=seeded(), aspect=aspect)
    monkeypatch.setattr(compose, "PIXELS_AT_ONCE", 2 * 20 * 20)
    parts = views(inputs, generator=seeded(), aspect=aspect)
    for a, b in zip(whole, parts, strict=True):
        assert ((a - b).abs() > 1e-5).float().mean() < 1e-3


def test_threads_do_not_change_the_view() -> None:
    views, inputs, threads = make_views("byol", size=40), pictures(40), torch.get_num_threads()
    made = []
    for count in (1, 2):
        torch.set_num_threads(count)
        made.append(views(inputs, generator=seeded()))
    torch.set_num_threads(threads)
    for a, b in zip(*made, strict=True):
        assert ((a - b).abs() > 1e-5).float().mean() < 1e-3


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(PRESETS)),
    n=st.integers(1, 4),
    source=st.integers(1, 40),
    size=st.integers(2, 40),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**31),
)
def test_any_size_works(name: str, n: int, source: int, size: int, channels: int, seed: int) -> None:
    views = make_views(name, size=size, channels=channels, count=3)
    aspect = torch.rand(n, generator=seeded(seed)) * 5 + 0.1
    for view in views(pictures(n, channels, source, seed), generator=seeded(seed), aspect=aspect):
        assert view.shape[:2] == (n, channels)
        assert torch.isfinite(view).all()
        assert view.min() >= 0
        assert view.max() <= 1


def test_without_chance_a_view_is_the_resized_picture() -> None:
    still = View(
        RandomResizedCrop(16, scale=(1, 1), ratio=(1, 1), flip=0),
        (ColorJitter(p=0), RandomGrey(p=0), GaussianBlur(p=0), Solarize(p=0), Cutout(p=0), GaussianNoise(p=0)),
    )
    inputs = pictures()
    torch.testing.assert_close(still(inputs, generator=seeded()), inputs.float() / 255, rtol=0, atol=1e-6)
    small = View(RandomResizedCrop(8, scale=(1, 1), ratio=(1, 1), flip=0))(inputs, generator=seeded())
    expected = torch.nn.functional.interpolate(inputs.float() / 255, size=8, mode="bilinear", antialias=True)
    torch.testing.assert_close(small, expected, rtol=0, atol=1e-6)


def test_one_probability_does_not_disturb_the_other_draws() -> None:
    views = [make_views("simclr", size=40, grey_p=p).views[0] for p in (0.1, 0.9)]
    drawn = [view.draw(pictures(), generator=seeded()) for view in views]
    assert torch.equal(drawn[0][0]["box"], drawn[1][0]["box"])
    assert torch.equal(drawn[0][3]["sigma"], drawn[1][3]["sigma"])


def test_views_survive_pickling() -> None:
    views = make_views("byol", size=36)
    copied = pickle.loads(pickle.dumps(views))  # noqa: S301  (our own bytes)
    assert copied == views


# --- crops ---


def test_flip_mirrors_the_crop() -> None:
    inputs = pictures(100)
    crop = RandomResizedCrop(12, flip=0.3)
    drawn = crop.draw(100, 16, seeded(1))
    plain, mirrored = (crop.apply(inputs, {**drawn, "flip": torch.full((100,), flip)}) for flip in (False, True))
    torch.testing.assert_close(mirrored, plain.flip(3), rtol=0, atol=1e-6)
    mixed = crop.apply(inputs, drawn)
    assert 15 < int(drawn["flip"].sum()) < 45
    torch.testing.assert_close(mixed, torch.where(drawn["flip"].view(-1, 1, 1, 1), mirrored, plain))


@pytest.mark.parametrize(("height", "width"), [(80, 160), (150, 60), (96, 96)])
def test_a_squashed_disc_is_round_again(height: int, width: int) -> None:
    original = disc(height, width)
    squashed = torch.nn.functional.interpolate(original, size=(96, 96), mode="bilinear", antialias=True)
    view = center_view(squashed, size=64, aspect=torch.tensor([width / height]))[0, 0]
    across, down = extent(view)
    assert across == pytest.approx(0.7 * 64, abs=1)
    assert down == pytest.approx(0.7 * 64, abs=1)


def test_a_squashed_disc_is_round_in_random_square_crops() -> None:
    squashed = torch.nn.functional.interpolate(disc(120, 240), size=(128, 128), mode="bilinear", antialias=True)
    # Half the area of a 2:1 picture as a square is the largest square: the crop slides along the width.
    crop = RandomResizedCrop(64, scale=(0.5, 0.5), ratio=(1, 1), flip=0)
    drawn = crop.draw(50, 128, seeded(), aspect=torch.full((50,), 2.0))
    assert (drawn["box"][:, 2:] == torch.tensor([64.0, 128.0])).all()
    assert len(drawn["box"][:, 0].unique()) > 20
    middle = {**drawn, "box": torch.tensor([[32.0, 0, 64, 128]])}
    across, down = extent(crop.apply(squashed, {**middle, "flip": torch.tensor([False])})[0, 0])
    assert across == pytest.approx(down, abs=1)


def test_impossible_crops_fall_back_to_the_centre() -> None:
    aspect = torch.tensor([1.0, 8.0, 0.125])
    box = RandomResizedCrop(8, scale=(1, 1), ratio=(2, 2)).draw(3, 64, seeded(), aspect=aspect)["box"]
    assert box.tolist() == [[0, 16, 64, 32], [24, 0, 16, 64], [0, 30, 64, 4]]


@settings(max_examples=60, deadline=None)
@given(
    source=st.integers(1, 64),
    aspect=st.floats(0.02, 50),
    low=st.floats(0.01, 1),
    seed=st.integers(0, 2**31),
)
def test_boxes_stay_inside(source: int, aspect: float, low: float, seed: int) -> None:
    crop = RandomResizedCrop(8, scale=(low, 1))
    left, top, width, height = crop.draw(20, source, seeded(seed), aspect=torch.full((20,), aspect))["box"].unbind(1)
    assert (torch.stack([left, top]) >= 0).all()
    assert (torch.stack([width, height]) >= 1).all()
    assert (torch.stack([left + width, top + height]) <= source).all()


def test_center_view_is_the_middle_square() -> None:
    inputs = pictures(2, size=24)
    view = center_view(inputs, size=12, aspect=torch.tensor([2.0, 1.0]))
    floats = inputs.float() / 255
    wide = torch.nn.functional.interpolate(floats[:1, :, :, 6:18], size=(12, 12), mode="bilinear", antialias=True)
    square = torch.nn.functional.interpolate(floats[1:], size=12, mode="bilinear", antialias=True)
    torch.testing.assert_close(view, torch.cat([wide, square]), rtol=0, atol=1e-6)
    assert torch.equal(center_view(inputs, size=12), View(CenterCrop(12))(inputs, generator=seeded()))


# --- single steps ---


@each_step
def test_a_step_changes_the_chosen_samples_only(step: Augmentation) -> None:
    images = pictures(64).float() / 255
    kept = images.clone()
    chosen = step.draw((64, 3, 16, 16), seeded(2))["apply"]
    changed = step(images, seeded(2))
    assert torch.equal(images, kept), "the caller's pictures were overwritten"
    assert 10 < int(chosen.sum()) < 54
    assert torch.equal((changed != images).flatten(1).any(1), chosen)


@each_step
def test_a_step_gives_each_sample_what_it_gives_it_alone(step: Augmentation) -> None:
    images = pictures(12).float() / 255
    drawn = step.draw((12, 3, 16, 16), seeded(2))
    together = step.apply(images.clone(), drawn)
    alone = [
        step.apply(images[i : i + 1].clone(), {name: value[i : i + 1] for name, value in drawn.items()})
        for i in range(12)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-6)


@each_step
def test_a_step_at_probability_one_uses_every_sample(step: Augmentation) -> None:
    certain = type(step)(**{**vars(step), "p": 1.0})
    images = pictures(12).float() / 255
    assert (certain(images, seeded()) != images).flatten(1).any(1).all()
    drawn = certain.draw((12, 3, 16, 16), seeded())
    values = {name: value for name, value in drawn.items() if name != "apply"}
    assert torch.equal(certain.transform(images.clone(), values), certain.apply(images.clone(), drawn))


def test_grey_pictures_keep_out_of_colour() -> None:
    images = pictures(8, channels=1).float() / 255
    assert torch.equal(RandomGrey(p=1)(images, seeded()), images)
    assert torch.equal(ColorJitter(0, 0, 0.5, 0.3, p=1)(images, seeded()), images)
    assert not torch.equal(ColorJitter(0.4, 0, 0, 0, p=1)(images, seeded()), images)


def test_a_jitter_of_nothing_does_nothing() -> None:
    images = pictures().float() / 255
    assert torch.equal(ColorJitter(0, 0, 0, 0, p=1)(images, seeded()), images)


def test_a_full_turn_of_hue_is_none() -> None:
    jitter = ColorJitter(0, 0, 0, 0.5, p=1)
    images = pictures(4).float() / 255
    values = {"apply": torch.ones(4, dtype=torch.bool), "order": torch.zeros(4, 1, dtype=torch.int64)}
    for turn in (0.0, 1.0, -1.0):
        turned = jitter.apply(images.clone(), {**values, "hue": torch.full((4,), turn)})
        torch.testing.assert_close(turned, images, rtol=0, atol=2e-6)


def test_a_third_of_a_turn_moves_red_to_green() -> None:
    red = torch.tensor([0.8, 0.1, 0.1]).view(1, 3, 1, 1)
    values = {"order": torch.zeros(1, 1, dtype=torch.int64), "hue": torch.tensor([1 / 3])}
    turned = ColorJitter(0, 0, 0, 0.5, p=1).transform(red.clone(), values)
    torch.testing.assert_close(turned, torch.tensor([0.1, 0.8, 0.1]).view(1, 3, 1, 1))


@pytest.mark.parametrize(("size", "taps"), [(8, 3), (5, 9), (224, 23)])
def test_blur_matrices_keep_the_brightness_and_have_no_denormals(size: int, taps: int) -> None:
    matrix = blur_matrix(torch.linspace(0.1, 3, 30), size=size, kernel_size=taps)
    torch.testing.assert_close(matrix.sum(2), torch.ones(30, size), rtol=0, atol=1e-5)
    assert matrix[matrix > 0].min() >= 1e-9


def test_affine_moves_as_it_says() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 6] = 1  # two right of the middle
    step = RandomAffine(90, 0.5, (0.5, 2))

    def spot(degrees: float, shift: tuple[float, float], scale: float) -> list[int]:
        values = {
            "degrees": torch.tensor([degrees]),
            "shift": torch.tensor([shift]) / 9,
            "scale": torch.tensor([scale]),
        }
        return torch.nonzero(step.transform(image, values)[0, 0] > 0.5).tolist()[0]

    assert spot(0, (0, 0), 1) == [4, 6]
    assert spot(90, (0, 0), 1) == [6, 4]  # clockwise: right goes down
    assert spot(0, (1, -2), 1) == [2, 7]
    assert spot(0, (0, 0), 2)[1] == 8


def test_cutout_blanks_one_square() -> None:
    images = torch.ones(400, 2, 8, 8)
    blank = Cutout(0.25)(images, seeded()) == 0
    assert torch.equal(blank[:, 0], blank[:, 1])
    rows, columns = blank[:, 0].any(2), blank[:, 0].any(1)
    assert torch.equal(blank[:, 0], rows[:, :, None] & columns[:, None, :])
    sides = torch.stack([rows.sum(1), columns.sum(1)])
    assert set(sides.unique().tolist()) == {1, 2}  # 1 where the patch is half outside
    assert (sides == 2).float().mean() > 0.8
    assert blank.any(0).all(), "some pixels are never blanked"


def test_noise_has_the_deviation_asked_for() -> None:
    images = torch.full((50, 3, 16, 16), 0.5)
    noise = GaussianNoise(0.05)(images, seeded()) - images
    assert noise.std().item() == pytest.approx(0.05, rel=0.02)
    assert abs(noise.mean().item()) < 0.001


# --- presets ---


def test_more_views_repeat_the_preset() -> None:
    assert make_views("byol", size=64, count=5).views == make_views("byol", size=64, count=2).views * 2 + (
        make_views("byol", size=64).views[0],
    )
    assert len(make_views("simclr", size=32, count=4)) == 4


def test_blur_is_for_large_pictures() -> None:
    def blurs(size: int, **options: Any) -> bool:
        return any(
            isinstance(step, GaussianBlur) for step in make_views("simclr", size=size, **options).views[0].augmentations
        )

    assert not blurs(32)
    assert blurs(33)
    assert blurs(32, blur_p=0.5)
    first, second = make_views("byol", size=224).views
    assert [step.p for view in (first, second) for step in view.augmentations if isinstance(step, GaussianBlur)] == [
        1,
        0.1,
    ]
    assert [any(isinstance(step, Solarize) for step in view.augmentations) for view in (first, second)] == [False, True]


def test_multi_crop_has_large_and_small_views() -> None:
    assert make_views("multi-crop", size=224).sizes == [224] * 2 + [96] * 6
    assert make_views("multi-crop", size=32, local_count=3, local_size=16).sizes == [32, 32, 16, 16, 16]


# --- bad input ---
