"""Clouds as a modality: descriptors, previews, and recipes that learn from them through the usual interface."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

import twofold
from twofold import modalities
from twofold.errors import ConfigError, DataError
from twofold.modalities.points import MODALITY
from twofold.modalities.points.descriptors import d2_histogram, place_moments, shape_descriptor
from twofold.modalities.points.previews import pixels
from twofold.modalities.points.views.moves import random_rotations

QUICK = {"epochs": 12, "batch_size": 32, "lr": 3e-3, "precision": "float32", "workers": 0, "device": "cpu"}


def test_it_is_found_by_name_and_has_all_that_a_modality_has():
    assert modalities.get("points") is MODALITY
    members = {n for n in vars(modalities.Modality) | modalities.Modality.__annotations__ if not n.startswith("_")}
    assert len(members) > 8
    assert [name for name in members if not hasattr(MODALITY, name)] == []


def test_d2_does_not_see_rotations_and_is_a_distribution(clouds):
    places = clouds / clouds.norm(dim=2).amax(1)[:, None, None]
    histogram = d2_histogram(places)
    turned = places @ random_rotations(5, torch.Generator().manual_seed(3))
    assert torch.allclose(histogram.sum(1), torch.ones(5))
    assert (d2_histogram(turned) - histogram).abs().sum(1).max() < 0.01  # but for pairs at the very edge of a bin
    assert (histogram[0] - histogram[1]).abs().sum() > 0.05


def test_d2_of_a_ball_is_that_of_geometry():
    draw = torch.Generator().manual_seed(0)
    sphere = torch.nn.functional.normalize(torch.randn(1, 4000, 3, generator=draw), dim=2)
    histogram = d2_histogram(sphere, bins=4, pairs=40_000)[0]  # the density of distances r on a sphere is r / 2
    assert torch.allclose(histogram, torch.tensor([1.0, 3, 5, 7]) / 16, atol=0.02)


def test_moments_know_the_axes_that_matter(clouds):
    centred = clouds - clouds.mean(1, keepdim=True)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert torch.allclose(place_moments(centred @ quarter), place_moments(centred), atol=1e-5)
    fallen = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    assert not torch.allclose(place_moments(centred @ fallen), place_moments(centred), atol=1e-2)


def test_descriptors_do_not_see_size_and_place_and_use_all_columns(clouds):
    features = shape_descriptor(clouds)
    assert torch.allclose(shape_descriptor(clouds * 7 + 3)[:, 64:], features[:, 64:], atol=1e-3)
    wide = torch.cat([clouds, clouds], 2)
    assert shape_descriptor(wide).shape[1] == features.shape[1] + 6
    assert torch.isfinite(shape_descriptor(torch.zeros(2, 9, 3))).all()
    flipped = torch.cat([clouds, -clouds], 2)
    assert torch.allclose(shape_descriptor(wide, normals=True), shape_descriptor(flipped, normals=True))


def test_previews_are_small_pictures(clouds):
    dataset = MODALITY.read(clouds)
    first, second = MODALITY.previews(dataset, torch.tensor([3, 0]))
    picture = Image.open(io.BytesIO(first))
    assert (picture.format, picture.size) == ("WEBP", (96, 96))
    assert first != second
    near = pixels(np.array([[0.0, -1, 0], [0, 1, 0], [0, 0, 0]]))
    colours = {tuple(c) for c in near.reshape(-1, 3).tolist()}
    assert len(colours) == 4  # white, and three depths


def test_what_does_not_fit_is_refused(clouds):
    dataset, spec = MODALITY.read(clouds), MODALITY.read(clouds).spec
    MODALITY.check_fits(dataset, spec)
    with pytest.raises(DataError, match="with channels 6, the data 3; with normals True, the data False"):
        MODALITY.check_fits(dataset, spec | {"channels": 6, "normals": True})
    dataset.spec["modality"] = "image"
    with pytest.raises(DataError, match="clouds of points, the data is 'image'"):
        MODALITY.check_fits(dataset, spec)


def test_views_by_preference(clouds):
    spec = MODALITY.read(clouds).spec
    assert MODALITY.choose_views(spec, preferred="multi-crop") == "shapes"
    assert len(MODALITY.make_views(None, spec, preferred="simclr", count=4)(clouds, generator=torch.Generator())) == 4
    with pytest.raises(ConfigError, match="no views called 'simclr'"):
        MODALITY.make_views("simclr", spec, preferred="simclr", count=2)


@pytest.mark.parametrize("name", ["byol", "vicreg", "swav"])
def test_recipes_of_other_modalities_run(name, generated_shapes):
    small = {"byol": {"hidden_dim": 32, "projection_dim": 16}, "vicreg": {"projection_dim": 32, "hidden_dim": 32}}
    swav = {"prototypes": 8, "hidden_dim": 32, "projection_dim": 16, "view_count": 3, "queue_size": 0}
    options = small.get(name, swav)
    model = twofold.recipe(name)(modality="points", encoder="pointnet-w4", **options)
    model.fit(generated_shapes(16, 0)[0], points=64, **(QUICK | {"epochs": 1, "batch_size": 8}))
    assert torch.isfinite(model.embed(generated_shapes(8, 1)[0])).all()


def test_simclr_beats_the_untrained_encoder_and_is_saved_whole(generated_shapes, tmp_path):
    train, test = generated_shapes(192, 0), generated_shapes(128, 1)
    model = twofold.SimCLR(modality="points", encoder="pointnet-w8", temperature=0.2)
    model.fit(train, out=tmp_path / "run", points=96, seed=1, **QUICK)
    report = model.evaluate(train, test=test, metrics=("knn",))
    values = {row.name: row.metrics["knn"].value for row in report.rows}
    assert values["trained"] > values["untrained"] + 0.03, values
    assert values["trained"] > 0.8
    loaded = twofold.load(tmp_path / "run")
    assert torch.equal(loaded.embed(test[0]), model.embed(test[0]))
    assert loaded.embed(test[0][:, :70]).shape == (128, 128)
