"""Embeddings as files."""

from __future__ import annotations

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import torch

from twofold.apps import export
from twofold.dataset import Subset
from twofold.errors import ConfigError, DataError, RunError
from twofold.modalities.image.data import ImageArrays
from twofold.recipes import running
from twofold.training.progress import Progress


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


@pytest.fixture
def holes(digits_set, monkeypatch):
    """The digits with every fifth unreadable, whatever is asked for; small groups, so that there are many."""

    class Holes(Subset):
        def fetch(self, index):
            return super().fetch(index[index % 5 != 0])

    data = Holes(digits_set, torch.arange(100))
    monkeypatch.setattr(export.sources, "resolve", lambda *_, **__: data)
    monkeypatch.setattr(export, "GROUP_BYTES", 5000)
    return data


def test_many_groups_hold_what_one_embedding_in_memory_does(saved, holes, tmp_path):
    recipe, run = saved
    whole = running.embed(recipe, holes, batch_size=7)
    for ending in export.WRITERS:
        assert export.embed(run, ["x"], tmp_path / f"v{ending}", batch_size=7)[:2] == tuple(whole.rows.shape)
    file = pq.ParquetFile(tmp_path / "v.parquet")
    assert file.num_row_groups > 3
    table = file.read()
    assert table["id"].to_pylist() == whole.ids
    assert [int(name) for name in table["label"].to_pylist()] == whole.labels.tolist()
    assert np.array_equal(np.stack(table["embedding"].to_numpy()), whole.rows.numpy())
    assert np.array_equal(np.load(tmp_path / "v.npy"), whole.rows.numpy())
    rows = pc.read_csv(tmp_path / "v.csv")
    assert rows.num_rows == len(whole.rows)
    assert np.allclose(rows["e1"].to_numpy(), whole.rows[:, 1])


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("where", ["embed", "write"])
def test_interrupted_writing_leaves_what_was_there(saved, holes, tmp_path, monkeypatch, failure, where):
    out = tmp_path / "v.parquet"
    out.write_bytes(b"an older file")
    (tmp_path / ".v.parquet.1-0123abcd.tmp").write_bytes(b"of a killed one")
    (tmp_path / ".other.1-0123abcd.tmp").write_bytes(b"of somebody else")

    def fail(*_):
        raise failure

    if where == "embed":
        monkeypatch.setattr(
            holes.dataset, "fetch", lambda index, fetch=holes.dataset.fetch: fetch(index) if 91 not in index else fail()
        )
        failure = failure if failure is KeyboardInterrupt else DataError
    else:
        monkeypatch.setattr(export.ParquetFile, "write", fail)
        failure = failure if failure is KeyboardInterrupt else RunError
    with pytest.raises(failure):
        export.embed(saved[1], ["x"], out, batch_size=7)
    assert out.read_bytes() == b"an older file"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.1-0123abcd.tmp", "model", "v.parquet"]


def test_progress_counts_what_is_read(saved, holes, tmp_path, monkeypatch):
    counts = []

    class Counting(Progress):
        def advance(self, count, total):
            counts.append((count, total))

    monkeypatch.setattr(export, "make_progress", lambda *_, **__: Counting())
    export.embed(saved[1], ["x"], tmp_path / "v.npy", batch_size=10)
    assert counts == [(8, 100)] * 10


def test_labels_that_are_missing(digits_set):
    images = digits_set.images[:2]
    some = ImageArrays(images, labels=torch.tensor([-1, 0]), class_names=["cat"])
    assert export._named(some, torch.tensor([0, 1]))[1].to_pylist() == [None, "cat"]
    assert export._named(some, torch.tensor([0]))[1].type == "string"
    numbered = ImageArrays(images, labels=torch.tensor([-1, 3]))
    assert export._named(numbered, torch.tensor([1, 0]))[1].to_pylist() == [3, None]
    assert [name for name, _ in export._names(ImageArrays(images))] == ["id"]
    assert len(export._named(ImageArrays(images), torch.tensor([0]))) == 1


def test_another_ending_is_refused_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match=r"the ending must be one of \.parquet, \.npy, \.csv"):
        export.embed(tmp_path / "no run", ["digits"], tmp_path / "v.txt")
