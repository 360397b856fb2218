"""From an encoded picture to a square uint8 array."""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
import zlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from twofold.errors import require
from twofold.limits import free_memory, in_words
from twofold.modalities.shown import printable

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".avif", ".jp2"}
    | {".tga", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
"""File names that are taken for pictures in a folder tree."""

MAX_PIXELS = 100_000_000
"""Pictures whose header claims more pixels than this are skipped before anything is decoded."""

_PIXEL_BYTES = 20  # at worst, while a picture with transparency is decoded, composited and resized
_SURELY_FITS = 4_000_000  # pixels
_READ_AT_ONCE = 4 * 1024**2  # bytes

# Pillow's EPS reader starts Ghostscript, and rare formats are where decoders break: only these are tried.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "PPM", "AVIF", "JPEG2000", "MPO", "TGA")

# What Pillow's decoders raise at broken files.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    struct.error,
    zlib.error,
    Warning,  # where warnings are made errors, Pillow's are reasons too
)

_GREY_MODES = ("1", "L", "LA", "La", "I", "F")
_ORIENTATION = 0x0112  # EXIF tag


class UnreadableError(Exception):
    """One picture that cannot be used; the message is the reason, without its name."""


def pillow() -> ModuleType:
    """`PIL.Image`, or an error that names the extra to install."""
    module = require("PIL.Image", extra="image", purpose="reading picture files")
    _quieten()
    return module


def open_picture(source: str | Path | bytes, max_pixels: int = MAX_PIXELS, *, whole: bool = False) -> Any:
    """The header of a picture as a lazy `PIL.Image`, its claimed size checked.

    Args:
        source: A path, or the encoded bytes.
        max_pixels: Larger pictures are refused from their header.
        whole: All of it will be decoded. Files that are not large are then read at once: Pillow reads a header in
            dozens of pieces, and at each of them threads wait for each other.

    Raises:
        UnreadableError: If it is missing, empty, no picture, or claims more than `max_pixels` pixels.
    """
    image_module = pillow()
    size = _checked_size(source)
    try:
        if whole and size <= _READ_AT_ONCE and not isinstance(source, bytes):
            source = Path(source).read_bytes()
        image = image_module.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_formats())
    except (image_module.DecompressionBombError, image_module.DecompressionBombWarning) as error:
        raise UnreadableError(f"too large: {error}") from error
    except image_module.UnidentifiedImageError as error:
        raise UnreadableError("not a picture in a known format") from error
    except _BROKEN as error:
        raise UnreadableError(_reason(error)) from error
    try:
        _check_pixels(image.size, max_pixels)
    except UnreadableError:
        image.close()
        raise
    return image


def _checked_size(source: str | Path | bytes) -> int:
    """How many bytes there are; what is empty, missing or no file is refused: opening a pipe would wait for ever."""
    if isinstance(source, bytes):
        size = len(source)
    else:
        try:
            status = os.stat(source)  # noqa: PTH116  (a Path would take longer to make than the file to find)
        except FileNotFoundError as error:
            raise UnreadableError("no such file") from error
        except (OSError, ValueError) as error:
            raise UnreadableError(_reason(error)) from error
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("not a file but a folder, a pipe or a device")
        size = status.st_size
    if size == 0:
        raise UnreadableError("empty (0 bytes)")
    return size


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    pixels = width * height
    if pixels > max_pixels:
        raise UnreadableError(f"too large: the header claims {width} × {height} pixels (the limit is {max_pixels:,})")
    if pixels > _SURELY_FITS and pixels * _PIXEL_BYTES > (free := free_memory()):
        needed = in_words(pixels * _PIXEL_BYTES)
        raise UnreadableError(
            f"too large: {width} × {height} pixels need {needed} of memory, {in_words(free)} are free"
        )


def is_grey(image: Any) -> bool:
    """Whether a picture is stored with one channel (palettes count as colour)."""
    return image.mode in _GREY_MODES or image.mode.startswith("I;16")


def decode(
    source: str | Path | bytes | Any, *, size: int, channels: int, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, float]:
    """Decode a picture and squash it to a square.

    The first frame of an animation; EXIF orientation applied; transparency composited on white; 16-bit values scaled
    to 8; JPEGs decoded at a reduced scale of at least twice `size`; resized with an antialiased bilinear filter.

    Args:
        source: A path, the encoded bytes, or a `PIL.Image`.
        size: Side of the square, in pixels.
        channels: 1 (grey) or 3 (RGB).
        max_pixels: Larger pictures are refused from their header.

    Returns:
        uint8 array (channels, size, size), and the upright picture's original width / height.

    Raises:
        UnreadableError: With the reason, if the picture cannot be used.
    """
    if not isinstance(source, str | Path | bytes):
        return _decode(source, size, channels)
    with open_picture(source, max_pixels, whole=True) as image:
        return _decode(image, size, channels)


def _decode(image: Any, size: int, channels: int) -> tuple[np.ndarray, float]:
    mode = "L" if channels == 1 else "RGB"
    width, height = image.size
    try:
        image.draft(mode, (2 * size, 2 * size))  # only JPEG has drafts; never smaller than asked for
        image.load()
        orientation = _orientation(image)
        flat = _opaque(image, mode)
        # Squashed to a square, turning after the resize gives the same picture as turning before, and is cheaper.
        pixels = _upright(_squashed(flat, size), orientation)
    except _BROKEN as error:
        raise UnreadableError(_reason(error)) from error
    aspect = height / width if orientation >= 5 else width / height
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    return np.require(pixels, requirements=["C", "W"]), aspect  # Pillow's own buffer cannot be written to


def _squashed(image: Any, size: int) -> np.ndarray:
    """A picture of one or three channels as a square (size, size[, 3]), by an antialiased bilinear filter.

    Torch's filter takes half as long as Pillow's and gives the same pixels up to one level. Where the picture is at
    least four times as large along both sides, Pillow first averages whole blocks, which is faster still.
    """
    if image.size == (size, size):
        return np.asarray(image)
    if min(image.size) >= 4 * size:
        return np.asarray(image.resize((size, size), pillow().Resampling.BILINEAR, reducing_gap=2.0))
    pixels = _in_place(image).reshape(image.height, image.width, -1).permute(2, 0, 1)
    squashed = F.interpolate(pixels[None], (size, size), mode="bilinear", antialias=True)[0]
    return squashed[:3].permute(1, 2, 0).numpy() if image.mode != "L" else squashed[0].numpy()


def _in_place(image: Any) -> torch.Tensor:
    """The pixels of a grey or RGB picture where Pillow has them, (h·w·c,); of RGB c is 4, and the last means nothing.

    A copy, with c = 3, where it is too old to tell, or has them in several places (large pictures). Making that copy
    takes a good part of the time in which a JPEG is decoded.
    """
    if not hasattr(image, "__arrow_c_array__"):
        return torch.from_numpy(np.array(image))
    import pyarrow as pa

    try:
        pixels = pa.array(image)
    except ValueError:
        return torch.from_numpy(np.array(image))
    return torch.utils.dlpack.from_dlpack(pixels if image.mode == "L" else pixels.values)


def _opaque(image: Any, mode: str) -> Any:
    """The picture in `mode`, 8 bits a channel, without transparency."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = pillow().fromarray(_eight_bits(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = pillow().new("RGBA", image.size, "white")
        image = pillow().alpha_composite(white, image)
    if image.mode == "P":  # straight to grey would quantise twice
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(image: Any) -> np.ndarray:
    """16-bit, 32-bit and float grey values as uint8. 32-bit and float files state no range: the narrowest usual one
    that holds the largest value (1, 255, 65535) is taken as white, or else the largest value itself."""
    values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0, neginf=0)
    highest = float(values.max())
    if image.mode.startswith("I;16") or image.format == "PNG":
        white = 65535.0
    elif image.mode == "F" and highest <= 1:
        white = 1.0
    else:
        white = next((top for top in (255.0, 65535.0) if highest <= top), highest)
    return np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8)


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1..8; 1 where there is none or the EXIF block is broken (the picture is still good)."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo an EXIF orientation on a square array (s, s[, c]): a transpose (5..8), then mirrored rows and columns."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


@cache
def _quieten() -> None:
    """Have Pillow's warnings (odd metadata in pictures that can be read all the same) not shown.

    They do not say which picture they are about. Pictures are decoded by several threads, and filters are global: so
    the filter stays, behind all others, and whoever wants the warnings sets one of their own.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.", append=True)


@cache
def _formats() -> list[str]:
    """Those of the formats we try that this Pillow was built with."""
    image_module = pillow()
    image_module.init()
    return [name for name in _FORMATS if name in image_module.OPEN]


def _reason(error: BaseException) -> str:
    text = printable(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
