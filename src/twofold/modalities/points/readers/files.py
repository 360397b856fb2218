"""One cloud or mesh from one file: .npy, .xyz, and through trimesh .ply, .off, .obj and .stl.

A header may claim anything. So what it claims is compared with the size of the file before anything is allocated, and
what came out with what was claimed. No other file is opened, whatever a file refers to (materials, textures).
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import DataError, require
from twofold.limits import check_memory
from twofold.modalities.array_files import open_npy
from twofold.modalities.points.readers.ply import PlyHeader, read_ply_header
from twofold.modalities.points.readers.shapes import Cloud, Mesh, cloud_of_table

SUFFIXES = (".npy", ".xyz", ".ply", ".off", ".obj", ".stl")

_EXPANSION = 24
"""Bytes of memory that parsing takes for each byte of a file: text becomes Python objects on its way to numbers."""
_COLOUR_FULL = 255
_STL_HEADER, _STL_TRIANGLE = 84, 50
_COLOURS = {"red", "green", "blue", "alpha"}
_FAULTS = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    NameError,  # how trimesh says that a header is not OFF, and that a list has no name
    ImportError,  # what trimesh would need for parts that no cloud has
    AssertionError,
    OSError,
    EOFError,
    struct.error,
)


def read_file(path: Path) -> Cloud | Mesh:
    """What a file holds, by its ending (one of `SUFFIXES`).

    Raises:
        DataError: If it is damaged or no such file; the message does not repeat the path.
        MissingExtraError: If the format needs trimesh, which is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        try:
            return cloud_of_table(open_npy(path))
        except DataError as error:
            raise DataError(str(error).removeprefix(f"{path}: ").removeprefix(str(path))) from error
    try:
        size = path.stat().st_size
        check_memory(_EXPANSION * size, "it")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})") from error
    return _xyz(content) if suffix == ".xyz" else _through_trimesh(content, suffix.removeprefix("."))


def _xyz(content: bytes) -> Cloud:
    """Text with one point a line: x y z and maybe more, between blanks or commas; # begins a comment."""
    lines = (line for line in content.splitlines() if line.strip() and not line.lstrip().startswith(b"#"))
    first = next(lines, None)
    if first is None:
        raise DataError("it has no points")
    delimiter = "," if b"," in first else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = np.loadtxt(io.BytesIO(content), delimiter=delimiter, ndmin=2, encoding="utf-8")
    except ValueError as error:
        text = first[:40].decode("utf-8", "backslashreplace")
        raise DataError(
            f"not lines of numbers x y z ({error}); its first line is {text!r}. Every line needs as many numbers"
        ) from error
    return cloud_of_table(table)


def _through_trimesh(content: bytes, kind: str) -> Cloud | Mesh:
    trimesh = require("trimesh", extra="points", purpose=f"Reading .{kind} files")
    header = read_ply_header(content) if kind == "ply" else None
    logging.getLogger("trimesh").addHandler(logging.NullHandler())  # what it has to say about a file, we say
    if kind == "off":
        _check_off(content)
    if kind != "ply" and not (kind == "stl" and _is_binary_stl(content)):
        content = content.decode("ascii", "replace").encode("ascii", "replace")  # names of any alphabet; no numbers
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # trimesh parses numbers in a way that numpy will drop
            scene = trimesh.load_scene(
                io.BytesIO(content),  # without a name there is nothing to resolve other files against
                file_type=kind,
                process=False,
                skip_materials=True,
                fix_texture=False,
            )
            return _shape_of(list(scene.geometry.values()), header)
    except DataError:
        raise
    except _FAULTS as error:
        raise DataError(f"damaged or not a .{kind} file ({type(error).__name__}: {str(error)[:120]})") from error


def _shape_of(parts: list[Any], header: PlyHeader | None) -> Cloud | Mesh:
    """All parts of a file as one mesh; or, where none has faces, as one cloud."""
    meshes = [part for part in parts if len(getattr(part, "faces", ())) > 0]
    clouds = [part for part in parts if hasattr(part, "vertices")]
    if not clouds:
        raise DataError("it has no points")
    if header is not None:
        _check_whole(clouds[0], header)
    if not meshes:
        places = np.concatenate([np.asarray(part.vertices, dtype=np.float64).reshape(-1, 3) for part in clouds])
        return Cloud(places) if header is None else _with_columns(places, clouds[0], header)
    start = np.cumsum([0, *(len(part.vertices) for part in meshes)])
    vertices = np.concatenate([np.asarray(part.vertices, dtype=np.float64) for part in meshes])
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise DataError(f"damaged; its corners have {vertices.shape[-1]} coordinates instead of 3")
    faces = np.concatenate([np.asarray(part.faces, np.int64) + at for part, at in zip(meshes, start, strict=False)])
    return Mesh(vertices, faces)


def _check_whole(part: Any, header: PlyHeader) -> None:
    """That a PLY file gave all that its header promised: trimesh takes what there is."""
    faces = len(getattr(part, "faces", ()))
    if len(part.vertices) != header.vertices or faces < header.faces:
        raise DataError(
            f"damaged or cut short; its header promises {header.vertices:,} points and {header.faces:,} faces, "
            f"and {len(part.vertices):,} and {faces:,} could be read"
        )


def _with_columns(places: np.ndarray, part: Any, header: PlyHeader) -> Cloud:
    """A PLY cloud with its normals (nx, ny, nz) and all other numbers of its points, bytes of colours as [0, 1]."""
    data = part.metadata["_ply_raw"]["vertex"]["data"]
    columns = {name: np.asarray(data[name], np.float64).reshape(len(places)) for name in header.columns}
    for name in _COLOURS & columns.keys():
        if header.columns[name] in ("uchar", "uint8"):
            columns[name] /= _COLOUR_FULL
    normals = None
    if {"nx", "ny", "nz"} <= columns.keys():
        normals = np.stack([columns.pop(name) for name in ("nx", "ny", "nz")], axis=1)
    extras = [values for name, values in columns.items() if name not in ("x", "y", "z")]
    return Cloud(places, normals, np.stack(extras, axis=1) if extras else None)


def _is_binary_stl(content: bytes) -> bool:
    """Whether the file has the length that a binary STL header states.

    Raises:
        DataError: If it has not, and is no text either.
    """
    if len(content) < _STL_HEADER:
        return False
    triangles = int.from_bytes(content[_STL_HEADER - 4 : _STL_HEADER], "little")
    if len(content) == _STL_HEADER + _STL_TRIANGLE * triangles:
        return True
    if b"facet" not in content:
        raise DataError(f"damaged; its header promises {triangles:,} triangles, the file has {len(content):,} bytes")
    return False


def _check_off(content: bytes) -> None:
    """That an OFF file can hold what it claims: a corner or face takes at least two bytes."""
    words = b" ".join(line.split(b"#")[0] for line in content[:4096].splitlines()).partition(b"OFF")[2].split()
    try:
        corners, faces = int(words[0]), int(words[1])
    except (ValueError, IndexError) as error:
        raise DataError("damaged or not a .off file (it must begin with OFF and the numbers of its parts)") from error
    if corners < 0 or faces < 0 or 2 * (corners + faces) > len(content):
        raise DataError(f"damaged; it claims {corners:,} corners and {faces:,} faces in {len(content):,} bytes")
