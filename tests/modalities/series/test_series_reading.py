"""What is read as series, and what is said of what cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twofold.errors import ConfigError, DataError
from twofold.modalities.series import MODALITY
from twofold.modalities.series.recordings import fitted, mended


def waves(n=6, t=12, c=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, t, c)).astype(np.float32)


def whole(dataset):
    return dataset.fetch(torch.arange(len(dataset)))


def test_arrays_of_all_shapes():
    array = waves()
    assert torch.equal(whole(MODALITY.read(array))["inputs"], torch.from_numpy(array))
    assert torch.equal(whole(MODALITY.read(torch.from_numpy(array)))["inputs"], torch.from_numpy(array))
    turned = MODALITY.read(array.transpose(0, 2, 1), layout="channels-first")
    assert torch.equal(whole(turned)["inputs"], torch.from_numpy(array))
    assert MODALITY.read(array[:, :, 0]).spec["channels"] == 1
    body = MODALITY.read(array[:, :, :2].reshape(6, 4, 3, 2))
    assert (body.spec["joints"], body.spec["dims"], body.spec["length"]) == (3, 2, 4)


def test_labels_groups_and_names():
    dataset = MODALITY.read((waves(), ["walk", "run", "walk", "", "run", "sit"]))
    assert dataset.class_names == ["run", "sit", "walk"]
    assert whole(dataset)["label"].tolist() == [2, 0, 2, -1, 0, 1]
    mapping = {"series": list(waves()), "labels": [0, 1] * 3, "subjects": ["a", "a", "b", "b", "c", "c"]}
    dataset = MODALITY.read(mapping)
    assert dataset.groups == ["a", "a", "b", "b", "c", "c"]
    train, test = dataset.leave_out("b", "c")
    assert (len(train), len(test)) == (2, 4)
    assert test.labels.tolist() == [0, 1, 0, 1]
    part = MODALITY.read(mapping, groups="a, c")
    assert (part.groups, part.labels.tolist()) == (["a", "a", "c", "c"], [0, 1, 0, 1])
    np.testing.assert_allclose(part.spec["mean"], waves()[[0, 1, 4, 5]].mean((0, 1)), atol=1e-4)
    with pytest.raises(DataError, match="has no group 'd'; it has: a, b, c"):
        MODALITY.read(mapping, groups="a,d")
    with pytest.raises(DataError, match="has no groups: give a column"):
        MODALITY.read(waves(), groups="a")
    with pytest.raises(DataError, match="has no group 'd'; it has: a, b, c"):
        dataset.leave_out("d")
    with pytest.raises(DataError, match="not none and not all"):
        dataset.leave_out("a", "b", "c")
    with pytest.raises(DataError, match="has no groups: give a column"):
        MODALITY.read(waves()).leave_out("a")


def test_npz_with_offsets_lengths_and_splits(tmp_path):
    flat = waves(1, 20, 4)[0]
    np.savez(tmp_path / "a.npz", pose=flat.reshape(20, 2, 2), length=[5, 9, 6], label=np.array(["x", "y", "x"]))
    dataset = MODALITY.read(tmp_path / "a.npz", normalize="none")
    assert (len(dataset), dataset.spec["joints"], dataset.spec["length"]) == (3, 2, 9)
    assert torch.equal(whole(dataset)["inputs"][1], torch.from_numpy(flat[5:14]))
    np.savez(tmp_path / "b.npz", x_train=waves(), y_train=np.arange(6) % 2, x_test=waves(2))
    assert len(MODALITY.read(tmp_path / "b.npz")) == 6
    assert len(MODALITY.read(tmp_path / "b.npz", split="test")) == 2
    np.savez(tmp_path / "c.npz", data=flat, offsets=[0, 5, 3, 20])
    with pytest.raises(DataError, match="must rise from 0 to the number of steps, 20"):
        MODALITY.read(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", measured=flat)
    with pytest.raises(DataError, match="no series under a known name; it holds: measured"):
        MODALITY.read(tmp_path / "d.npz")


def test_lengths_differ_resample_and_crop():
    ramps = [np.linspace(0, 1, n)[:, None] for n in (5, 9, 17)]
    dataset = MODALITY.read(ramps, length=9)
    for row in whole(dataset)["inputs"]:
        torch.testing.assert_close(row[:, 0], torch.linspace(0, 1, 9), atol=1e-6, rtol=0)
    assert "2 recordings of 5 to 17 steps were resampled to 9" in MODALITY.describe(dataset)
    cropped = whole(MODALITY.read(ramps, length=9, fit="crop"))["inputs"][:, :, 0]
    assert cropped[0, 4:].tolist() == [1.0] * 5
    torch.testing.assert_close(cropped[2], torch.linspace(0, 1, 17)[4:13])
    assert MODALITY.read(ramps).spec["length"] == 17
    assert MODALITY.read([np.zeros((n, 1)) for n in (700, 900)]).spec["length"] == 512
    assert fitted(np.ones((1, 2), np.float32), 4, "resample").tolist() == [[1, 1]] * 4


def test_windows_are_cut_inside_recordings():
    first, second = np.arange(10.0)[:, None], 100 + np.arange(7.0)[:, None]
    dataset = MODALITY.read(([first, second, np.zeros((3, 1))], ["a", "b", "a"]), window=4, stride=3)
    assert whole(dataset)["inputs"][:, :, 0].tolist() == [
        [0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [100, 101, 102, 103], [103, 104, 105, 106],
    ]  # fmt: skip
    assert dataset.ids == ["0 @ 0", "0 @ 3", "0 @ 6", "1 @ 0", "1 @ 3"]
    assert dataset.groups == ["0", "0", "0", "1", "1"]
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1]
    assert dataset.skipped == {"2": "it has 3 steps, a window has 4"}
    assert len(MODALITY.read(first, window=5)) == 2  # one recording of one channel
    with pytest.raises(DataError, match=r"no recording has 20 steps \(window=\), the longest 10"):
        MODALITY.read([first, second], window=20)


def test_gaps_are_filled_and_counted():
    array = waves(4)
    array[0, 3:5, 1] = np.nan
    array[1, :2, 0] = np.nan
    dataset = MODALITY.read(array)
    rows = whole(dataset)["inputs"]
    step = (array[0, 5, 1] - array[0, 2, 1]) / 3
    torch.testing.assert_close(float(rows[0, 3, 1]), float(array[0, 2, 1] + step), atol=1e-5, rtol=0)
    assert rows[1, :2, 0].tolist() == [float(array[1, 2, 0])] * 2
    assert "4 missing values were filled in" in MODALITY.describe(dataset)
    assert mended(array[2])[1] == 0


def test_unusable_recordings_are_left_out_with_their_reason():
    rows = [one.copy() for one in waves(5)]
    rows[1][:, 2] = np.nan
    rows[3][4, 0] = np.inf
    dataset = MODALITY.read((rows, [0, 1, 2, 3, 4]))
    assert dataset.skipped == {
        "1": "channel 2 has no values (NaN everywhere)",
        "3": "step 4 of channel 0 is infinite, or beyond 32-bit numbers",
    }
    assert dataset.labels.tolist() == [0, 2, 4]
    assert dataset.ids == ["0", "2", "4"]
    rows[0] = rows[0][:0]
    with pytest.raises(DataError, match=r"3 of 5 recordings cannot be used. The first: 0: it has no values"):
        MODALITY.read(rows)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([waves(1)[0], waves(1, c=2)[0]], "different numbers of channels: 0 has 3, 1 has 2"),
        ([], "an empty list holds no series"),
        (np.zeros((0, 4, 2)), r"the array is empty: its shape is \(0, 4, 2\)"),
        (np.zeros(5), r"with window= it may be one recording"),
        (np.zeros((2, 3, 4, 5, 6)), r"has shape \(2, 3, 4, 5, 6\); series are"),
        (np.array([["a"]]), "has type <U1; series are numbers"),
        (np.array([{}, {}]), "array of Python objects; give series of different lengths as a list"),
        ([np.zeros((3, 1)), "a.npy"], "mixes them"),
        ([[1, 2], [3, 4]], "series 0 is a list, not an array"),
        (3.5, "cannot read series from a float"),
        ((waves(), [0, 1]), "2 for 6 samples"),
        ({"series": waves(), "groups": [1, 2]}, "must be 6 whole numbers or texts"),
    ],
)
def test_what_is_no_series_is_refused(source, message):
    with pytest.raises(DataError, match=message):
        MODALITY.read(source)


def test_options_that_contradict_are_reported_together():
    with pytest.raises(ConfigError) as error:
        MODALITY.read(waves(), length=1, stride=2)
    assert "length must be at least 2 steps, not 1" in str(error.value)
    assert "stride is the distance of windows: give window= too" in str(error.value)
    with pytest.raises(ConfigError, match="window=5 is the length of what is cut"):
        MODALITY.read(waves(), window=5, length=7)
    with pytest.raises(ConfigError, match="add up to 3, such as '3,3'; not '2,2'"):
        MODALITY.read(waves(), parts="2,2")
    with pytest.raises(ConfigError, match="normalize='body' is for skeletons"):
        MODALITY.read(waves(), normalize="body")
    with pytest.raises(ConfigError, match=r"4 joints have 8 \(x, y\) or 12 \(x, y, z\) channels, this data has 3"):
        MODALITY.read(waves(), skeleton="4")
    with pytest.raises(ConfigError, match="did you mean 'coco-17'"):
        MODALITY.read(waves(), skeleton="coco17")


def test_normalization_of_each_series_and_of_bodies():
    array = waves(3, 20, 4) * [[[1]], [[10]], [[100]]] + 50
    each = whole(MODALITY.read(array, normalize="each"))["inputs"]
    torch.testing.assert_close(each.mean(1), torch.zeros(3, 4), atol=1e-4, rtol=0)
    torch.testing.assert_close(each.std(1, correction=0), torch.ones(3, 4), atol=1e-4, rtol=0)
    still = whole(MODALITY.read(np.ones((3, 5, 2)), normalize="each"))["inputs"]
    assert torch.equal(still, torch.zeros(3, 5, 2))
    body = waves(2, 20, 6)
    larger = whole(MODALITY.read(np.stack([body[0], 7 * body[0] + 3]), skeleton="3"))["inputs"]
    torch.testing.assert_close(larger[0], larger[1], atol=1e-4, rtol=1e-4)
    assert torch.isfinite(whole(MODALITY.read(np.ones((2, 5, 4)), skeleton="2"))["inputs"]).all()


def test_folders_with_classes(tmp_path):
    for name, value in (("run/1.npy", 1.0), ("run/2.npy", 2.0), ("walk/1.npy", 3.0)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, np.full((6, 2), value))
    (tmp_path / "walk" / "2.csv").write_text("time,x,y\n2,4,4\n1,4,4\n3,4,4\n")
    (tmp_path / "walk" / "bad.npy").write_bytes(b"no array")
    dataset = MODALITY.read(tmp_path)
    assert dataset.class_names == ["run", "walk"]
    assert dataset.ids == ["run/1.npy", "run/2.npy", "walk/1.npy", "walk/2.csv"]
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert whole(dataset)["inputs"][:, 0, 0].tolist() == [1, 2, 3, 4]
    assert list(dataset.skipped) == ["walk/bad.npy"]
    several = MODALITY.read([tmp_path / "run" / "1.npy", tmp_path / "walk" / "1.npy"])
    assert (len(several), several.labels) == (2, None)


def test_paths_that_are_no_series(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"")
    with pytest.raises(DataError, match="pickled files are not read"):
        MODALITY.read(tmp_path / "a.pkl")
    (tmp_path / "a.mat").write_bytes(b"")
    with pytest.raises(DataError, match=r"series are not read from \.mat files\. Known: \.ts \.npz"):
        MODALITY.read(tmp_path / "a.mat")
    with pytest.raises(DataError, match="does not exist"):
        MODALITY.read(tmp_path / "b.npy")
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        MODALITY.read(tmp_path / "o.npy")


def test_moments_are_those_of_the_data():
    array = waves(50, 30, 3) * [1, 2, 3] + [5, 0, -5]
    dataset = MODALITY.read(array)
    np.testing.assert_allclose(dataset.spec["mean"], array.mean((0, 1)), atol=1e-4)
    np.testing.assert_allclose(dataset.spec["std"], array.std((0, 1)), atol=1e-4)
    array[:, :, 1] = 4
    assert MODALITY.read(array).spec["std"][1] == 1
    assert "1 channels never change" in MODALITY.describe(MODALITY.read(array))


def test_a_data_set_that_is_read_already_passes_if_it_fits():
    dataset = MODALITY.read(waves(), length=12)
    assert MODALITY.read(dataset, **MODALITY.reading_for(dataset.spec)) is dataset
    with pytest.raises(ConfigError, match="length=8: this dataset was already read otherwise"):
        MODALITY.read(dataset, length=8)


def test_fetch_checks_positions():
    dataset = MODALITY.read(waves())
    assert whole(dataset)["index"].tolist() == list(range(6))
    with pytest.raises(DataError, match=r"index must lie in 0\.\.5"):
        dataset.fetch(torch.tensor([6]))
