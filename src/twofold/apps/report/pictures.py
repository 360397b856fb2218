"""Thumbnails, and the one sheet that carries all of them into the page."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from twofold.errors import DataError, require

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SHEET_BYTES = 1_500_000  # base64 makes it a third more; the rest of the page stays far below the 3 MB in all
TRIES = ((1.0, 80), (1.0, 50), (0.7, 45), (0.5, 30))  # (size, quality), until the sheet fits


@dataclass(frozen=True)
class Sheet:
    """All thumbnails in one picture, row by row.

    Args:
        uri: The picture as a data URI.
        columns: Cells a row.
        rows: Rows of cells.
        cell: Side of a cell, in pixels of the sheet.
    """

    uri: str
    columns: int
    rows: int
    cell: int

    def position(self, index: int) -> str:
        """The CSS ``background-position`` that shows cell ``index``."""
        row, column = divmod(index, self.columns)
        across = 100 * column / max(self.columns - 1, 1)
        down = 100 * row / max(self.rows - 1, 1)
        return f"{across:.4f}% {down:.4f}%"


def thumbnails(images: Tensor, size: int = 48, *, aspect: Tensor | None = None) -> list[bytes]:
    """Small PNG pictures of image tensors.

    Args:
        images: uint8 ``(n, c, h, w)``. One or two channels: the first as grey; more: the first three as colours.
        size: Side of the square that each picture is fitted into. Pictures of at most half of it are enlarged in hard
            pixels, so that they look as they are.
        aspect: Width / height of each picture before it was squashed to a square, ``(n,)``.

    Raises:
        DataError: If the tensor is not uint8 of four dimensions.
    """
    if images.ndim != 4 or str(images.dtype) != "torch.uint8":
        raise DataError(f"Thumbnails are made of uint8 images (n, c, h, w), not {images.dtype} {tuple(images.shape)}.")
    image_module = require("PIL.Image", extra="image", purpose="Making thumbnails")
    channels = 3 if images.shape[1] >= 3 else 1
    pixels = images[:, :channels].permute(0, 2, 3, 1).cpu().numpy()
    results = []
    for row in range(len(pixels)):
        picture = image_module.fromarray(pixels[row] if channels == 3 else pixels[row, :, :, 0])
        ratio = picture.width / picture.height * (1.0 if aspect is None else float(aspect[row]))
        results.append(_png(_fitted(picture, size, ratio)))
    return results


def sheet(pictures: Sequence[bytes], budget: int = SHEET_BYTES) -> Sheet:
    """One WebP sheet of encoded square pictures; quality, then size, give way until it has at most ``budget`` bytes.

    Raises:
        DataError: If a picture cannot be decoded.
    """
    image_module = require("PIL.Image", extra="image", purpose="Showing pictures in the report")
    decoded = [_decode(image_module, place, data) for place, data in enumerate(pictures)]
    side = max(max(picture.size) for picture in decoded)
    columns = math.ceil(math.sqrt(len(decoded)))
    rows = math.ceil(len(decoded) / columns)
    encoded = b""
    for scale, quality in TRIES:
        cell = max(8, round(side * scale))
        canvas = image_module.new("RGBA", (columns * cell, rows * cell), (0, 0, 0, 0))
        for place, picture in enumerate(decoded):
            row, column = divmod(place, columns)
            canvas.paste(_fitted(picture, cell, picture.width / picture.height), (column * cell, row * cell))
        buffer = io.BytesIO()
        canvas.save(buffer, "WEBP", quality=quality, alpha_quality=60, method=4)
        encoded = buffer.getvalue()
        if len(encoded) <= budget:
            break
    return Sheet("data:image/webp;base64," + base64.b64encode(encoded).decode("ascii"), columns, rows, cell)


def _decode(image_module: Any, place: int, data: bytes) -> Picture:
    try:
        with image_module.open(io.BytesIO(data)) as picture:
            return picture.convert("RGBA")
    except OSError as error:
        raise DataError(f"Thumbnail {place} is no picture that can be read ({error}).") from error


def _fitted(picture: Picture, size: int, ratio: float) -> Picture:
    """The picture at its width / height ratio in the middle of a clear square."""
    from PIL import Image

    width = size if ratio >= 1 else max(1, round(size * ratio))
    height = size if ratio <= 1 else max(1, round(size / ratio))
    way = Image.Resampling.NEAREST if max(picture.size) * 2 <= size else Image.Resampling.LANCZOS
    resized = picture if picture.size == (width, height) else picture.resize((width, height), way)
    if (width, height) == (size, size):
        return resized
    square = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    square.paste(resized, ((size - width) // 2, (size - height) // 2))
    return square


def _png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
