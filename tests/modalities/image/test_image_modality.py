"""Images as a modality: what recipes and apps ask of any kind of data."""

from __future__ import annotations

import inspect
import io

import pytest
import torch
from PIL import Image

from twofold import modalities
from twofold.errors import ConfigError, DataError
from twofold.modalities.image import GLOBAL_VIEWS, MODALITY, as_channels, data
from twofold.modalities.image.data import ImageArrays

SPEC = {"modality": "image", "channels": 3, "size": 32, "mean": [0.5] * 3, "std": [0.2] * 3, "samples": 4}
SMALL = SPEC | {"size": 8, "channels": 1, "mean": [0.5], "std": [0.2]}


@pytest.fixture
def pictures():
    draw = torch.Generator().manual_seed(0)
    return ImageArrays(torch.randint(256, (4, 3, 32, 32), generator=draw, dtype=torch.uint8))


def test_it_is_found_by_name_and_has_all_that_a_modality_has():
    assert modalities.get("image") is MODALITY
    members = {n for n in vars(modalities.Modality) | modalities.Modality.__annotations__ if not n.startswith("_")}
    assert len(members) > 8
    assert [name for name in members if not hasattr(MODALITY, name)] == []
    with pytest.raises(ConfigError, match="There is no modality 'images'; did you mean 'image'"):
        modalities.get("images")


def test_its_reader_takes_what_the_reader_takes():
    ours, theirs = (inspect.signature(read).parameters for read in (MODALITY.read, data.read))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


@pytest.mark.parametrize(("preferred", "count"), [("simclr", 2), ("moco-v2", 3), ("byol", 2), ("multi-crop", 5)])
def test_views_by_preference(preferred, count, pictures):
    views = MODALITY.make_views(None, SPEC, preferred=preferred, count=count)
    made = views(pictures.images, generator=torch.Generator().manual_seed(1))
    assert len(made) == count
    sizes = [view.shape[-1] for view in made]
    assert sizes[:GLOBAL_VIEWS] == [32, 32]
    assert all((size < 32) == (preferred == "multi-crop") for size in sizes[GLOBAL_VIEWS:])
    assert all(float(view.min()) >= 0 and float(view.max()) <= 1 for view in made)


def test_characters_get_views_of_their_own_unless_others_are_named():
    assert MODALITY.choose_views(SMALL, preferred="multi-crop") == "digits"
    assert MODALITY.choose_views(SPEC, preferred="multi-crop") == "multi-crop"
    inputs = torch.randint(256, (3, 1, 8, 8), dtype=torch.uint8)

    def first(name):
        views = MODALITY.make_views(name, SMALL, preferred="simclr", count=2)
        return views(inputs, generator=torch.Generator().manual_seed(1))[0]

    assert torch.equal(first(None), first("digits"))
    assert not torch.equal(first(None), first("simclr"))
    with pytest.raises(ConfigError, match="simclrr"):
        MODALITY.make_views("simclrr", SPEC, preferred="simclr", count=2)


def test_prepared_pictures_have_the_size_and_channels_of_training(pictures):
    batch = pictures.fetch(torch.arange(4))
    same = MODALITY.prepare(batch, SPEC)
    assert torch.allclose(same, pictures.images.float() / 255)
    grey = MODALITY.prepare(batch, SMALL)
    assert grey.shape == (4, 1, 8, 8)
    colour = MODALITY.prepare({"inputs": batch["inputs"][:, :1]}, SPEC)
    assert torch.equal(colour[:, 0], colour[:, 2])
    assert as_channels(same, 3) is same


def test_raw_features_are_pixels_of_at_most_a_moderate_size(pictures):
    batch = pictures.fetch(torch.arange(4))
    assert MODALITY.raw_features(batch, SPEC).shape == (4, 3 * 32 * 32)
    assert MODALITY.raw_features(batch, SPEC | {"size": 224}).shape == (4, 3 * 32 * 32)
    assert MODALITY.raw_features(batch, SMALL).shape == (4, 64)


def test_what_fits(pictures):
    MODALITY.check_fits(pictures, SPEC)
    MODALITY.check_fits(pictures, SMALL)
    pictures.spec = pictures.spec | {"modality": "text"}
    with pytest.raises(DataError, match="trained on images, the data is 'text'"):
        MODALITY.check_fits(pictures, SPEC)
    assert MODALITY.reading_for(SPEC) == {"size": 32}


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (3, 200), (4, 16)])
def test_previews_are_small_pictures(channels, size):
    dataset = ImageArrays(torch.randint(256, (3, channels, size, size), dtype=torch.uint8))
    made = MODALITY.previews(dataset, torch.tensor([2, 0]))
    assert len(made) == 2
    for preview in made:
        picture = Image.open(io.BytesIO(preview))
        assert picture.format == "WEBP"
        assert max(picture.size) == min(size, 64)


def test_encoders_are_made_for_the_data():
    encoder = MODALITY.make_encoder("convnet-w16", SPEC, rebuild={})
    assert encoder(torch.rand(2, 3, 32, 32)).shape == (2, encoder.dim)
    assert encoder.rebuild == {}
    assert MODALITY.describe(ImageArrays(torch.zeros(2, 1, 8, 8, dtype=torch.uint8))).startswith("2 pictures, 8 × 8")
