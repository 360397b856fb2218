"""Small pictures of series: one line a channel; of skeletons, the paths of their joints."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from twofold.errors import require

WIDTH, HEIGHT = 128, 96
_MARGIN = 4
_SCALE = 2  # drawn larger, then scaled down: smooth lines
_COLOURS = ((38, 84, 148), (214, 94, 38), (58, 134, 82), (148, 72, 150), (120, 120, 120), (190, 152, 40))


def picture(series: np.ndarray, *, joints: int | None = None) -> bytes:
    """A series as a WEBP picture on white.

    Args:
        series: (t, c); all channels share one scale.
        joints: Of a skeleton: then the path of each joint is drawn, seen from the front.

    Raises:
        MissingExtraError: If Pillow is not installed.
    """
    image = require("PIL.Image", extra="image", purpose="Drawing series")
    draw = require("PIL.ImageDraw", extra="image", purpose="Drawing series")
    size = (WIDTH * _SCALE, HEIGHT * _SCALE)
    canvas = image.new("RGB", size, (255, 255, 255))
    pen: Any = draw.Draw(canvas)
    for number, line in enumerate(lines(series, size, joints=joints)):
        pen.line([tuple(point) for point in line.tolist()], fill=_COLOURS[number % len(_COLOURS)], width=_SCALE)
    file = io.BytesIO()
    canvas.resize((WIDTH, HEIGHT), image.Resampling.BOX).save(file, "WEBP", quality=85)
    return file.getvalue()


def lines(series: np.ndarray, size: tuple[int, int], *, joints: int | None = None) -> np.ndarray:
    """The lines of the picture in pixels, (lines, t, 2); the vertical axis of a picture points down."""
    if joints is not None:
        paths = series.reshape(len(series), joints, -1)[:, :, :2].transpose(1, 0, 2)
        low, high = paths.min((0, 1)), paths.max((0, 1))
        extent = np.maximum((high - low).max(), 1e-9)
        places = (paths - (low + high) / 2) / extent + 0.5
    else:
        time = np.linspace(0, 1, len(series))
        low, high = series.min(), series.max()
        values = (series.T - low) / np.maximum(high - low, 1e-9)
        places = np.stack([np.broadcast_to(time, values.shape), values], axis=2)
    room = np.array(size) - 1 - 2 * _MARGIN
    down = np.stack([places[..., 0], 1 - places[..., 1]], axis=2)
    if len(series) == 1:  # a line needs two points
        down = np.repeat(down, 2, axis=1)
    return _MARGIN + down * room
