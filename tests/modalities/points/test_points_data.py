"""Sources of clouds: arrays, lists, packed files, folders; their form, labels and faults."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import ConfigError, DataError
from twofold.modalities.points import MODALITY, data
from twofold.modalities.points.clouds import moments
from twofold.modalities.points.data import read, summary
from twofold.modalities.points.readers.shapes import Cloud, Mesh, in_unit_ball, resample, sample_surface, turned


def all_of(dataset):
    return dataset.fetch(torch.arange(len(dataset)))


def test_its_reader_takes_what_the_reader_takes():
    ours, theirs = (inspect.signature(function).parameters for function in (MODALITY.read, data.read))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int16, torch.float32, torch.bfloat16])
def test_arrays_and_tensors(kind):
    clouds = np.random.default_rng(0).integers(-50, 50, (4, 20, 3))
    source = torch.tensor(clouds, dtype=kind) if isinstance(kind, torch.dtype) else clouds.astype(kind)
    dataset = read((source, np.array(["b", "a", "b", ""])))
    batch = all_of(dataset)
    assert batch["inputs"].shape == (4, 20, 3)
    assert batch["inputs"].dtype == torch.float32
    assert torch.allclose(batch["inputs"].norm(dim=2).amax(1), torch.ones(4))
    assert batch["inputs"].mean(1).abs().max() < 1e-6
    assert dataset.labels.tolist() == [1, 0, 1, -1]
    assert dataset.class_names == ["a", "b"]
    assert dataset.spec["samples"] == 4
    assert dataset.spec["points"] == 20
    assert not dataset.skipped


def test_places_stay_as_they_are_if_asked_for(table):
    dataset = read(table, normalize=False)
    assert torch.equal(all_of(dataset)["inputs"][0], torch.from_numpy(table))
    assert "neither centred nor scaled" in summary(dataset)


def test_clouds_of_different_sizes(table):
    dataset = read([table, table[:12], torch.from_numpy(table[:20])], points=20)
    batch = all_of(dataset)
    assert batch["inputs"].shape == (3, 20, 3)
    assert dataset.repeated == 1
    assert "1 so far have fewer points than that" in summary(dataset)
    assert len(batch["inputs"][1].unique(dim=0)) == 12
    assert len(batch["inputs"][0].unique(dim=0)) == 20
    assert read([table, table[:12]]).spec["points"] == 30


def test_fetching_again_gives_the_same_and_order_is_that_of_the_index(table):
    dataset = read([table, table[:12], table[5:]], points=16)
    first = dataset.fetch(torch.tensor([2, 0, 2]))
    assert first["index"].tolist() == [2, 0, 2]
    assert torch.equal(first["inputs"], read([table, table[:12], table[5:]], points=16).fetch(first["index"])["inputs"])
    assert torch.equal(first["inputs"][0], first["inputs"][2])


@pytest.mark.parametrize("packed", [True, False])
def test_npz_files_with_clouds_of_different_sizes(tmp_path, table, packed):
    parts = [table[:8], table[8:20], table[20:]]
    offsets = {"points": table, "offsets": np.array([0, 8, 20, 30])}
    np.savez(
        tmp_path / "a.npz", labels=np.array([1, 0, 1]), **(offsets if packed else dict(zip("abc", parts, strict=True)))
    )
    dataset = read(tmp_path / "a.npz", points=8, normalize=False)
    assert dataset.labels.tolist() == [1, 0, 1]
    assert torch.equal(all_of(dataset)["inputs"][0], torch.from_numpy(table[:8]))
    assert torch.equal(all_of(dataset)["inputs"], all_of(read(parts, points=8, normalize=False))["inputs"])


def test_splits_of_npz_files(tmp_path, table):
    stacked = np.stack([table, table + 1])
    np.savez(tmp_path / "a.npz", x_train=stacked, y_train=[0, 1], x_test=stacked[:1], y_test=[1])
    assert len(read(tmp_path / "a.npz")) == 2
    assert "read the array 'x_train'" in summary(read(tmp_path / "a.npz"))
    assert read(tmp_path / "a.npz", split="test").labels.tolist() == [1]
    with pytest.raises(DataError, match="no points of split 'val'; it holds: x_train"):
        read(tmp_path / "a.npz", split="val")


def test_folders_with_classes_and_splits(tmp_path, table):
    for part, kind, count in (("train", "cup", 2), ("train", "jug", 1), ("test", "cup", 1)):
        (tmp_path / part / kind).mkdir(parents=True)
        for i in range(count):
            np.savetxt(tmp_path / part / kind / f"{i}.xyz", table + i)
    dataset = read(tmp_path, points=16)
    assert dataset.ids == ["cup/0.xyz", "cup/1.xyz", "jug/0.xyz"]
    assert dataset.class_names == ["cup", "jug"]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert "2 classes (cup, jug); 1-2 clouds a class. Note: read train/ only" in summary(dataset)
    assert len(read(tmp_path, split="test")) == 1
    files = [tmp_path / "test" / "cup" / "0.xyz", tmp_path / "train" / "jug" / "0.xyz"]
    assert read((files, ["a", "b"])).class_names == ["a", "b"]
    with pytest.raises(DataError, match=r"nowhere.xyz does not exist"):
        read([files[0], tmp_path / "nowhere.xyz"])


def test_damaged_clouds_are_skipped_until_most_are(tmp_path, table):
    for i in range(6):
        np.save(tmp_path / f"{i}.npy", table + i if i % 3 else table * np.nan)
    dataset = read(tmp_path)
    assert all_of(dataset)["index"].tolist() == [1, 2, 4, 5]
    assert dataset.skipped["0.npy"] == "30 of its 30 points have NaN or infinite values; remove those"
    assert "2 could not be read so far" in summary(dataset)
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", table[:0])
    with pytest.raises(DataError, match=r"4 of the 6 clouds tried could not be read. The first:\n  0.npy: it has no"):
        read(tmp_path)


def test_features(table):
    normals = table / np.linalg.norm(table, axis=1, keepdims=True)
    colours = np.linspace(0, 1, 60).reshape(30, 2)
    full = np.concatenate([table, normals, colours], 1)[None]
    places, turned_too, everything = (read(full, features=kind) for kind in ("none", "normals", "all"))
    assert [d.spec["channels"] for d in (places, turned_too, everything)] == [3, 6, 8]
    assert everything.spec["normals"]
    assert everything.spec["extras"] == 2
    assert np.allclose(all_of(everything)["inputs"][0, :, 3:], full[0, :, 3:], atol=1e-6)
    assert everything.spec["std"][3:6] == [1, 1, 1]
    assert MODALITY.reading_for(everything.spec)["features"] == "all"
    with pytest.raises(DataError, match="1 of 2 clouds looked at have no normals"):
        read([full[0], table], features="normals")
    mixed = read([full[0], table], features="all")
    assert mixed.spec["channels"] == 3
    assert "columns that not all clouds have are left out" in summary(mixed)


def test_the_axis_that_points_up():
    cloud = Cloud(np.eye(3), np.eye(3))
    for axis, name in enumerate("xyz"):
        up = turned(cloud, name)
        assert up.places[axis].tolist() == [0, 0, 1]
        assert up.normals[axis].tolist() == [0, 0, 1]
        assert np.linalg.det(up.places) == pytest.approx(1)


@given(st.integers(1, 50), st.integers(1, 120))
@settings(max_examples=40, deadline=None)
def test_resampling_takes_every_point_as_often_as_any_other(have, count):
    cloud = resample(Cloud(np.arange(3.0 * have).reshape(have, 3)), count)
    times = np.unique(cloud.places[:, 0], return_counts=True)[1]
    assert len(cloud) == count
    assert len(times) == min(have, count)
    assert times.max() - times.min() <= 1


@given(st.floats(1e-200, 1e200), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_the_unit_ball_does_not_depend_on_size_and_place(scale, seed):
    places = np.random.default_rng(seed).normal(size=(20, 3))
    assert np.allclose(in_unit_ball(places * scale), in_unit_ball(places), atol=1e-9)
    assert np.allclose(in_unit_ball(places + 5), in_unit_ball(places), atol=1e-9)


def test_surfaces_are_sampled_by_area_and_the_same_each_time():
    vertices = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=float)
    mesh = Mesh(vertices, np.array([[0, 1, 2], [3, 4, 5]]))
    cloud = sample_surface(mesh, 4000)
    flat = cloud.places[:, 2] == 0
    assert flat.mean() == pytest.approx(0.75, abs=0.03)
    assert np.allclose(cloud.normals[flat], [0, 0, 1])
    inside = cloud.places[flat]
    assert (inside[:, 0] / 3 + inside[:, 1] <= 1 + 1e-9).all()
    assert np.allclose(inside.mean(0), [1, 1 / 3, 0], atol=0.05)
    assert np.array_equal(cloud.places, sample_surface(mesh, 4000).places)


def test_moments_scale_the_axes_alike():
    mean, std = moments(torch.randn(50, 40, 7, dtype=torch.float64) * 3 + 1, normals=True)
    assert std[0] == std[1] == std[2] == pytest.approx(3, rel=0.1)
    assert mean[3:6] == [0, 0, 0]
    assert std[3:6] == [1, 1, 1]
    assert moments(torch.ones(2, 3, 4), normals=False)[1][3] == 1e-6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((2, 3, 40)), r"second axis has length 3: turn it with array.transpose\(0, 2, 1\)"),
        (np.zeros((2, 10, 2)), r"clouds are \(n, points, 3\)"),
        (np.zeros((2, 0, 3)), "is empty"),
        (np.zeros((0, 5, 3)), "no clouds"),
        (np.array([None, 1]), "Python objects; give clouds of different sizes as a list"),
        (np.array([["a", "b", "c"]]), "points are numbers"),
        ([], "an empty list"),
        ([np.zeros((5, 3)), "a.ply"], "only paths or only arrays"),
        ([np.zeros((5, 3)), 7], "entry 1 is a int"),
        (7, "cannot read clouds from a int"),
        ("https://example.org/a.ply", "addresses are not read"),
        ("nowhere/a.ply", "does not exist"),
        ("a" * 5000, "is no path"),
        ((np.ones((2, 4, 3)), [1]), "1 for 2 samples"),
        ((np.ones((2, 4, 3)), [0.5, 1]), "hold 0.5: labels are classes"),
        (np.ones((2, 4, 3)), "all its points lie in one place"),
    ],
)
def test_sources_that_make_no_sense(source, message):
    with pytest.raises(DataError, match=message):
        read(source)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"points": np.ones((4, 3)), "offsets": [0, 3, 2, 4]}, "fall in between"),
        ({"points": np.ones((4, 3)), "offsets": [0, 5]}, "from 0 to the number of points, 4; they go from 0 to 5"),
        ({"points": np.ones((4, 3)), "offsets": [0.5, 4]}, "not n [+] 1 whole numbers"),
        ({"points": np.ones((2, 4, 3)), "offsets": [0, 2]}, "with offsets it must be"),
        ({"words": np.array(["a"])}, "no clouds under a name that is known; it holds: words"),
    ],
)
def test_npz_files_that_make_no_sense(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "a.npz")


def test_options_that_make_no_sense(table, tmp_path):
    with pytest.raises(ConfigError, match=r"points=0: .* in 1..1048576"):
        read(table, points=0)
    dataset = read(table, points=16)
    assert read(dataset, points=16) is dataset
    with pytest.raises(ConfigError, match="already read with 16"):
        read(dataset, points=32)
    (tmp_path / "a.docx").touch()
    with pytest.raises(DataError, match=r"clouds are not read from .docx files"):
        read(tmp_path / "a.docx")
    with pytest.raises(DataError, match=r"holds no clouds. Found instead: .docx"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"index must lie in 0..0"):
        dataset.fetch(torch.tensor([1]))
