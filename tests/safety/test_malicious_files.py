"""Data files and checkpoints that were made to do harm: refused with the safe way named; nothing of theirs runs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from payloads import Payload, torch_bytes
from PIL import Image

import twofold
from twofold.errors import DataError, RunError
from twofold.modalities.image.data import read
from twofold.training import checkpoint
from twofold.training.files import read_json, write_json


def test_the_payloads_work(tmp_path: Path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "sprung")))  # noqa: S301 - our own
    assert (tmp_path / "sprung").exists()


# Pickles --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".pt", ".pth", ".joblib"])
def test_pickles_as_data(payload: Payload, tmp_path: Path, suffix: str):
    path = tmp_path / f"set{suffix}"
    path.write_bytes(pickle.dumps({"images": payload}))
    with pytest.raises(DataError, match=r"unpickling a file can run any code.*np\.savez"):
        read(path)


@pytest.mark.parametrize("write", [np.save, np.savez, lambda path, array: np.savez(path, images=array)])
def test_arrays_of_objects(payload: Payload, tmp_path: Path, write: Callable[..., None]):
    suffix = ".npy" if write is np.save else ".npz"
    write(tmp_path / f"set{suffix}", np.array([payload, payload], dtype=object))
    with pytest.raises(DataError, match=r"Python objects.*Where you trust the file, load it yourself"):
        read(tmp_path / f"set{suffix}")


def test_labels_of_objects(payload: Payload, tmp_path: Path):
    np.savez(tmp_path / "set.npz", images=np.zeros((2, 8, 8), np.uint8), labels=np.array([payload] * 2, dtype=object))
    with pytest.raises(DataError, match="Python objects"):
        read(tmp_path / "set.npz")


@pytest.mark.parametrize(
    "name", ["a.npy", "a.npz", "a.safetensors", "a.parquet", "images-idx3-ubyte", "a.png", "a.csv"]
)
@pytest.mark.parametrize("dump", [pickle.dumps, lambda value: torch_bytes(value)], ids=["pickle", "torch"])
def test_pickles_under_other_names(payload: Payload, tmp_path: Path, name: str, dump: Callable[[Any], bytes]):
    (tmp_path / name).write_bytes(dump({"images": payload}))
    with pytest.raises(DataError, match=str(tmp_path)):
        read(tmp_path / name)


def test_a_pickle_as_weights(payload: Payload, saved: Path):
    (saved / "model.safetensors").write_bytes(torch_bytes({"encoder.mean": payload}))
    with pytest.raises(DataError, match=r"model\.safetensors does not hold.*Only safetensors files are read"):
        twofold.load(saved)


# Checkpoints ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved_checkpoint(tmp_path: Path) -> Path:
    state = {"w": torch.ones(2)}
    return checkpoint.save(tmp_path / "run", 3, model=state, optimizer={"state": {}}, meta={})


def sign(folder: Path, **entries: Any) -> None:
    """Put all checksums of a checkpoint right, as whoever made it can."""
    body = read_json(folder / "meta.json") | entries
    del body["sha256"]
    body["files"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() if (folder / name).is_file() else "0" * 64
        for name in body["files"]
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    write_json(folder / "meta.json", body | {"sha256": digest})


@pytest.mark.parametrize("dump", [pickle.dumps, torch_bytes], ids=["pickle", "torch"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_as_optimizer_state(payload: Payload, saved_checkpoint: Path, dump: Callable[[Any], bytes]):
    (saved_checkpoint / "optimizer.pt").write_bytes(dump({"state": payload}))
    sign(saved_checkpoint)
    found = checkpoint.latest(saved_checkpoint.parents[1])
    assert found is not None, "the checksums of this test are wrong"
    with pytest.raises(RunError, match=r"optimizer\.pt cannot be read safely"):
        found.optimizer()


def test_a_pickle_as_weights_of_a_checkpoint(payload: Payload, saved_checkpoint: Path):
    (saved_checkpoint / "model.safetensors").write_bytes(torch_bytes({"w": payload}))
    sign(saved_checkpoint)
    with pytest.raises(RunError, match=r"model\.safetensors cannot be read"):
        checkpoint.load(saved_checkpoint).model()


@pytest.mark.parametrize("name", ["../../secret", "/etc/hostname", "sub/file", ".."])
def test_checkpoints_list_only_their_own_files(saved_checkpoint: Path, name: str):
    (saved_checkpoint.parents[1] / "secret").write_text("x")
    (saved_checkpoint / "sub").mkdir()
    (saved_checkpoint / "sub" / "file").write_text("x")
    meta = read_json(saved_checkpoint / "meta.json")
    sign(saved_checkpoint, files=meta["files"] | {name: ""})
    with pytest.raises(RunError, match="is damaged"):
        checkpoint.load(saved_checkpoint)


# Hugging Face data sets -----------------------------------------------------------------------------------------------


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def dataset_folder(tmp_path: Path) -> Path:
    import pyarrow as pa

    folder = tmp_path / "data" / "set"
    folder.mkdir(parents=True)
    table = pa.table({"image": [png()] * 3, "label": [0, 1, 0]})
    with pa.ipc.new_stream(str(folder / "part.arrow"), table.schema) as stream:
        stream.write_table(table)
    write_json(folder / "state.json", {"_data_files": [{"filename": "part.arrow"}]})
    return folder


@pytest.mark.parametrize("name", ["../outside.arrow", "/etc/hostname", "sub/part.arrow", "..", "", None, 3, "a\x00b"])
def test_data_sets_that_lead_out_of_their_folder(dataset_folder: Path, name: Any):
    assert read(dataset_folder).labels.tolist() == [0, 1, 0]
    shutil.copy(dataset_folder / "part.arrow", dataset_folder.parent / "outside.arrow")
    (dataset_folder / "sub").mkdir()
    shutil.copy(dataset_folder / "part.arrow", dataset_folder / "sub" / "part.arrow")
    write_json(dataset_folder / "state.json", {"_data_files": [{"filename": name}]})
    with pytest.raises(DataError, match=r"no name of a file beside it|damaged"):
        read(dataset_folder)
    whole = {"splits": [name]}
    write_json(dataset_folder / "dataset_dict.json", whole)
    with pytest.raises(DataError, match=str(dataset_folder)):
        read(dataset_folder)


def test_types_of_arrow_that_unpickle(payload: Payload, dataset_folder: Path):
    import pyarrow as pa

    extension = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(payload),
    }
    field = pa.field("image", pa.binary(), metadata=extension)
    table = pa.table([pa.array([png()] * 3)], schema=pa.schema([field]))
    with pa.ipc.new_stream(str(dataset_folder / "part.arrow"), table.schema) as stream:
        stream.write_table(table)
    assert len(read(dataset_folder)) == 3  # an unknown type is read as what it is stored as


def test_compressed_batches_are_not_unpacked(dataset_folder: Path):
    import pyarrow as pa

    table = pa.table({"image": [png()] * 3})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(str(dataset_folder / "part.arrow"), table.schema, options=options) as stream:
        stream.write_table(table)
    with pytest.raises(DataError, match=r"compressed; load it with datasets\.load_from_disk"):
        read(dataset_folder)


@pytest.mark.parametrize("state", ["{", "[]", '{"_data_files": 3}', '{"_data_files": []}', "[" * 100_000, "{}"])
def test_states_that_are_none(dataset_folder: Path, state: str):
    (dataset_folder / "state.json").write_text(state)
    with pytest.raises(DataError, match=r"state\.json"):
        read(dataset_folder)


# Archives and special files -------------------------------------------------------------------------------------------


def test_archives_are_not_unpacked(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("../../escaped.png", png())
    with pytest.raises(DataError, match="is an archive; unpack it"):
        read(tmp_path / "set.zip")


def test_names_in_an_npz_are_no_paths(tmp_path: Path):
    file = io.BytesIO()
    np.save(file, np.zeros((2, 8, 8), np.uint8))
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        archive.writestr("../../images.npy", file.getvalue())
    with pytest.raises(DataError, match="has no images under a name that is known"):
        read(tmp_path / "set.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("name", ["a.png", "a.csv", "a.npy", "a.parquet"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="pipe"):
        read(tmp_path / name)
    with pytest.raises(DataError, match=str(tmp_path)):
        read(tmp_path)


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/stdin", "/", "a.png\x00", "x" * 5000, "\ud800", "~", "a" * 300])
def test_tables_that_name_what_is_no_picture(tmp_path: Path, name: str):
    (tmp_path / "set.jsonl").write_text(json.dumps({"file_name": name}))
    with pytest.raises(DataError, match=r"none of the 1 pictures tried could be opened"):
        read(tmp_path / "set.jsonl")


def test_drawings_with_code_are_no_pictures(tmp_path: Path):
    (tmp_path / "a.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(harm) run\n")
    (tmp_path / "b.png").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>harm()</script></svg>')
    with pytest.raises(DataError, match="not a picture in a known format"):
        read(tmp_path)
    (tmp_path / "c.svg").write_text("<svg/>")
    with pytest.raises(DataError, match=r"files ending in \.svg are not read"):
        read(tmp_path / "c.svg")
