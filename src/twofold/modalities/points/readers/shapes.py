"""From what a file holds to a cloud of a fixed number of points: sampling, choosing, repeating, centring."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np

from twofold.errors import DataError

UNIT = 0.01
"""Three columns whose length differs from one by less than this in every point are taken for normals."""
MAX_COLUMNS = 64

Up = Literal["x", "y", "z"]
_TURN = {"x": [1, 2, 0], "y": [2, 0, 1], "z": [0, 1, 2]}  # cyclic, so these are rotations and no mirror images


@dataclass(frozen=True)
class Cloud:
    """Points as a source has them.

    Attributes:
        places: float64 (p, 3).
        normals: float64 (p, 3), or None.
        extras: Colours and other columns, float64 (p, e), or None.
    """

    places: np.ndarray
    normals: np.ndarray | None = None
    extras: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.places)

    def take(self, index: np.ndarray) -> Cloud:
        """The points of `index`, in that order."""
        normals, extras = (None if part is None else part[index] for part in (self.normals, self.extras))
        return Cloud(self.places[index], normals, extras)


@dataclass(frozen=True)
class Mesh:
    """A surface of triangles: float64 (v, 3) corners, int64 (f, 3) faces."""

    vertices: np.ndarray
    faces: np.ndarray


def cloud_of_table(table: np.ndarray) -> Cloud:
    """A table (p, 3 + columns) as a cloud: columns 4 to 6 are normals if they have unit length, else all are extras.

    Raises:
        DataError: If it is no table of numbers, or has fewer than three columns or more than 64.
    """
    if table.dtype.kind not in "buif":
        raise DataError(f"its type is {table.dtype}; points are numbers")
    if table.ndim != 2 or not 3 <= table.shape[1] <= MAX_COLUMNS:
        turned = " (is it transposed?)" if table.ndim == 2 and table.shape[0] == 3 else ""
        raise DataError(f"its shape is {table.shape}; a cloud is (points, 3) or (points, 3 + columns){turned}")
    with np.errstate(invalid="ignore", over="ignore"):  # check_places tells
        table = np.asarray(table, dtype=np.float64)
    places, rest = table[:, :3], table[:, 3:]
    normals = rest[:, :3] if rest.shape[1] >= 3 and len(rest) and _unit_length(rest[:, :3]) else None
    extras = rest if normals is None else rest[:, 3:]
    return Cloud(places, normals, extras if extras.shape[1] else None)


def sample_surface(mesh: Mesh, count: int) -> Cloud:
    """Points spread evenly (by area) over a mesh, with the normals of their faces.

    Drawn from a generator seeded by the mesh itself: the same mesh gives the same points wherever its file lies.

    Raises:
        DataError: If faces name corners that are not there, or the mesh has no surface.
    """
    vertices, faces = mesh.vertices, mesh.faces
    if len(faces) == 0:
        raise DataError("it is a mesh without faces")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise DataError(f"damaged; its faces name corners {faces.min()} to {faces.max()}, it has {len(vertices)}")
    check_places(vertices[np.unique(faces)], "corners")
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.abs(vertices[faces]).max() or 1.0
        corners = vertices[faces] / scale  # so that no area overflows
        sides = corners[:, 1:] - corners[:, :1]
        across = np.cross(sides[:, 0], sides[:, 1])
        area = np.linalg.norm(across, axis=1)
    total = area.sum()
    if not total > 0:
        raise DataError("it is a mesh without surface: all its faces have no area")
    draw = _generator(corners)
    chosen = draw.choice(len(faces), count, p=area / total)
    root, second = np.sqrt(draw.random(count)), draw.random(count)  # uniform in a triangle (Osada et al., 2002, eq. 1)
    weight = np.stack([1 - root, root * (1 - second), root * second], axis=1)
    places = np.einsum("pk,pkx->px", weight, corners[chosen]) * scale
    return Cloud(places, across[chosen] / area[chosen, None])


def resample(cloud: Cloud, count: int) -> Cloud:
    """Exactly `count` points: a random choice of more, or all of fewer and then some of them again.

    Drawn from a generator seeded by the cloud itself, see :func:`sample_surface`.

    Raises:
        DataError: If there are no points.
    """
    have = len(cloud)
    if have == 0:
        raise DataError("it has no points")
    if have == count:
        return cloud
    draw = _generator(cloud.places)
    if have > count:
        return cloud.take(np.sort(draw.choice(have, count, replace=False)))
    again = np.concatenate([draw.permutation(have) for _ in range(-(-count // have))])
    return cloud.take(np.concatenate([np.arange(have), again])[:count])


def turned(cloud: Cloud, up: Up) -> Cloud:
    """The cloud with the axis `up` of its source as z."""
    order = _TURN[up]
    normals = None if cloud.normals is None else cloud.normals[:, order]
    return Cloud(cloud.places[:, order], normals, cloud.extras)


def in_unit_ball(places: np.ndarray) -> np.ndarray:
    """Places (p, 3) moved to have their mean at 0, and scaled so that the farthest lies at distance 1.

    Raises:
        DataError: If all points lie in one place.
    """
    places = places / (np.abs(places).max() or 1.0)  # so that nothing overflows
    places = places - places.mean(0)
    radius = np.linalg.norm(places, axis=1).max()
    if not radius > np.finfo(np.float32).eps:
        raise DataError("all its points lie in one place")
    return places / radius


def check_places(values: np.ndarray, what: str) -> None:
    """Raise DataError if any row holds NaN or infinite values."""
    broken = int((~np.isfinite(values).all(axis=1)).sum())
    if broken:
        raise DataError(f"{broken:,} of its {len(values):,} {what} have NaN or infinite values; remove those")


def _unit_length(vectors: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return bool((np.abs(np.linalg.norm(vectors, axis=1) - 1) < UNIT).all())


def _generator(values: np.ndarray) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(np.ascontiguousarray(values, dtype=np.float32).tobytes()))
