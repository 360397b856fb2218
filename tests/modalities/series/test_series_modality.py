"""Series as a modality: descriptors, previews, and recipes that learn from them through the usual interface."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

import twofold
from twofold import modalities
from twofold.errors import ConfigError, DataError
from twofold.modalities.series import MODALITY
from twofold.modalities.series.descriptors import series_descriptor, spectral_bands
from twofold.modalities.series.previews import lines

QUICK = {"epochs": 12, "batch_size": 32, "lr": 3e-3, "precision": "float32", "workers": 0, "device": "cpu"}


def motions(n=96, seed=0, t=40):
    """Three kinds of motion, at any phase, speed and strength, in noise: to and fro, circles one way and the other."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    speed, strength = draw.uniform(0.2, 0.6, (n, 1)), draw.uniform(0.5, 3, (n, 1))
    time = np.arange(t) * speed + draw.uniform(0, 6.3, (n, 1))
    second = np.sin(time + (labels * 2 * np.pi / 3)[:, None])
    waves = np.stack([strength * np.sin(time), strength * second, draw.normal(size=(n, 1)) * np.ones(t)], axis=2)
    return (waves + 0.5 * draw.normal(size=waves.shape)).astype(np.float32), labels


def test_it_is_found_by_name_and_has_all_that_a_modality_has():
    assert modalities.get("series") is MODALITY
    members = {n for n in vars(modalities.Modality) | modalities.Modality.__annotations__ if not n.startswith("_")}
    assert len(members) > 8
    assert [name for name in members if not hasattr(MODALITY, name)] == []


def test_descriptors_hold_what_they_say():
    x = torch.from_numpy(motions()[0])
    features = series_descriptor(x)
    assert features.shape == (96, 3 * 14)
    torch.testing.assert_close(features[:, :3], x.mean(1))
    torch.testing.assert_close(features[:, 3:6], x.std(1, correction=0))
    torch.testing.assert_close(features[:, 6:9], x.quantile(0.05, dim=1))
    torch.testing.assert_close(features[:, 21:24], x.diff(dim=1).abs().mean(1))
    assert torch.isfinite(series_descriptor(torch.zeros(2, 1, 3))).all()


def test_bands_follow_the_frequency():
    time = torch.arange(256) / 256
    tones = torch.stack([torch.sin(2 * math.pi * k * time) for k in (1, 3, 10, 40, 120)])[:, :, None]
    strongest = spectral_bands(tones)[:, :, 0].argmax(1).tolist()
    assert strongest == sorted(strongest)
    assert len(set(strongest)) == 5
    shifted = spectral_bands(tones + 7)
    torch.testing.assert_close(shifted, spectral_bands(tones), atol=0.2, rtol=1e-2)


def test_previews_are_small_pictures():
    dataset = MODALITY.read(motions())
    first, second = MODALITY.previews(dataset, torch.tensor([2, 0]))
    picture = Image.open(io.BytesIO(first))
    assert (picture.format, picture.size) == ("WEBP", (128, 96))
    assert first != second
    body = MODALITY.read(motions()[0].repeat(2, axis=2), skeleton="3")
    assert Image.open(io.BytesIO(MODALITY.previews(body, torch.tensor([0]))[0])).size == (128, 96)
    drawn = lines(np.array([[0.0, 1], [2, 1]]), (128, 96))
    assert drawn.shape == (2, 2, 2)
    assert drawn[0, 0].tolist() == [4, 91]  # the smallest value at the lower left
    assert drawn[0, 1].tolist() == [123, 4]
    assert np.isfinite(lines(np.ones((1, 2)), (128, 96))).all()


def test_what_does_not_fit_is_refused():
    dataset, spec = MODALITY.read(motions()), MODALITY.read(motions()).spec
    MODALITY.check_fits(dataset, spec)
    with pytest.raises(DataError, match="with channels 6, the data 3; with normalize each, the data none"):
        MODALITY.check_fits(dataset, spec | {"channels": 6, "normalize": "each"})
    dataset.spec["modality"] = "image"
    with pytest.raises(DataError, match="trained on series, the data is 'image'"):
        MODALITY.check_fits(dataset, spec)


def test_views_by_preference():
    spec = MODALITY.read(motions()).spec
    body = MODALITY.read(motions()[0].repeat(2, axis=2), skeleton="3").spec
    assert MODALITY.choose_views(spec, preferred="simclr") == "sensors"
    assert MODALITY.choose_views(body, preferred="simclr") == "skeleton"
    assert MODALITY.choose_views(body, preferred="ts2vec") == "ts2vec"
    with pytest.raises(ConfigError, match="no task 'sts' for series"):
        MODALITY.task(motions(), spec, name="sts")
    assert MODALITY.task(motions(), spec) is None


@pytest.mark.parametrize("name", ["byol", "vicreg", "dcl"])
@pytest.mark.parametrize("encoder", ["bigru-w8", "conv-transformer-w16-d1"])
def test_recipes_of_other_modalities_run(name, encoder):
    small = {"byol": {"hidden_dim": 32, "projection_dim": 16}, "vicreg": {"projection_dim": 32, "hidden_dim": 32}}
    model = twofold.recipe(name)(modality="series", encoder=encoder, **small.get(name, {}))
    model.fit(motions(32)[0], **(QUICK | {"epochs": 1, "batch_size": 8}))
    assert torch.isfinite(model.embed(motions(8, 1)[0])).all()


def test_every_kind_of_views_trains_a_modality_free_recipe():
    model = twofold.SimCLR(modality="series", encoder="convnet1d-w4", views="ts2vec")
    model.fit(motions(32)[0], **(QUICK | {"epochs": 1, "batch_size": 8, "micro_batch": 4}))
    assert torch.isfinite(model.embed(motions(8, 1)[0])).all()


def test_simclr_beats_the_untrained_encoder_and_is_saved_whole(tmp_path):
    train, test = motions(192, 0), motions(120, 1)
    model = twofold.SimCLR(modality="series", encoder="convnet1d-w8", temperature=0.2)
    model.fit(train, out=tmp_path / "run", seed=1, **QUICK)
    report = model.evaluate(train, test=test, metrics=("knn",))
    values = {row.name: row.metrics["knn"].value for row in report.rows}
    assert values["trained"] > values["untrained"] + 0.03, values
    assert values["trained"] > 0.8
    loaded = twofold.load(tmp_path / "run")
    assert torch.equal(loaded.embed(test[0]), model.embed(test[0]))
    assert loaded.embed(test[0][:, :25]).shape == (120, 32)  # brought to the length of training


def test_a_recipe_that_was_trained_on_windows_embeds_windows():
    long = [motions(1, seed, t=100)[0][0] for seed in range(6)]
    model = twofold.SimCLR(modality="series", encoder="convnet1d-w4")
    model.fit(long, window=25, **(QUICK | {"epochs": 1, "batch_size": 8}))
    assert model.embed(long[:2]).shape == (8, 16)


def test_groups_that_were_left_out_measure_the_rest():
    series, labels = motions(90)
    dataset = MODALITY.read({"series": series, "labels": labels, "groups": np.arange(90) // 30})
    train, test = dataset.leave_out(2)
    model = twofold.SimCLR(modality="series", encoder="convnet1d-w4")
    model.fit(train, **(QUICK | {"epochs": 1}))
    report = model.evaluate(train, test=test, metrics=("knn",))
    assert [row.metrics["knn"].n for row in report.rows] == [30] * 3
