"""Pairs behind the common door: training, use of one side, saving, what does not fit."""

import numpy as np
import pytest
import torch

import twofold
from twofold.errors import ConfigError, DataError
from twofold.modalities.paired import MODALITY

NAME = "convnet-w4+embedding-bag-w8@16"
QUICK = {"epochs": 1, "batch_size": 8, "workers": 0}


@pytest.fixture(scope="module")
def model(arrays):
    return twofold.CLIP(encoder=NAME).fit(arrays, **QUICK)


def test_one_side_can_be_embedded_by_itself(model, arrays):
    (pictures, _), texts = arrays
    first, second, both = model.embed(pictures, side="first"), model.embed(texts, side="second"), model.embed(arrays)
    assert first.shape == second.shape == both.shape == (8, 16)
    unit = [side / side.norm(dim=1, keepdim=True) for side in (first, second)]
    mean = unit[0] + unit[1]
    assert torch.allclose(both, mean / mean.norm(dim=1, keepdim=True), atol=1e-5)
    assert torch.allclose(model.embed(texts[2:4], side="second"), second[2:4], atol=1e-5)


def test_other_data_is_brought_to_the_form_of_the_training(model):
    big = np.zeros((3, 30, 30, 3), np.uint8)
    assert MODALITY.read(big, side="first", **MODALITY.reading_for(model.built_spec)).spec["first"]["size"] == 8
    assert model.embed((big, ["new words", "so far unseen", "three"])).shape == (3, 16)


def test_a_run_goes_to_disk_and_back(model, arrays, tmp_path):
    model.save(tmp_path / "a")
    assert torch.equal(twofold.load(tmp_path / "a").embed(arrays), model.embed(arrays))


def test_a_batch_goes_through_in_pieces(arrays):
    model = twofold.CLIP(encoder=NAME).fit(arrays, micro_batch=3, **QUICK)
    assert bool(model.embed(arrays).isfinite().all())


def test_what_does_not_fit_is_told(model, arrays):
    (pictures, _), _ = arrays
    spec = model.built_spec
    with pytest.raises(DataError, match="The encoder was trained on pairs, the data is 'image'"):
        MODALITY.check_fits(MODALITY.read(arrays).first, spec)
    with pytest.raises(DataError, match="second side is image; of the encoder's sides, first is image, second is text"):
        MODALITY.check_fits(MODALITY.read((pictures, pictures), second="image"), spec)
    with pytest.raises(ConfigError, match="an encoder of pairs is FIRST"):
        twofold.CLIP(encoder="convnet")
    with pytest.raises(ConfigError, match="CLIP learns from paired, not from image"):
        twofold.CLIP(modality="image")


def test_raw_features_and_previews(arrays):
    pairs = MODALITY.read(arrays)
    batch = pairs.fetch(torch.arange(4))
    raw = MODALITY.raw_features(batch, pairs.spec)
    sides = [MODALITY.read(pairs, side=side) for side in ("first", "second")]
    alone = [MODALITY.raw_features(side.fetch(torch.arange(4)), side.spec) for side in sides]
    assert torch.equal(raw, torch.cat(alone, 1))
    shown = MODALITY.previews(twofold.dataset.Subset(pairs, torch.tensor([5, 2])), torch.tensor([1]))
    assert shown == MODALITY.previews(sides[0], torch.tensor([2]))
    assert isinstance(MODALITY.previews(sides[1], torch.tensor([2]))[0], str)
    assert MODALITY.describe(sides[1]).startswith("8 texts")


def test_the_standard_protocol_measures_one_side(arrays, model):
    (pictures, labels), _ = arrays
    report = model.evaluate((pictures, labels), side="first", metrics=["knn"], test_fraction=0.5)
    assert [row.name for row in report.rows] == ["trained", "untrained", "raw"]


def test_modality_free_recipes_see_sides_as_views(arrays):
    model = twofold.SimCLR(modality="paired", encoder=NAME, view_count=3).fit(arrays, **QUICK)
    assert model.embed(arrays).shape == (8, 16)
