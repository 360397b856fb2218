"""Small pictures of clouds: each point a dot, seen from above at a slant, darker the farther away."""

from __future__ import annotations

import io

import numpy as np

from twofold.errors import require

SIZE = 96
_MARGIN = 0.92
_NEAR, _FAR = np.array([38.0, 84.0, 148.0]), np.array([196.0, 212.0, 232.0])
_AZIMUTH, _ELEVATION = np.radians(35.0), np.radians(25.0)


def picture(places: np.ndarray, *, size: int = SIZE) -> bytes:
    """A cloud as a WEBP picture on white, orthographic, scaled to fill it.

    Args:
        places: (p, 3), z up.
        size: Side in pixels.

    Raises:
        MissingExtraError: If Pillow is not installed.
    """
    image = require("PIL.Image", extra="image", purpose="Drawing clouds")
    file = io.BytesIO()
    image.fromarray(pixels(places, size=size)).save(file, "WEBP", quality=85)
    return file.getvalue()


def pixels(places: np.ndarray, *, size: int = SIZE) -> np.ndarray:
    """The same as uint8 (size, size, 3)."""
    right = np.array([np.cos(_AZIMUTH), np.sin(_AZIMUTH), 0.0])
    away = np.array([-np.sin(_AZIMUTH), np.cos(_AZIMUTH), 0.0]) * np.cos(_ELEVATION)
    away[2] = -np.sin(_ELEVATION)
    up = np.cross(right, away)
    centred = places - places.mean(0)
    centred = centred / max(float(np.linalg.norm(centred, axis=1).max()), 1e-12)
    across, high, depth = centred @ right, centred @ up, centred @ away
    column = np.round((1 + _MARGIN * across) / 2 * (size - 1)).astype(int)
    row = np.round((1 - _MARGIN * high) / 2 * (size - 1)).astype(int)
    shade = ((depth - depth.min()) / max(float(np.ptp(depth)), 1e-12))[:, None]
    colour = (_NEAR + shade * (_FAR - _NEAR)).astype(np.uint8)
    canvas = np.full((size, size, 3), 255, np.uint8)
    order = np.argsort(-depth)  # the nearest last, over the others
    for down, aside in ((0, 0), (0, 1), (1, 0), (1, 1)):
        rows, columns = np.minimum(row + down, size - 1), np.minimum(column + aside, size - 1)
        canvas[rows[order], columns[order]] = colour[order]
    return canvas
