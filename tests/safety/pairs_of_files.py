"""Small valid files of pairs, and what must hold of those that were read."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

WORDS = ("a cat", "two dogs", "no owl")
LISTING = 'file_name,text,label\r\n0.png,a cat,x\r\n"1.png","two, dogs",y\r\n2.png,no owl,x\r\n'


def read_pairs(source: Path) -> None:
    """Read pairs and everything in them."""
    from twofold.modalities.paired import MODALITY

    dataset: Any = MODALITY.read(source, first="image:size=8", second="text:length=8")
    batch = dataset.fetch(torch.arange(len(dataset)))
    count = len(batch["index"])
    assert batch["inputs"]["first"].shape == (count, 3, 8, 8)
    assert len(batch["inputs"]["second"]) == count
    assert count + len(dataset.skipped) >= len(dataset) > 0
    assert len(dataset.keys) == len(dataset.ids) == len(dataset)
    shown = [dataset.spec, dataset.class_names, list(dataset.ids), dataset.skipped, MODALITY.describe(dataset)]
    json.dumps(shown, allow_nan=False).encode()


def _picture(number: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def listed() -> dict[str, bytes]:
    """A table and the pictures that it names."""
    return {"metadata.csv": LISTING.encode()} | {f"{i}.png": _picture(i) for i in range(3)}


def of_one_name() -> dict[str, bytes]:
    """A picture and a text that share a name."""
    return {"0.png": _picture(0), "0.txt": WORDS[0].encode()}


def shard() -> bytes:
    """A shard as WebDataset writes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for i, word in enumerate(WORDS):
            for ending, content in (("png", _picture(i)), ("txt", word.encode()), ("cls", b"1")):
                member = tarfile.TarInfo(f"{i}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def resealed(content: bytes) -> bytes:
    """A shard whose headers have right checksums, as far as their sizes lead."""
    out, place = bytearray(content), 0
    while place + 512 <= len(out):
        head = out[place : place + 512]
        head[148:156] = b" " * 8
        out[place + 148 : place + 156] = f"{sum(head):06o}\0 ".encode()
        try:
            size = int(bytes(head[124:135]).strip(b"\0 ") or b"0", 8)
        except ValueError:
            break
        place += 512 + -(-max(size, 0) // 512) * 512
    return bytes(out)


def table() -> bytes:
    """Parquet with encoded pictures and texts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"image": [_picture(i) for i in range(3)], "text": list(WORDS), "label": [0, 1, 0]}), file)
    return file.getvalue()
