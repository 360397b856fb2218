"""Fused views against the exact ones, which define what they approximate."""

from __future__ import annotations

import dataclasses
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import twofold.modalities.pixels.compose as compose
import twofold.modalities.pixels.fused as fused_views
from twofold.errors import DataError
from twofold.modalities.image.views import (
    PRESETS,
    Augmentation,
    CenterCrop,
    ColorJitter,
    Cutout,
    FusedView,
    GaussianBlur,
    GaussianNoise,
    MultiView,
    RandomFlip,
    RandomGrey,
    RandomResizedCrop,
    Solarize,
    View,
    make_views,
)
from twofold.modalities.pixels.colour import adjust_hue

CROP = (0.2, 1.0)
JITTER = ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
FUSED_PRESETS = [name for name in PRESETS if name.endswith("-fused")]
SIZES = [16, 24, 120]  # the last one goes through blocks of banded matrices


@pytest.fixture(autouse=True)
def without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products in float32 on every machine; tests of those in bfloat16 ask for them."""
    with_bf16(monkeypatch, False)


def with_bf16(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(fused_views, "has_native_bf16", lambda device: fast)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int = 8, channels: int = 3, size: int = 20, low: int = 0, high: int = 256) -> Tensor:
    """Smooth pictures, whose colours lie between the bounds."""
    coarse = torch.rand((n, channels, 4, 4), generator=seeded(9))
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return (low + smooth * (high - 1 - low)).round().to(torch.uint8)


def both(steps: tuple[Augmentation, ...], inputs: Tensor, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    crop = RandomResizedCrop(size, CROP)
    exact, fused = View(crop, steps), FusedView(crop, steps)
    return exact(inputs, generator=seeded(seed)), fused(inputs, generator=seeded(seed))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "steps",
    [
        (),
        (RandomFlip(),),
        (GaussianBlur((0.5, 2.0)),),
        (GaussianBlur((0.5, 2.0), p=1), RandomFlip(), GaussianBlur((0.5, 1.0), kernel_size=3)),
        (RandomGrey(0.5),),
        (ColorJitter(0.4, 0, 0, 0, p=0.7),),
        (ColorJitter(0, 0.4, 0, 0, p=0.7),),
        (ColorJitter(0, 0, 0.4, 0, p=0.7),),
        (ColorJitter(0.2, 0.3, 0.3, 0), RandomGrey(0.3), GaussianBlur((0.5, 2.0)), RandomFlip()),
        (RandomGrey(0.3), ColorJitter(0.2, 0.3, 0.3, 0), ColorJitter(0.1, 0.3, 0, 0)),
    ],
    ids=lambda steps: "-".join(type(step).__name__ for step in steps) or "crop",
)
def test_without_cuts_and_hue_it_is_the_exact_view(steps: tuple[Augmentation, ...], size: int) -> None:
    # Middling colours: no operation of these strengths leaves [0, 1], so nothing is cut on the way.
    exact, fused = both(steps, pictures(8, 3, size, low=80, high=150), size)
    torch.testing.assert_close(fused, exact, rtol=0, atol=2e-5)
    assert exact.std() > 0.01


@pytest.mark.parametrize("size", SIZES)
def test_cuts_of_one_operation_come_out_alike(size: int) -> None:
    exact, fused = both((ColorJitter(0.9, 0, 0, 0, p=1),), pictures(8, 3, size), size)
    assert (exact == 1).float().mean() > 0.01, "nothing was cut"
    torch.testing.assert_close(fused, exact, rtol=0, atol=2e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_comes_after_is_applied_in_order(channels: int) -> None:
    steps = (GaussianBlur((0.5, 2.0)), Solarize(0.45, p=0.5), RandomGrey(0.5), Cutout(p=0.5), GaussianNoise(p=0.5))
    view = FusedView(RandomResizedCrop(16, CROP), steps)
    assert view.fused == 1
    exact, fused = both(steps, pictures(16, channels), 16)
    # A pixel within rounding of the solarisation's threshold may fall on either side.
    assert ((fused - exact).abs() > 1e-5).float().mean() < 1e-3


def test_grey_pictures_have_no_colours_to_mix() -> None:
    exact, fused = both((ColorJitter(0.2, 0.3, 0.4, 0.2, p=1), RandomGrey(1)), pictures(8, 1, low=80, high=150), 16)
    torch.testing.assert_close(fused, exact, rtol=0, atol=1e-5)


def test_a_hue_of_thirds_is_exact() -> None:
    colours = torch.rand((3, 3, 5, 5), generator=seeded())
    turns = torch.tensor([1 / 3, -1 / 3, 0.0])
    view = FusedView(CenterCrop(5), (ColorJitter(0, 0, 0, 0.5, p=1),))
    drawn = view.draw(colours, generator=seeded())
    turned = view.apply(colours, (drawn[0], {**drawn[1], "hue": turns}))
    torch.testing.assert_close(turned, adjust_hue(colours, turns), rtol=0, atol=1e-5)


def test_a_small_hue_goes_the_right_way() -> None:
    colours = pictures(32).float() / 255
    turns = torch.full((32,), 0.1)
    view = FusedView(CenterCrop(20), (ColorJitter(0, 0, 0, 0.5, p=1),))
    drawn = view.draw(colours, generator=seeded())
    wanted = adjust_hue(colours, turns)
    turned, back = (view.apply(colours, (drawn[0], {**drawn[1], "hue": turn})) for turn in (turns, -turns))
    error = (turned - wanted).abs().mean()
    assert error < 0.8 * (colours - wanted).abs().mean()
    assert error < 0.5 * (back - wanted).abs().mean()


@pytest.mark.parametrize("name", FUSED_PRESETS)
def test_presets_draw_the_same_and_differ_little(name: str) -> None:
    exact, fused = (make_views(each, size=40) for each in (name.removesuffix("-fused"), name))
    inputs, aspect = pictures(12, size=48), torch.linspace(0.6, 1.8, 12)
    assert all(type(view) is FusedView for view in fused.views)
    assert not any(type(view) is FusedView for view in exact.views)
    for one, other in zip(exact.views, fused.views, strict=True):
        draws = [view.draw(inputs, generator=seeded(3), aspect=aspect) for view in (one, other)]
        for ours, theirs in zip(*draws, strict=True):
            assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    pairs = zip(*(views(inputs, generator=seeded(3), aspect=aspect) for views in (exact, fused)), strict=True)
    differences = torch.stack([(a - b).abs().mean() for a, b in pairs])
    assert differences.mean() < (0.08 if name in ("simclr-strong-fused", "multi-crop-fused") else 0.03)


@pytest.mark.parametrize("size", SIZES)
def test_pieces_bytes_and_floats_make_no_difference(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    views, inputs = make_views("byol-fused", size=size, blur_p=(0.5, 0.5), solarize_p=(0, 0)), pictures(7, size=size)
    whole = views(inputs, generator=seeded())
    floats = views(inputs.double() / 255, generator=seeded())
    monkeypatch.setattr(compose, "PIXELS_AT_ONCE", 2 * size * size)
    parts = views(inputs, generator=seeded())
    for a, b, c in zip(whole, parts, floats, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
        torch.testing.assert_close(a, c, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_views_made_at_once_are_those_made_one_after_the_other(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (JITTER, RandomGrey(), GaussianBlur(), Solarize(0.45, p=0.5), GaussianNoise(p=0.5))
    view, other = FusedView(RandomResizedCrop(size, CROP), steps), FusedView(RandomResizedCrop(size, CROP), steps[:3])
    inputs, generator = pictures(7, size=size), seeded()
    alone = [each(inputs, generator=generator) for each in (view, view, view, other)]
    together = MultiView((view, view, view, other))
    for at_once in (2**19, 2 * 3 * size * size):  # all pictures, and two
        monkeypatch.setattr(compose, "PIXELS_AT_ONCE", at_once)
        for one, made in zip(alone, together(inputs, generator=seeded()), strict=True):
            assert ((one - made).abs() > 1e-5).float().mean() < 1e-3  # but for pixels at the solarisation's threshold


@pytest.mark.parametrize("blur_p", [(0.5, 0.5), (0, 0)])
def test_memory_that_is_used_again_keeps_nothing_of_what_was_there(blur_p, monkeypatch: pytest.MonkeyPatch) -> None:
    views, inputs = make_views("byol-fused", size=24, blur_p=blur_p), pictures(8, size=40)
    whole = views(inputs, generator=seeded())
    monkeypatch.setattr(fused_views, "NUMBERS_AT_ONCE", 1)
    monkeypatch.setattr(fused_views, "FEWEST_AT_ONCE", 3)
    for a, b in zip(whole, views(inputs, generator=seeded()), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    source=st.integers(1, 40),
    size=st.integers(2, 40),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 2**31),
    order=st.permutations([JITTER, RandomGrey(), GaussianBlur(kernel_size=3), RandomFlip()]),
)
def test_any_order_and_size_stays_near(
    source: int, size: int, channels: int, seed: int, order: list[Augmentation]
) -> None:
    exact, fused = both(tuple(order), pictures(3, channels, source), size, seed)
    assert fused.is_contiguous()
    assert fused.min() >= 0
    assert fused.max() <= 1
    assert (fused - exact).abs().mean() < 0.15


def test_the_inputs_stay_as_they_are() -> None:
    inputs = pictures().float() / 255
    kept = inputs.clone()
    FusedView(RandomResizedCrop(16, CROP), (JITTER, RandomGrey(), GaussianBlur()))(inputs, generator=seeded())
    assert torch.equal(inputs, kept)


def test_other_devices_take_the_whole_products() -> None:
    view = FusedView(RandomResizedCrop(120, CROP), (JITTER, RandomGrey(), GaussianBlur(), RandomFlip()))
    inputs = pictures(4, size=120).to("meta")
    drawn = view.draw(inputs, generator=seeded())
    assert view.apply(inputs[:1], tuple(pick(values) for values in drawn)).device.type == "meta"


def test_colours_of_four_channels_are_refused() -> None:
    view = FusedView(RandomResizedCrop(8), (RandomGrey(1),))
    with pytest.raises(DataError, match="1 or 3 channels, but these have 4"):
        view(pictures(2, 4), generator=seeded())


def test_it_is_a_view_like_others() -> None:
    views = make_views("simclr-fused", size=36, grey_p=0.3)
    assert pickle.loads(pickle.dumps(views)) == views  # noqa: S301  (our own bytes)
    assert dataclasses.replace(views.views[0], augmentations=()).fused == 0
    assert views.views[0] != make_views("simclr", size=36, grey_p=0.3).views[0]


def pick(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value[:1] for name, value in values.items()}


@pytest.mark.parametrize("source", [100, 120, 200])
def test_products_in_bfloat16_are_as_close_as_bytes_allow(source: int, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8), RandomGrey(0.2), GaussianBlur((0.1, 2.0)))
    view, inputs = FusedView(RandomResizedCrop(144, CROP), steps), pictures(16, size=source)
    exact = view(inputs, generator=seeded())
    with_bf16(monkeypatch, True)
    assert fused_views.products_in(inputs, 144) == torch.bfloat16
    rough = view(inputs, generator=seeded())
    error = (rough - exact).abs()
    assert 0 < error.mean() < 0.5 / 255
    assert error.max() < 5 / 255
    assert torch.equal(rough, view(inputs, generator=seeded()))


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        (pictures(2, size=32), 32),  # small: calls count, not products
        (pictures(2, size=300), 120),  # mostly outside of the crop
        (pictures(2, size=144).float() / 255, 144),  # no bytes: bfloat16 would round them
    ],
    ids=["small", "much larger", "floats"],
)
def test_others_are_multiplied_in_float32(inputs: Tensor, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with_bf16(monkeypatch, True)
    assert fused_views.products_in(inputs, size) == torch.float32
