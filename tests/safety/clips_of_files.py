"""Small valid films, animations and arrays of clips, and what must hold of those that were read."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch


def read_clips(source: Path) -> None:
    """Read clips and everything in them, and check what the contract of data sets promises."""
    from twofold.modalities.video import MODALITY

    dataset: Any = MODALITY.read(source, fps=25)
    spec, batch = dataset.spec, dataset.fetch(torch.arange(len(dataset)))
    inputs, index, length = batch["inputs"], batch["index"], batch["length"]
    assert inputs.dtype == torch.uint8
    assert inputs.shape == (len(index), spec["frames"], spec["channels"], spec["size"], spec["size"])
    assert len(index) + len(dataset.skipped) >= len(dataset) > 0
    assert 2 <= int(length.min()) <= int(length.max()) <= spec["frames"]
    if "aspect" in batch:
        assert bool((torch.isfinite(batch["aspect"]) & (batch["aspect"] > 0)).all())
    assert bool(MODALITY.prepare(batch, spec).isfinite().all())
    shown = [spec, dataset.class_names, list(dataset.ids), dataset.skipped, MODALITY.describe(dataset)]
    json.dumps(shown, allow_nan=False, ensure_ascii=False).encode()


def moving(count: int = 4, size: int = 16) -> np.ndarray:
    """A bright square that moves, uint8 (count, size, size, 3)."""
    frames = np.full((count, size, size, 3), 40, np.uint8)
    for i, frame in enumerate(frames):
        frame[4:9, i : i + 5] = (250, 120, 20)
    return frames


def film(kind: str, codec: str) -> bytes:
    """A film of four frames."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for frame in moving():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def animation(kind: str) -> bytes:
    """An animation of four frames."""
    from PIL import Image

    file = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in moving()]
    first.save(file, kind, save_all=True, append_images=others, duration=80, loop=0)
    return file.getvalue()


def clips() -> bytes:
    """Three clips with labels, as .npz."""
    file = io.BytesIO()
    np.savez_compressed(file, videos=np.stack([moving(), moving(), moving()[::-1]]), labels=np.array([0, 0, 1]))
    return file.getvalue()
