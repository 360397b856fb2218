"""Pictures in files: folder trees, broken files, caching; and the dataset of arrays."""

from __future__ import annotations

import json
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from twofold.errors import ConfigError, DataError
from twofold.modalities.image.data import ImageArrays, ImageFiles, read, summary
from twofold.modalities.image.readers import files
from twofold.modalities.image.readers.files import default_size
from twofold.modalities.image.readers.labels import encode_labels


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, *, width: int = 40, height: int = 40, color: Any = (200, 30, 60), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), color).save(path)
    return path


def everything(dataset: Any) -> dict[str, Any]:
    return dataset.fetch(torch.arange(len(dataset)))


def bomb(path: Path, width: int = 50_000, height: int = 50_000) -> Path:
    """A PNG of a few bytes whose header claims a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


# --- ImageArrays ------------------------------------------------------------------------------------------------------


def test_arrays_meet_the_contract():
    images = torch.from_numpy(noise(10, 3, 8, 8))
    dataset = ImageArrays(
        images, labels=torch.arange(10) % 3 - 1, class_names=["a", "b"], aspect=torch.full((10,), 2.0)
    )
    assert len(dataset) == 10
    assert json.loads(json.dumps(dataset.spec)) == dataset.spec
    assert {key: dataset.spec[key] for key in ("modality", "channels", "size", "samples")} == {
        "modality": "image",
        "channels": 3,
        "size": 8,
        "samples": 10,
    }
    scaled = images.double() / 255
    assert dataset.spec["mean"] == pytest.approx(scaled.mean((0, 2, 3)).tolist(), abs=1e-6)
    assert dataset.spec["std"] == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist(), abs=1e-6)
    batch = dataset.fetch(torch.tensor([7, 2]))
    assert torch.equal(batch["inputs"], images[[7, 2]])
    assert batch["index"].tolist() == [7, 2]
    assert batch["label"].tolist() == [0, 1]
    assert batch["aspect"].tolist() == [2, 2]


def test_a_subset_keeps_names_and_counts_its_own_moments():
    images = torch.cat([torch.zeros(4, 1, 8, 8), torch.full((4, 1, 8, 8), 255.0)]).to(torch.uint8)
    dataset = ImageArrays(images, labels=torch.arange(8), ids=[f"p{i}" for i in range(8)])
    part = dataset.subset(torch.tensor([5, 1, 6]))
    assert part.ids == ["p5", "p1", "p6"]
    assert part.labels is not None
    assert part.labels.tolist() == [5, 1, 6]
    assert part.spec["mean"] == pytest.approx([2 / 3], abs=1e-6)
    assert dataset.subset(torch.tensor([0, 1])).spec["std"] == [round(1 / 255, 6)]  # constant, still divisible


def test_square_arrays_have_no_aspect():
    dataset = ImageArrays(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), aspect=torch.ones(2))
    assert "aspect" not in everything(dataset)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(2, 3, 4, 4)}, "uint8 tensor, got torch.float32"),
        ({"images": np.zeros((2, 3, 4, 4), np.uint8)}, "uint8 tensor, got ndarray"),
        ({"images": torch.zeros(2, 3, 4, 5, dtype=torch.uint8)}, r"\(n, channels, size, size\), got \(2, 3, 4, 5\)"),
        ({"images": torch.zeros(0, 3, 4, 4, dtype=torch.uint8)}, "images is empty"),
        ({"labels": torch.zeros(2)}, "whole numbers, got torch.float32"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, r"shape \(2,\)"),
        ({"labels": torch.tensor([0, -2])}, ">= -1"),
        ({"labels": torch.tensor([0, 2]), "class_names": ["a", "b"]}, "reach 2 but there are only 2 class_names"),
        ({"class_names": ["a"]}, "without labels"),
        ({"ids": ["one"]}, "1 entries for 2 images"),
        ({"aspect": torch.tensor([1.0, 0.0])}, "positive and finite"),
        ({"aspect": torch.ones(3)}, r"shape \(2,\)"),
    ],
)
def test_arrays_refuse_what_does_not_fit(changes: dict[str, Any], message: str):
    given: dict[str, Any] = {"images": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)} | changes
    with pytest.raises(DataError, match=message):
        ImageArrays(given.pop("images"), **given)


@pytest.mark.parametrize(
    ("index", "message"),
    [(torch.tensor([0, 5]), r"0\.\.1"), (torch.tensor([-1]), r"0\.\.1"), (torch.zeros(2), "int64"), ([0], "got list")],
)
def test_a_bad_index_is_refused(index: Any, message: str):
    with pytest.raises(DataError, match=message):
        ImageArrays(torch.zeros(2, 3, 4, 4, dtype=torch.uint8)).fetch(index)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_class_folders_give_labels(tmp_path: Path):
    for name in ("dog/1.png", "cat/1.png", "cat/2.jpg", "cat/.hidden.png", ".cache/x.png", "cat/notes.txt"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("hello")
        else:
            save(tmp_path / name)
    dataset = read(tmp_path)
    assert list(dataset.ids) == ["cat/1.png", "cat/2.jpg", "dog/1.png"]
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.spec["size"] == 32
    batch = everything(dataset)
    assert batch["inputs"].shape == (3, 3, 32, 32)
    assert batch["inputs"].dtype == torch.uint8
    assert batch["label"].tolist() == [0, 0, 1]
    assert "aspect" not in batch


def test_aspect_is_kept_of_squashed_pictures(tmp_path: Path):
    save(tmp_path / "a.png", width=80, height=40)
    save(tmp_path / "b.png", width=40, height=40)
    batch = everything(read(tmp_path))
    assert batch["aspect"].tolist() == [2, 1]
    assert batch["aspect"].dtype == torch.float32


def test_one_varying_level_of_deeper_trees_is_the_class(tmp_path: Path):
    for name in ("all/cat/images/1.png", "all/dog/images/1.png"):
        save(tmp_path / name)
    assert read(tmp_path).class_names == ["cat", "dog"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["2021/01/a.png", "2021/02/b.png", "2022/01/c.png"], "2 levels of folders vary"),
        (["a.png", "cat/b.png"], "different depths"),
        (["cat/a.png", "cat/b.png"], "the same folder"),
    ],
)
def test_other_trees_are_read_without_labels(tmp_path: Path, names: list[str], why: str):
    for name in names:
        save(tmp_path / name)
    dataset = read(tmp_path)
    assert len(dataset) == len(names)
    assert dataset.labels is None
    assert why in summary(dataset)


def test_flat_folders_and_lists_and_single_pictures(tmp_path: Path):
    first, second = save(tmp_path / "a.png"), save(tmp_path / "b.png")
    assert list(read(tmp_path).ids) == ["a.png", "b.png"]
    assert len(read([first, str(second)])) == 2
    assert len(read(first)) == 1
    with pytest.raises(DataError, match=r"1 of 2 listed files do not exist: .*gone\.png"):
        read([first, tmp_path / "gone.png"])
    with pytest.raises(DataError, match="mixes them"):
        read([first, tmp_path])


def test_several_roots_share_their_classes(tmp_path: Path):
    for name in ("one/cat/1.png", "one/dog/1.png", "two/dog/1.png", "two/eel/1.png", "three/x.png"):
        save(tmp_path / name)
    dataset = read([tmp_path / "one", tmp_path / "two", tmp_path / "three"])
    assert dataset.class_names == ["cat", "dog", "eel"]
    assert dataset.labels.tolist() == [0, 1, 1, 2, -1]
    assert len(set(dataset.ids)) == 5
    assert "1 without a label" in summary(dataset)


def test_symlink_loops_end(tmp_path: Path):
    save(tmp_path / "cat" / "1.png")
    (tmp_path / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    dataset = read(tmp_path)
    assert sorted(dataset.ids) == ["cat/1.png", "dangling.png"]
    assert everything(dataset)["index"].tolist() == [0]
    assert dataset.skipped == {"dangling.png": "no such file"}


def test_splits_of_a_folder_tree(tmp_path: Path):
    for name in ("train/cat/1.png", "train/dog/1.png", "valid/cat/2.png", "valid/dog/2.png", "valid/dog/3.png"):
        save(tmp_path / name)
    train = read(tmp_path)
    assert len(train) == 2
    assert train.class_names == ["cat", "dog"]
    assert "valid is left for evaluation" in summary(train)
    assert len(read(tmp_path, split="val")) == 3
    with pytest.raises(DataError, match=r"no sub-folder for split 'test'; it holds: train, valid"):
        read(tmp_path, split="test")


def test_folders_without_pictures_say_what_they_hold(tmp_path: Path):
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path)
    for name in ("a.heic", "b.HEIC", "readme.txt"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"no pictures. Found instead: \.heic \(2\), \.txt \(1\)"):
        read(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "gone" / "further")


def test_class_folders_without_pictures_are_noted(tmp_path: Path):
    for name in ("cat/1.png", "dog/1.png"):
        save(tmp_path / name)
    (tmp_path / "eel").mkdir()
    dataset = read(tmp_path)
    assert dataset.class_names == ["cat", "dog"]
    assert "without a single picture, so not classes: eel" in summary(dataset)


def test_broken_files_are_left_out_and_counted(tmp_path: Path):
    for i in range(8):
        save(tmp_path / f"{i}.png", color=(i, i, i))
    (tmp_path / "3.png").write_bytes(b"no picture")
    (tmp_path / "5.png").write_bytes((tmp_path / "5.png").read_bytes()[:60])
    bomb(tmp_path / "6.png")
    dataset = read(tmp_path, size=16)
    batch = dataset.fetch(torch.tensor([6, 0, 3, 7, 5]))
    assert batch["index"].tolist() == [0, 7]
    assert batch["inputs"][:, 0, 0, 0].tolist() == [0, 7]
    assert set(dataset.skipped) == {"3.png", "5.png", "6.png"}
    assert "too large" in dataset.skipped["6.png"]
    assert "3 could not be read" in summary(dataset)
    nothing = dataset.fetch(torch.tensor([3]))
    assert nothing["inputs"].shape == (0, 3, 16, 16)


def test_mostly_broken_sets_stop_with_reasons(tmp_path: Path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"(?s)none of the 3 pictures.*0\.png: not a picture"):
        read(tmp_path)
    save(tmp_path / "9.png")
    with pytest.raises(DataError, match=r"(?s)3 of the 4 pictures tried.*0\.png: not a picture"):
        read(tmp_path)


def test_a_set_that_goes_bad_while_it_is_read_stops(tmp_path: Path):
    for i in range(64):
        save(tmp_path / f"{i:02}.png")
    dataset = read(tmp_path, cache=False)
    for i in range(40):
        (tmp_path / f"{i:02}.png").unlink()
    with pytest.raises(DataError, match=r"(?s)40 of the 64 pictures tried could not be read.*no such file"):
        everything(dataset)


@pytest.mark.parametrize(("side", "size"), [(8, 8), (31, 31), (32, 32), (100, 96), (223, 160), (4000, 224)])
def test_default_size_never_enlarges(side: int, size: int):
    assert default_size(side) == size


def test_sets_are_grey_only_if_all_are(tmp_path: Path):
    save(tmp_path / "a.png", mode="L", color=7)
    save(tmp_path / "b.png", mode="I;16", color=70 * 257)
    grey = read(tmp_path)
    assert grey.spec["channels"] == 1
    assert everything(grey)["inputs"][:, 0, 0, 0].tolist() == [7, 70]
    save(tmp_path / "c.png")
    assert read(tmp_path).spec["channels"] == 3


def test_fetching_from_threads_gives_the_same(tmp_path: Path):
    for i in range(24):
        Image.fromarray(noise(40, 40, 3, seed=i)).save(tmp_path / f"{i:02}.png")
    (tmp_path / "05.png").write_bytes(b"broken")
    alone = everything(read(tmp_path, cache=False))
    for cache in (False, True):
        dataset = read(tmp_path, cache=cache)
        with ThreadPoolExecutor(8) as pool:
            batches = list(pool.map(lambda _, d=dataset: everything(d), range(16)))
        for batch in batches:
            assert torch.equal(batch["inputs"], alone["inputs"])
            assert torch.equal(batch["index"], alone["index"])
        assert len(dataset.skipped) == 1


def test_the_cache_outlives_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for i in range(4):
        save(tmp_path / f"{i}.png", width=80, color=(i, 0, 0))
    dataset, uncached = read(tmp_path), read(tmp_path, cache=False)
    assert dataset.cache
    assert not uncached.cache
    before = everything(dataset)
    for i in range(4):
        (tmp_path / f"{i}.png").unlink()
    after = everything(dataset)
    assert torch.equal(before["inputs"], after["inputs"])
    assert torch.equal(before["aspect"], after["aspect"])
    assert len(uncached.fetch(torch.tensor([0]))["index"]) == 0
    save(tmp_path / "a.png")
    monkeypatch.setattr(files, "CACHE_BYTES", 3 * 32 * 32 - 1)
    assert not read(tmp_path).cache


def test_subsets_of_files(tmp_path: Path):
    for i in range(6):
        save(tmp_path / ("even" if i % 2 == 0 else "odd") / f"{i}.png", color=(40 * i, 0, 0))
    dataset = read(tmp_path)
    part = dataset.subset(torch.tensor([4, 0]))
    assert isinstance(part, ImageFiles)
    assert list(part.ids) == ["odd/3.png", "even/0.png"]
    batch = everything(part)
    assert batch["inputs"][:, 0, 0, 0].tolist() == [120, 0]
    assert batch["label"].tolist() == [1, 0]
    assert part.spec["samples"] == 2


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_datasets_pass_through():
    dataset = ImageArrays(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    assert read(dataset) is dataset
    assert read(dataset, size=8) is dataset
    with pytest.raises(ConfigError, match="already read at 8"):
        read(dataset, size=16)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("https://example.org/pictures", "addresses are not read"),
        ([], "an empty list"),
        (3, "cannot read pictures from a int"),
    ],
)
def test_sources_that_are_none(source: Any, message: str):
    with pytest.raises(DataError, match=message):
        read(source)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("set.pkl", "unpickling"),
        ("set.tar.gz", "unpack it"),
        ("set.zip", "unpack it"),
        ("set.xyz", r"\.xyz are not read"),
    ],
)
def test_files_that_are_not_read(tmp_path: Path, name: str, message: str):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize("size", [0, 5000, 2.5, True])
def test_sizes_out_of_range(size: Any):
    with pytest.raises(ConfigError, match="whole number of pixels"):
        read(np.zeros((2, 8, 8)), size=size)


def test_labels_of_all_kinds():
    assert encode_labels([2, 0, None, -1], "y")[0].tolist() == [2, 0, -1, -1]
    assert encode_labels([2.0, float("nan")], "y")[0].tolist() == [2, -1]
    labels, names = encode_labels(["b", "", "a"], "y")
    assert (labels.tolist(), names) == ([1, -1, 0], ["a", "b"])
    labels, names = encode_labels([10**9, 7, 10**9], "y")
    assert (labels.tolist(), names) == ([1, 0, 1], ["7", "1000000000"])
    assert encode_labels([True, False], "y")[1] == ["False", "True"]
    with pytest.raises(DataError, match=r"y hold 0\.5"):
        encode_labels([0.5], "y")
    with pytest.raises(DataError, match="y hold a list"):
        encode_labels([[1]], "y")


def test_the_summary_states_what_was_read():
    dataset = read((noise(6, 8, 8), np.array([0, 0, 0, 0, 1, 1])))
    assert summary(dataset) == "6 pictures, 8 × 8, grey. 2 classes, from the labels in the array; 2-4 pictures a class."
    assert summary(read(noise(1200, 4, 4, 3))) == "1,200 pictures, 4 × 4, RGB. No labels."
