"""From encoded pictures to squares: orientation, transparency, depth, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from twofold.modalities.pixels.decode import UnreadableError, decode, open_picture


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, *, width: int = 40, height: int = 40, color: Any = (200, 30, 60), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), color).save(path)
    return path


def encoded(color: Any = (200, 30, 60), size: tuple[int, int] = (40, 40), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, kind)
    return buffer.getvalue()


def bomb(path: Path, width: int = 50_000, height: int = 50_000) -> Path:
    """A PNG of a few bytes whose header claims a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(tmp_path: Path, orientation: int):
    picture = Image.fromarray(noise(32, 32, 3)).resize((64, 48), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    picture.save(path, exif=exif)
    pixels, aspect = decode(path, size=24, channels=3)
    with Image.open(path) as stored:
        upright = ImageOps.exif_transpose(stored)
    expected = np.asarray(upright.resize((24, 24), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert aspect == pytest.approx(upright.width / upright.height)
    # Pillow's own two passes round in the order of the axes: one grey level of difference.
    assert np.abs(pixels.astype(int) - expected).max() <= 2


def test_transparency_is_composited_on_white(tmp_path: Path):
    half = decode(save(tmp_path / "half.png", mode="RGBA", color=(255, 0, 0, 128)), size=8, channels=3)[0]
    assert half[:, 0, 0].tolist() == [255, 127, 127]
    grey = decode(save(tmp_path / "grey.png", mode="LA", color=(0, 0)), size=8, channels=1)[0]
    assert grey.shape == (1, 8, 8)
    assert (grey == 255).all()


def test_palettes_keep_their_colours_and_their_transparency(tmp_path: Path):
    picture = Image.new("P", (16, 16), 1)
    picture.putpalette([0, 0, 0, 10, 200, 30, 90, 90, 90])
    picture.save(tmp_path / "plain.png")
    picture.putpixel((0, 0), 2)
    picture.save(tmp_path / "clear.png", transparency=1)
    assert decode(tmp_path / "plain.png", size=16, channels=3)[0][:, 5, 5].tolist() == [10, 200, 30]
    clear = decode(tmp_path / "clear.png", size=16, channels=3)[0]
    assert clear[:, 5, 5].tolist() == [255, 255, 255]
    assert clear[:, 0, 0].tolist() == [90, 90, 90]


def test_sixteen_bit_and_float_pictures_are_scaled(tmp_path: Path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    Image.fromarray(ramp).save(tmp_path / "deep.tif")
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    expected = np.rint(ramp / 257)
    for name in ("deep.png", "deep.tif", "float.tif"):
        assert np.array_equal(decode(tmp_path / name, size=8, channels=1)[0][0], expected), name


def test_an_animation_gives_its_first_frame(tmp_path: Path):
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "moving.gif", size=8, channels=3)[0][:, 4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str):
    path = tmp_path / "picture.tif"
    Image.new("RGB", (16, 16), "white").convert(mode).save(path)
    pixels, _ = decode(path, size=8, channels=3)
    assert pixels.shape == (3, 8, 8)
    assert (pixels >= 254).all()


def test_jpeg_drafts_stay_close_to_full_decoding(tmp_path: Path):
    smooth = Image.fromarray(noise(8, 8, 3)).resize((640, 480), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "large.jpg", quality=95)
    pixels, aspect = decode(tmp_path / "large.jpg", size=32, channels=3)
    expected = np.asarray(smooth.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert aspect == pytest.approx(4 / 3)
    assert np.abs(pixels.astype(int) - expected).mean() < 3


def test_huge_headers_are_refused_before_decoding(tmp_path: Path):
    with pytest.raises(UnreadableError, match="too large"):
        open_picture(bomb(tmp_path / "bomb.png"))
    with pytest.raises(UnreadableError, match=r"claims 50 × 60 pixels \(the limit is 2,000\)"):
        open_picture(save(tmp_path / "fine.png", width=50, height=60), max_pixels=2000)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"not a picture at all", "not a picture"), (encoded(kind="JPEG")[:300], "(?i)truncated")],
)
def test_broken_bytes_give_a_reason(tmp_path: Path, content: bytes, reason: str):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(UnreadableError, match=reason):
            decode(source, size=8, channels=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_large_files_are_read_piece_by_piece_to_the_same_pixels(tmp_path: Path, monkeypatch, kind: str):
    path = tmp_path / "picture"
    path.write_bytes(encoded(kind=kind, size=(50, 40)))
    small = decode(path, size=16, channels=3)
    monkeypatch.setattr("twofold.modalities.pixels.decode._READ_AT_ONCE", 10)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read at once"))
    large = decode(path, size=16, channels=3)
    assert small[1] == large[1] == 50 / 40
    np.testing.assert_array_equal(small[0], large[0])


def test_postscript_is_not_even_tried():
    with pytest.raises(UnreadableError, match="not a picture"):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
