"""Small valid files of clouds, meshes and sounds, and what must hold of those that were read."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch

CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float32)
FACES = ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3))
RATE = 8000


def check(dataset: Any, shape: tuple[int, ...], summary: str) -> None:
    """Everything is fetched, finite, of the promised shape, and can be told."""
    batch = dataset.fetch(torch.arange(len(dataset)))
    inputs, index = batch["inputs"], batch["index"]
    assert inputs.shape == (len(index), *shape)
    assert bool(inputs.isfinite().all())
    assert index.dtype == torch.int64
    assert len(index) + len(dataset.skipped) >= len(dataset) > 0
    assert summary


def read_clouds(source: Path) -> None:
    """Read clouds of points and everything in them."""
    from twofold.modalities.points import MODALITY

    dataset: Any = MODALITY.read(source, points=16)
    check(dataset, (16, dataset.spec["channels"]), MODALITY.describe(dataset))


def read_sounds(source: Path) -> None:
    """Read sounds and everything in them."""
    from twofold.modalities.audio import MODALITY

    dataset: Any = MODALITY.read(source)
    check(dataset, (dataset.spec["length"],), MODALITY.describe(dataset))


def ply(*, binary: bool, colours: bool = False) -> bytes:
    """A tetrahedron, or its corners with colours."""
    colour = "property uchar red\nproperty uchar green\nproperty uchar blue\n" if colours else ""
    faces = "" if colours else f"element face {len(FACES)}\nproperty list uchar int vertex_indices\n"
    head = (
        f"ply\nformat {'binary_little_endian' if binary else 'ascii'} 1.0\nelement vertex {len(CORNERS)}\n"
        f"property float x\nproperty float y\nproperty float z\n{colour}{faces}end_header\n"
    )
    if not binary:
        rows = [" ".join(map(str, corner)) + (" 1 2 3" if colours else "") for corner in CORNERS.tolist()]
        rows += [] if colours else ["3 " + " ".join(map(str, face)) for face in FACES]
        return (head + "\n".join(rows) + "\n").encode()
    corners = b"".join(corner.tobytes() + (b"\1\2\3" if colours else b"") for corner in CORNERS)
    triangles = b"" if colours else b"".join(struct.pack("<B3i", 3, *face) for face in FACES)
    return head.encode() + corners + triangles


def off() -> bytes:
    """A tetrahedron."""
    rows = [" ".join(map(str, corner)) for corner in CORNERS.tolist()]
    rows += ["3 " + " ".join(map(str, face)) for face in FACES]
    return f"OFF\n{len(CORNERS)} {len(FACES)} 0\n".encode() + "\n".join(rows).encode() + b"\n"


def obj() -> bytes:
    """A tetrahedron that names a material."""
    rows = ["mtllib ../../secret.mtl", *("v " + " ".join(map(str, corner)) for corner in CORNERS.tolist())]
    rows += ["f " + " ".join(str(corner + 1) for corner in face) for face in FACES]
    return ("\n".join(rows) + "\n").encode()


def stl() -> bytes:
    """A tetrahedron, binary."""
    triangles = [CORNERS[list(face)] for face in FACES]
    body = b"".join(np.zeros(3, np.float32).tobytes() + triangle.tobytes() + b"\0\0" for triangle in triangles)
    return b"twofold".ljust(80) + struct.pack("<I", len(FACES)) + body


def xyz() -> bytes:
    """Points as text."""
    return ("\n".join(" ".join(map(str, corner)) for corner in CORNERS.tolist()) + "\n").encode()


def clouds() -> bytes:
    """Three clouds with labels, as .npz."""
    file = io.BytesIO()
    points = np.random.default_rng(0).normal(size=(3, 8, 3)).astype(np.float32)
    np.savez(file, points=points, labels=np.arange(3))
    return file.getvalue()


def sound(kind: str, subtype: str | None = None) -> bytes:
    """A tone of a twentieth of a second."""
    import soundfile

    wave = 0.5 * np.sin(np.arange(RATE // 20) * 0.3)
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format=kind, subtype=subtype)
    return file.getvalue()
