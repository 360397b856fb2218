"""Sources other than folders: arrays, IDX, tables and Hugging Face datasets."""

from __future__ import annotations

import gzip
import io
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from twofold.errors import DataError
from twofold.modalities.image.data import read, summary


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, *, width: int = 40, height: int = 40, color: Any = (200, 30, 60), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), color).save(path)
    return path


def encoded(color: Any = (200, 30, 60), size: tuple[int, int] = (40, 40), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return buffer.getvalue()


def everything(dataset: Any) -> dict[str, Any]:
    return dataset.fetch(torch.arange(len(dataset)))


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 12, 12, 3), (5, 3, 12, 12)])
def test_layouts_of_arrays(shape: tuple[int, ...]):
    pixels = noise(*shape)
    expected = pixels.transpose(0, 3, 1, 2) if shape[-1] == 3 else pixels
    for source in (pixels, torch.from_numpy(pixels), pixels.astype(np.int32), pixels / 255, pixels.astype(np.uint16)):
        assert np.array_equal(everything(read(source))["inputs"].numpy(), expected)


def test_ambiguous_layouts_follow_the_library():
    pixels = noise(2, 3, 3, 3)
    assert np.array_equal(everything(read(torch.from_numpy(pixels)))["inputs"].numpy(), pixels)
    assert np.array_equal(everything(read(pixels))["inputs"].numpy(), pixels.transpose(0, 3, 1, 2))


def test_grey_boolean_and_transparent_arrays():
    assert read(noise(4, 8, 8)).spec["channels"] == 1
    assert everything(read(np.eye(4, dtype=bool)[None]))["inputs"].unique().tolist() == [0, 255]
    clear = np.zeros((2, 8, 8, 4), np.uint8)
    assert (everything(read(clear))["inputs"] == 255).all()
    assert read(clear).spec["channels"] == 3


def test_arrays_are_squashed_and_resized():
    wide = np.zeros((2, 8, 16), np.uint8)
    wide[:, :, 8:] = 200
    dataset = read(wide)
    batch = everything(dataset)
    assert dataset.spec["size"] == 8
    assert batch["aspect"].tolist() == [2, 2]
    assert batch["inputs"][0, 0, :, 0].tolist() == [0] * 8
    assert batch["inputs"][0, 0, :, -1].tolist() == [200] * 8
    assert everything(read(wide, size=4))["inputs"].shape == (2, 1, 4, 4)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 8, 8, 2)), r"shape \(2, 8, 8, 2\)"),
        (np.zeros((5, 784)), "Reshape flattened"),
        (np.zeros((0, 8, 8)), "is empty"),
        (np.full((2, 8, 8), 16.0), r"floats 16\.\.16; pictures need \[0, 1\]"),
        (np.full((2, 8, 8), np.nan), "NaN"),
        (np.full((2, 8, 8), 300), r"integers 300\.\.300"),
        (np.array([[["a"]]]), "has type <U1"),
        (np.array([None, 3], dtype=object), "Python objects"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        read(array)


def test_pairs_of_images_and_labels():
    dataset = read((noise(4, 8, 8), np.array(["b", "a", "b", "c"])))
    assert dataset.labels.tolist() == [1, 0, 1, 2]
    assert dataset.class_names == ["a", "b", "c"]
    one_hot = read((noise(3, 8, 8), np.eye(3)[[2, 0, 1]]))
    assert one_hot.labels.tolist() == [2, 0, 1]
    with pytest.raises(DataError, match=r"shape \(3,\); 4 images"):
        read((noise(4, 8, 8), np.zeros(3)))


def test_lists_of_pil_pictures():
    grey = [Image.new("L", (20, 10), i) for i in range(3)]
    dataset = read(grey)
    assert dataset.spec["channels"] == 1
    assert dataset.spec["size"] == 10
    assert everything(dataset)["aspect"].tolist() == [2, 2, 2]
    assert read([*grey, Image.new("RGB", (9, 9))], size=4).spec["channels"] == 3
    with pytest.raises(DataError, match="only paths or only PIL pictures, this one holds: Image, str"):
        read([grey[0], "a.png"])


def test_array_files(tmp_path: Path):
    pixels, labels = noise(6, 10, 10, 3), np.arange(6) % 2
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "plain.npz", images=pixels, labels=labels)
    np.savez_compressed(
        tmp_path / "keras.npz", x_train=pixels, y_train=labels[:, None], x_test=pixels[:2], y_test=[1, 0]
    )
    np.savez(
        tmp_path / "med.npz", train_images=pixels, train_labels=labels, val_images=pixels[:3], val_labels=labels[:3]
    )
    assert read(tmp_path / "a.npy").labels is None
    for name in ("plain.npz", "keras.npz", "med.npz"):
        dataset = read(tmp_path / name)
        assert dataset.labels.tolist() == labels.tolist(), name
        assert torch.equal(everything(dataset)["inputs"], torch.from_numpy(pixels).movedim(3, 1))
    assert read(tmp_path / "keras.npz", split="test").labels.tolist() == [1, 0]
    assert len(read(tmp_path / "med.npz", split="val")) == 3
    with pytest.raises(DataError, match=r"no images of split 'val'.*x_train"):
        read(tmp_path / "keras.npz", split="val")


def test_safetensors_files(tmp_path: Path):
    from safetensors.numpy import save_file

    save_file({"images": noise(4, 3, 8, 8), "labels": np.arange(4)}, tmp_path / "set.safetensors")
    assert read(tmp_path / "set.safetensors").labels.tolist() == [0, 1, 2, 3]
    (tmp_path / "set.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="not a safetensors file"):
        read(tmp_path / "set.safetensors")


def test_object_arrays_are_never_unpickled(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "set.npz", images=np.array([Trap()], dtype=object))
    np.save(tmp_path / "set.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    for name in ("set.npz", "set.npy"):
        with pytest.raises(DataError, match=r"Python objects.*Where you trust the file, load it yourself"):
            read(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_damaged_array_files(tmp_path: Path):
    for name in ("a.npy", "a.npz"):
        (tmp_path / name).write_bytes(b"\x93NUMPY\x01\x00 and then nothing")
        with pytest.raises(DataError, match=r"damaged|not read"):
            read(tmp_path / name)
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(DataError, match="it holds: weights"):
        read(tmp_path / "other.npz")


# --- IDX --------------------------------------------------------------------------------------------------------------


def write_idx(path: Path, array: np.ndarray) -> None:
    content = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_idx_folders_as_mnist_ships(tmp_path: Path):
    train, test = noise(6, 28, 28), noise(2, 28, 28, seed=1)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", train)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.arange(6, dtype=np.uint8))
    write_idx(tmp_path / "t10k-images-idx3-ubyte", test)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.array([3, 4], np.uint8))
    dataset = read(tmp_path)
    assert torch.equal(everything(dataset)["inputs"], torch.from_numpy(train)[:, None])
    assert dataset.labels.tolist() == list(range(6))
    assert "train-images-idx3-ubyte.gz" in summary(dataset)
    assert read(tmp_path, split="test").labels.tolist() == [3, 4]
    assert len(read(tmp_path / "t10k-images-idx3-ubyte")) == 2
    with pytest.raises(DataError, match="no IDX images of split 'val'"):
        read(tmp_path, split="val")


def test_idx_without_labels(tmp_path: Path):
    write_idx(tmp_path / "images-idx3-ubyte", noise(3, 8, 8))
    dataset = read(tmp_path)
    assert dataset.labels is None
    assert "no label file" in summary(dataset)


def test_damaged_idx_files(tmp_path: Path):
    path = tmp_path / "train-images-idx3-ubyte"
    write_idx(path, noise(3, 8, 8))
    whole = path.read_bytes()
    for content, message in [
        (whole[:-5], "promises 192 bytes.*holds 187"),
        (whole + b"x", "holds more"),
        (b"\x00\x00\x0d" + whole[3:], "not an IDX file of unsigned bytes"),
        (whole[:6], "cut short"),
        (struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**10, 2**10), "promises 2,251,799,813,685,248 bytes"),
    ]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read(path)
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(DataError, match="damaged or cut short"):
        read(packed)


# --- tables -----------------------------------------------------------------------------------------------------------


def arrow_table(count: int = 5, **more: Any) -> Any:
    import pyarrow as pa

    cells = [{"bytes": encoded((10 * i, 0, 0)), "path": None} for i in range(count)]
    return pa.table({"image": cells, "label": [i % 2 for i in range(count)], **more})


def test_parquet_round_trip(tmp_path: Path):
    import pyarrow.parquet as pq

    pq.write_table(arrow_table(), tmp_path / "train-00000-of-00002.parquet")
    pq.write_table(arrow_table(3), tmp_path / "train-00001-of-00002.parquet")
    pq.write_table(arrow_table(2), tmp_path / "test-00000-of-00001.parquet")
    dataset = read(tmp_path)
    assert everything(dataset)["inputs"][:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 0, 10, 20]
    assert dataset.labels.tolist() == [0, 1, 0, 1, 0, 0, 1, 0]
    assert len(read(tmp_path, split="test")) == 2
    assert len(read(tmp_path / "test-00000-of-00001.parquet")) == 2
    with pytest.raises(DataError, match="no Parquet files whose names start with 'val'"):
        read(tmp_path, split="val")


def test_parquet_columns_and_types(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "set.parquet"
    pq.write_table(pa.table({"photo_of_it": [encoded(), encoded()], "kind": ["x", None], "n": [1, 2]}), path)
    dataset = read(path, label_column="kind")  # the only column of bytes is found without a name
    assert dataset.labels.tolist() == [0, -1]
    assert dataset.class_names == ["x"]
    with pytest.raises(DataError, match=r"no column 'foto' \(column=\); it has: photo_of_it, kind, n"):
        read(path, column="foto")
    with pytest.raises(DataError, match="'n' has type int64; pictures are encoded bytes"):
        read(path, column="n")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="damaged"):
        read(path)


def test_parquet_with_unusable_cells(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"image": [encoded(), None, b"", b"junk", encoded(), encoded(), encoded()]}), tmp_path / "s.parquet"
    )
    dataset = read(tmp_path / "s.parquet")
    assert everything(dataset)["index"].tolist() == [0, 4, 5, 6]
    assert dataset.skipped["row 1"] == "empty cell"


@pytest.mark.parametrize(("name", "delimiter"), [("set.csv", ","), ("set.csv", ";"), ("set.tsv", "\t")])
def test_text_tables(tmp_path: Path, name: str, delimiter: str):
    for color, file in ((0, "a.png"), (100, "b.png")):
        save(tmp_path / "pictures" / file, color=(color, 0, 0))
    rows = [("path", "class"), ("pictures/a.png", "frog"), ("pictures/b.png", "eel")]
    (tmp_path / name).write_text("\ufeff" + "\n".join(delimiter.join(row) for row in rows), encoding="utf-8")
    dataset = read(tmp_path / name)
    assert everything(dataset)["inputs"][:, 0, 0, 0].tolist() == [0, 100]
    assert dataset.class_names == ["eel", "frog"]
    assert dataset.labels.tolist() == [1, 0]
    assert "from column 'class'" in summary(dataset)


def test_json_lines(tmp_path: Path):
    save(tmp_path / "a.png")
    path = tmp_path / "set.jsonl"
    path.write_text('{"file_name": "a.png", "label": 3}\n\n{"file_name": "a.png", "label": 0}\n')
    assert read(path).labels.tolist() == [3, 0]
    path.write_text('{"file_name": "a.png"}\n{oops\n')
    with pytest.raises(DataError, match="line 2: not JSON"):
        read(path)
    path.write_text('{"file_name": 3}\n')
    with pytest.raises(DataError, match="row 1: column 'file_name' holds 3, not the path"):
        read(path)
    path.write_text('{"a": 3}\n')
    with pytest.raises(DataError, match=r"which column holds the pictures.*there are: a"):
        read(path)
    path.write_text("")
    with pytest.raises(DataError, match="no rows"):
        read(path)


# --- Hugging Face -----------------------------------------------------------------------------------------------------


def hub_dataset(count: int = 4) -> Any:
    import datasets

    pictures = [Image.new("RGB", (40, 40), (20 * i, 0, 0)) for i in range(count)]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    return datasets.Dataset.from_dict({"img": pictures, "label": [i % 2 for i in range(count)]}, features=features)


def test_hugging_face_objects_and_folders(tmp_path: Path):
    import datasets

    dataset = hub_dataset()
    dataset.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": dataset, "validation": hub_dataset(2)}).save_to_disk(str(tmp_path / "both"))
    dataset.to_parquet(str(tmp_path / "set.parquet"))
    for source in (dataset, tmp_path / "one", tmp_path / "both", tmp_path / "set.parquet"):
        got = read(source)
        assert everything(got)["inputs"][:, 0, 0, 0].tolist() == [0, 20, 40, 60]
        assert got.labels.tolist() == [0, 1, 0, 1]
        assert got.class_names == ["cat", "dog"]
    assert len(read(tmp_path / "both", split="val")) == 2
    assert "read split 'train'" in summary(read(tmp_path / "both"))
    with pytest.raises(DataError, match="no split 'test'; it has: train, validation"):
        read(tmp_path / "both", split="test")
    with pytest.raises(DataError, match="streaming"):
        read(dataset.to_iterable_dataset())


def test_hugging_face_rows_from_threads():
    dataset = read(hub_dataset(8).select([7, 3, 5, 1, 0]), cache=False)
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda _: everything(dataset), range(8)))
    assert all(batch["inputs"][:, 0, 0, 0].tolist() == [140, 60, 100, 20, 0] for batch in batches)
