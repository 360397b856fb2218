"""Spectrograms as small pictures, for reports."""

from __future__ import annotations

import struct
import zlib

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 64
_RANGE = 12.0  # natural logarithms (52 dB) from the brightest point down to black

# Black, violet, orange, pale yellow: brighter is louder, in colour and in grey.
_COLOURS = torch.tensor([[0.0, 0.0, 0.02], [0.34, 0.06, 0.43], [0.93, 0.41, 0.15], [0.99, 1.0, 0.64]])


def spectrogram_png(spectrogram: Tensor) -> bytes:
    """A log-mel spectrogram ``(mels, frames)`` as a PNG of 64 × 64: time to the right, frequency upwards."""
    small = F.interpolate(spectrogram[None, None], (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
    level = ((small[0, 0] - small.max()) / _RANGE + 1).clamp(0, 1).flip(0)
    position = level * (len(_COLOURS) - 1)
    below = position.long().clamp(max=len(_COLOURS) - 2)
    share = (position - below)[..., None]
    pixels = (1 - share) * _COLOURS[below] + share * _COLOURS[below + 1]
    return png((pixels * 255).round().to(torch.uint8))


def png(pixels: Tensor) -> bytes:
    """uint8 ``(height, width, 3)`` as a PNG file (ISO/IEC 15948), without a library for pictures."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.numpy().tobytes() for row in pixels.contiguous())  # filter type 0 before each row
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    chunks = (_chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows, 9)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
