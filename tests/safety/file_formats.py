"""Small valid files of every format that is read, and what must hold of a file that was read.

A format is one line of :data:`FORMATS`: what makes the files of a valid source, which of them is read, which are
spoilt, and the reader. Another modality adds its own lines.
"""

from __future__ import annotations

import gzip
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clips_of_files import animation as moving_picture
from clips_of_files import clips as clips_npz
from clips_of_files import film, read_clips
from events_of_files import CSV as EVENTS_CSV
from events_of_files import EVENTS, INTER, LISTS, read_events
from events_of_files import parquet as parquet_of_events
from graph_files import graph_npz, graph_tables, graph_text, read_graphs, sparse_npz
from hetero_files import hetero_folder, read_hetero
from hypothesis import strategies as st
from pairs_of_files import listed, of_one_name, read_pairs, resealed, shard, table
from rows_of_tables import ROWS_CSV, read_rows, rows_jsonl, rows_parquet
from series_of_files import LONG, TS, ragged, read_series, ts_texts
from shapes_and_sounds import clouds, obj, off, ply, read_clouds, read_sounds, sound, stl, xyz
from structured_text import changed_json, csv_tables, json_tables
from texts_of_files import CSV as TEXTS_CSV
from texts_of_files import JSONL as TEXTS_JSONL
from texts_of_files import TXT, parquet_of_texts, read_texts, retrieval_set

import twofold
from twofold.modalities.image import data

Files = dict[str, bytes]
"""Path below the source's folder → content."""


@dataclass(frozen=True)
class Format:
    """A kind of file under fuzzing.

    Attributes:
        files: Makes a valid source, as small as it can be.
        source: Which of the files is read; "." is the folder of them.
        spoilt: Which of them are spoilt, one at a time.
        read: Reads a source and everything in it, and checks what it promises.
        text: A strategy for whole contents that are made from parts instead of spoilt.
        seal: Applied to each content when it is written: puts checksums right or compresses, so that what is spoilt
            lies behind them.
    """

    files: Callable[[], Files]
    source: str
    spoilt: tuple[str, ...]
    read: Callable[[Path], None]
    text: st.SearchStrategy[bytes] | None = None
    seal: Callable[[bytes], bytes] = bytes

    def write(self, folder: Path, changed: Files) -> Path:
        """Write the files, some of them with other content; the path that is to be read."""
        for name, content in (self.files() | changed).items():
            (folder / name).write_bytes(self.seal(content))
        return folder / self.source


def read_pictures(source: Path) -> None:
    """Read pictures, fetch all of them, and check what the contract of data sets promises."""
    dataset: Any = data.read(source)
    batch = dataset.fetch(torch.arange(len(dataset)))
    inputs, index = batch["inputs"], batch["index"]
    assert inputs.dtype == torch.uint8
    assert inputs.shape == (len(index), dataset.spec["channels"], dataset.spec["size"], dataset.spec["size"])
    assert index.dtype == torch.int64
    assert len(index) + len(dataset.skipped) >= len(set(dataset.ids)) > 0
    if "aspect" in batch:
        assert bool((torch.isfinite(batch["aspect"]) & (batch["aspect"] > 0)).all())
    if dataset.labels is not None:
        assert dataset.labels.dtype == torch.int64
        assert len(dataset.labels) == len(dataset)
        assert int(dataset.labels.min()) >= -1
        assert dataset.class_names is None or int(dataset.labels.max()) < len(dataset.class_names)
    shown = [dataset.spec, dataset.class_names, list(dataset.ids), dataset.skipped, data.summary(dataset)]
    json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()


def pixels(*shape: int) -> np.ndarray:
    """Noise, always the same."""
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """A picture of 9 × 7 pixels."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels(7, 9, 3)).convert(mode).save(file, kind, **options)
    return file.getvalue()


def with_metadata() -> bytes:
    """A PNG with a palette, compressed text, a colour profile, EXIF and transparency."""
    from PIL import Image, PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "words " * 30, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture("PNG", "P", pnginfo=info, icc_profile=b"profile " * 9, exif=exif, transparency=0)


def animation() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    frames = [Image.fromarray(pixels(7, 9, 3) // (i + 1)).convert("P") for i in range(3)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def jpeg() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 3
    return picture("JPEG", exif=exif)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x_train=pixels(4, 7, 9), y_train=np.array(["a", "b", "a", "c"]), x_test=pixels(1, 7, 9))
    return file.getvalue()


def safetensors() -> bytes:
    from safetensors.numpy import save

    return save({"images": pixels(4, 7, 9, 3), "labels": np.arange(4)})


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def arrow_table() -> Any:
    import pyarrow as pa

    cells = [{"bytes": picture("PNG"), "path": None}, {"bytes": picture("JPEG"), "path": "a.jpg"}] * 2
    names = {"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}
    table = pa.table({"image": cells, "label": [0, 1, 1, None]})
    return table.replace_schema_metadata({"huggingface": json.dumps(names)})


def parquet() -> bytes:
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(arrow_table(), file, row_group_size=3)
    return file.getvalue()


def saved_dataset() -> Files:
    """As `datasets.Dataset.save_to_disk` writes it, without the library."""
    import pyarrow as pa

    file = io.BytesIO()
    table = arrow_table()
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    state: dict[str, Any] = {
        "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
        "_fingerprint": "5a2f7d813bd4533a",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    return {"data-00000-of-00001.arrow": file.getvalue(), "state.json": json.dumps(state).encode()}


CSV = 'file_name,label\r\na.png,cat\r\n"a.png",dog\r\nb.jpg,\r\n'
JSONL = '{"file_name": "a.png", "label": "cat"}\n{"file_name": "b.jpg", "label": 3, "box": [1, {"x": null}]}\n'


@cache
def saved_recipe() -> Files:
    """What `Recipe.save` writes."""
    spec = {"modality": "image", "channels": 1, "size": 8, "mean": [0.5], "std": [0.3], "samples": 64}
    recipe = twofold.MoCoV2(encoder="convnet-w2", queue_size=8, hidden_dim=4, projection_dim=4).build(spec)
    with tempfile.TemporaryDirectory() as folder:
        recipe.save(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def load_recipe(folder: Path) -> None:
    """Load a recipe and use it."""
    recipe = twofold.load(folder)
    spec = recipe.built_spec
    pictures = torch.zeros(2, spec["channels"], spec["size"], spec["size"])
    assert recipe.encode(pictures).shape == (2, recipe.encoder.dim)


def of_json(files: Callable[[], Files], read: Callable[[Path], None], *spoilt: str) -> Format:
    """A folder whose first file is JSON, of which values are replaced too."""
    text = st.deferred(lambda: changed_json(json.loads(files()[spoilt[0]])))
    return Format(files, ".", spoilt, read, text)


def alone(
    name: str,
    make: Callable[[], bytes],
    seal: Callable[[bytes], bytes] = bytes,
    read: Callable[[Path], None] | None = None,
) -> Format:
    """A format whose source is one file, which is spoilt."""
    return Format(cache(lambda: {name: make()}), name, (name,), read or read_pictures, seal=seal)


def beside_pictures(name: str, valid: str, text: st.SearchStrategy[bytes]) -> Format:
    """A table of text, with the pictures that it names."""
    make = cache(lambda: {name: valid.encode(), "a.png": picture("PNG"), "b.jpg": picture("JPEG")})
    return Format(make, name, (name,), read_pictures, text)


def idx_pair(ending: str, seal: Callable[[bytes], bytes] = bytes, packed: Callable[[bytes], bytes] = bytes) -> Format:
    images, labels = f"train-images-idx3-ubyte{ending}", f"train-labels-idx1-ubyte{ending}"
    make = cache(lambda: {images: packed(idx(pixels(3, 7, 9))), labels: packed(idx(pixels(3) % 10))})
    return Format(make, images, (images, images, labels), read_pictures, seal=seal)


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
    return file.getvalue()


def with_checksums(content: bytes) -> bytes:
    """A PNG whose chunks have right checksums, as far as their lengths lead."""
    out, place = bytearray(content), 8
    while place + 12 <= len(out):
        end = place + 8 + int.from_bytes(out[place : place + 4], "big")
        out[end : end + 4] = zlib.crc32(out[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(out)


FORMATS: dict[str, Format] = {
    "png": alone("a.png", with_metadata),
    "png-checksums": alone("a.png", with_metadata, with_checksums),
    "png-16bit": alone("a.png", lambda: picture("PNG", "I;16")),
    "jpeg": alone("a.jpg", jpeg),
    "gif": alone("a.gif", animation),
    "bmp": alone("a.bmp", lambda: picture("BMP")),
    "webp": alone("a.webp", lambda: picture("WEBP")),
    "tiff": alone("a.tiff", lambda: picture("TIFF")),
    "tiff-packed": alone("a.tif", lambda: picture("TIFF", compression="tiff_lzw")),
    "npy": alone("a.npy", lambda: npy(pixels(4, 7, 9, 3))),
    "npy-float": alone("a.npy", lambda: npy(pixels(4, 7, 9) / 255)),
    "npz": alone("a.npz", npz),
    "npy-in-npz": alone("a.npz", lambda: npy(pixels(4, 7, 9, 3)), zipped),
    "safetensors": alone("a.safetensors", safetensors),
    "idx": idx_pair(""),
    "idx.gz": idx_pair(".gz", packed=gzipped),
    "idx-in-gz": idx_pair(".gz", seal=gzipped),
    "parquet": alone("a.parquet", parquet),
    "csv": beside_pictures("a.csv", CSV, csv_tables()),
    "tsv": beside_pictures("a.tsv", CSV.replace(",", "\t"), csv_tables()),
    "jsonl": beside_pictures("a.jsonl", JSONL, json_tables()),
    "saved dataset": of_json(cache(saved_dataset), read_pictures, "state.json", "data-00000-of-00001.arrow"),
    "saved recipe": of_json(saved_recipe, load_recipe, "config.json", "model.safetensors"),
    "ply": alone("a.ply", lambda: ply(binary=False), read=read_clouds),
    "ply-binary": alone("a.ply", lambda: ply(binary=True), read=read_clouds),
    "ply-colours": alone("a.ply", lambda: ply(binary=True, colours=True), read=read_clouds),
    "off": alone("a.off", off, read=read_clouds),
    "obj": alone("a.obj", obj, read=read_clouds),
    "stl": alone("a.stl", stl, read=read_clouds),
    "xyz": alone("a.xyz", xyz, read=read_clouds),
    "npz-clouds": alone("a.npz", clouds, read=read_clouds),
    "wav": alone("a.wav", lambda: sound("WAV"), read=read_sounds),
    "wav-float": alone("a.wav", lambda: sound("WAV", "FLOAT"), read=read_sounds),
    "flac": alone("a.flac", lambda: sound("FLAC"), read=read_sounds),
    "ogg": alone("a.ogg", lambda: sound("OGG"), read=read_sounds),
    "pairs-csv": Format(cache(listed), ".", ("metadata.csv", "1.png"), read_pairs),
    "pairs-stems": Format(cache(of_one_name), ".", ("0.png", "0.txt"), read_pairs),
    "pairs-shard": alone("a.tar", shard, read=read_pairs),
    "pairs-shard-resealed": alone("a.tar", shard, resealed, read=read_pairs),
    "pairs-parquet": alone("a.parquet", table, read=read_pairs),
    "txt": alone("a.txt", TXT.encode, read=read_texts),
    "texts-csv": alone("a.csv", TEXTS_CSV.encode, read=read_texts),
    "texts-jsonl": alone("a.jsonl", TEXTS_JSONL.encode, read=read_texts),
    "texts-parquet": alone("a.parquet", parquet_of_texts, read=read_texts),
    "retrieval set": Format(cache(retrieval_set), ".", ("corpus.jsonl",), read_texts),
    "graph-npz": alone("a.npz", graph_npz, read=read_graphs),
    "graph-npz-sparse": alone("a.npz", sparse_npz, read=read_graphs),
    "graph-tables": Format(graph_tables, ".", ("edges.csv", "nodes.csv"), read_graphs),
    "graph-text": alone("a.txt", graph_text, read=read_graphs),
    "hetero-folder": Format(
        hetero_folder, ".", ("labels.npy", "p_feat.npz", "pa.txt", "pxp.npz", "test_1.npy"), read_hetero
    ),
    "ts": Format(lambda: {"a.ts": TS.encode()}, "a.ts", ("a.ts",), read_series, ts_texts()),
    "series-csv": alone("a.csv", LONG.encode, read=read_series),
    "series-npz": alone("a.npz", ragged, read=read_series),
    "mp4": alone("a.mp4", lambda: film("mp4", "libx264"), read=read_clips),
    "webm": alone("a.webm", lambda: film("webm", "libvpx-vp9"), read=read_clips),
    "avi": alone("a.avi", lambda: film("avi", "mpeg4"), read=read_clips),
    "gif-animation": alone("a.gif", lambda: moving_picture("GIF"), read=read_clips),
    "webp-animation": alone("a.webp", lambda: moving_picture("WEBP"), read=read_clips),
    "npz-clips": alone("a.npz", clips_npz, read=read_clips),
    "events-csv": alone("a.csv", EVENTS_CSV.encode, read=read_events),
    "events-inter": alone("a.inter", INTER.encode, read=read_events),
    "events-txt": alone("a.txt", EVENTS.encode, read=read_events),
    "events-lists": alone("a.txt", LISTS.encode, read=read_events),
    "events-parquet": alone("a.parquet", parquet_of_events, read=read_events),
    "rows-csv": alone("a.csv", ROWS_CSV.encode, read=read_rows),
    "rows-jsonl": alone("a.jsonl", rows_jsonl, read=read_rows),
    "rows-parquet": alone("a.parquet", rows_parquet, read=read_rows),
}
"""Every format that is read. Of another modality: a line for each of its formats, with a reader of its own."""
