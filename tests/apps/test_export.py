"""Embeddings as files."""

from __future__ import annotations

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import torch

from twofold.apps import export
from twofold.errors import ConfigError
from twofold.modalities.image.data import ImageArrays


@pytest.fixture
def saved(make_recipe, digits_set, tmp_path):
    recipe = make_recipe("simclr").build(digits_set.spec)
    return recipe, recipe.save(tmp_path / "model")


@pytest.fixture
def arrays(digits_set, tmp_path):
    path = tmp_path / "digits.npz"
    np.savez(path, images=digits_set.images[:20, 0].numpy(), labels=digits_set.labels[:20].numpy())
    return path


def test_three_formats_hold_the_same(saved, arrays, digits_set, tmp_path):
    recipe, run = saved
    vectors = recipe.embed(digits_set)[:20].numpy()
    for ending in export.WRITERS:
        counts = export.embed(run, [str(arrays)], tmp_path / "new" / f"v{ending}")
        assert counts == (20, vectors.shape[1], 0)
    assert np.allclose(np.load(tmp_path / "new" / "v.npy"), vectors, atol=1e-5)
    table = pq.read_table(tmp_path / "new" / "v.parquet")
    assert table.column_names == ["id", "label", "embedding"]
    assert np.allclose(np.stack(table["embedding"].to_numpy()), vectors, atol=1e-5)
    assert [int(label) for label in table["label"].to_pylist()] == digits_set.labels[:20].tolist()
    rows = pc.read_csv(tmp_path / "new" / "v.csv")
    assert rows.column_names[:3] == ["id", "label", "e0"]
    assert rows.num_columns == 2 + vectors.shape[1]
    assert np.allclose(rows["e3"].to_numpy(), vectors[:, 3], atol=1e-5)


def test_labels_that_are_missing(digits_set):
    from twofold.recipes.running import Embedded

    rows, index = torch.zeros(2, 3), torch.tensor([0, 1])
    images = digits_set.images[:2]
    some = ImageArrays(images, labels=torch.tensor([-1, 0]), class_names=["cat"])
    assert export._labels(Embedded(rows, index, some))["label"].to_pylist() == [None, "cat"]
    assert export._labels(Embedded(rows, index, ImageArrays(images))) == {}


def test_another_ending_is_refused_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match=r"the ending must be one of \.parquet, \.npy, \.csv"):
        export.embed(tmp_path / "no run", ["digits"], tmp_path / "v.txt")
