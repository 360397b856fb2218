"""Small files that stand for much: refused before memory is taken for them. The peak is measured, not believed."""

from __future__ import annotations

import gzip
import io
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from file_formats import picture
from file_mutations import address_space

from twofold import limits
from twofold.errors import DataError
from twofold.modalities.image.data import read

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measured with what Linux tells of a process")

LIMIT = 1024**3
"""Bytes that this process may take more than it has."""
ALLOWED = 200 * 1024**2
"""Bytes that refusing a file may take."""


@pytest.fixture(scope="module", autouse=True)
def readers_are_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """So that libraries and their threads are no part of what is measured."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("small")
    (folder / "a.png").write_bytes(picture("PNG"))
    pq.write_table(pa.table({"image": [picture("PNG")]}), folder / "a.parquet")
    read(folder / "a.png")
    read(folder / "a.parquet")


@contextmanager
def measured() -> Iterator[Callable[[], int]]:
    """How many bytes more than before this process took at its peak, within a limit of what it may take."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = high_water()
    with address_space(LIMIT):
        yield lambda: high_water() - before


def high_water() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def zeros(size: int) -> bytes:
    """A raw deflate stream of so many zeros, a multiple of 64 MiB, without ever having them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(64 * 1024**2)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * (size // (64 * 1024**2))


def npy_header(*shape: int) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def archive(header: bytes, packed: bytes, stated: int, checksum: int = 0) -> bytes:
    """An .npz whose only member is a header, stored in a deflate block, and a stream; its directory states the size."""
    stored = b"\x00" + struct.pack("<HH", len(header), len(header) ^ 0xFFFF) + header
    body, name = stored + packed, b"images.npy"
    sizes = struct.pack("<III", checksum, len(body), stated)
    local = struct.pack("<IHHHHH", 0x04034B50, 20, 0, 8, 0, 0) + sizes + struct.pack("<HH", len(name), 0) + name
    entry = struct.pack("<IHHHHHH", 0x02014B50, 20, 20, 0, 8, 0, 0) + sizes
    entry += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(entry), len(local) + len(body), 0)
    return local + body + entry + end


def idx_header(*shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def safetensors(length: int, **entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", length or len(text)) + text


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in chunks:
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return content


def wrapped(stream: bytes) -> bytes:
    """A raw deflate stream that never ends, as zlib wraps it."""
    return b"\x78\xda" + stream


GIB = 1024**3
FAR = 1000**4
ONE_PIXEL = zlib.compress(b"\0\0")
CLAIMS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "npy claims": ("a.npy", lambda: npy_header(FAR, 8, 8), "header claims 64,000,000,000,000 bytes"),
    "npz bomb": (
        "a.npz",
        lambda: archive(npy_header(2, 32768, 32768), zeros(2 * GIB), 2 * GIB + 128),
        r"2\.0 GiB of mem",
    ),
    "npz directory lies": ("a.npz", lambda: archive(npy_header(FAR), b"\x03\0", 2**32 - 1), "cannot come out of"),
    "npz header lies": (
        "a.npz",
        lambda: archive(npy_header(FAR), b"\x03\0", 128, zlib.crc32(npy_header(FAR))),
        "the archive lists 0",
    ),
    "npz member goes on": ("a.npz", lambda: archive(npy_header(4, 8, 8), zeros(2 * GIB), 384), "damaged|pictures"),
    "idx claims": ("a-images-idx3-ubyte", lambda: idx_header(2**32 - 1, 2**32 - 1, 2**32 - 1), "the file holds 0"),
    "idx.gz claims": (
        "a-images-idx3-ubyte.gz",
        lambda: gzip.compress(idx_header(FAR // 2**20, 9999, 999)),
        "cannot come",
    ),
    "idx of many dimensions": ("a-images-idx3-ubyte", lambda: idx_header(*[2] * 200), "this claims 200"),
    "safetensors header": ("a.safetensors", lambda: safetensors(2**62), "damaged or not a safetensors file"),
    "safetensors tensor": (
        "a.safetensors",
        lambda: safetensors(0, images={"dtype": "U8", "shape": [FAR], "data_offsets": [0, FAR]}),
        "damaged or not a safetensors file",
    ),
    "csv header": ("a.csv", lambda: b"file_name" + b",x" * 10_000_000, "longer than 1,048,576 characters"),
    "csv row over many lines": ("a.csv", lambda: b'file_name,x\n"' + b'a\n","' * 10_000_000, "longer than 1,048,576"),
    "jsonl line": ("a.jsonl", lambda: b'{"file_name": "' + b"a" * 100_000_000, "longer than 1,048,576 characters"),
    "jsonl nested": ("a.jsonl", lambda: b'{"file_name":' + b"[" * 1_000_000, "not JSON"),
    "png of many pixels": (
        "a.png",
        lambda: png((b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 1, 0, 0, 0, 0)), (b"IDAT", ONE_PIXEL)),
        "too large",
    ),
    "png that memory cannot hold": (
        "a.png",
        lambda: png((b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 6, 0, 0, 0)), (b"IDAT", ONE_PIXEL)),
        "need 1.5 GiB of memory",
    ),
    "tiff tag": (
        "a.tif",
        lambda: b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 256, 4, 2**31, 8) + bytes(4),
        "none of the 1 pictures",
    ),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_claims_are_refused_in_little_memory(what: str, tmp_path: Path):
    name, make, message = CLAIMS[what]
    (tmp_path / name).write_bytes(make())
    with measured() as extra, pytest.raises(DataError, match=message) as refused:
        read(tmp_path / name)
    assert str(tmp_path) in str(refused.value)
    assert extra() < ALLOWED


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_compressed_metadata_is_not_unpacked(kind: bytes, tmp_path: Path):
    bomb = wrapped(zeros(4 * GIB))
    body = {b"zTXt": b"key\0\0", b"iTXt": b"key\0\1\0en\0key\0", b"iCCP": b"name\0\0"}[kind] + bomb
    header, pixel = (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), (b"IDAT", ONE_PIXEL)
    (tmp_path / "a.png").write_bytes(png(header, (kind, body), pixel, (b"IEND", b"")))
    with measured() as extra:
        try:
            assert len(read(tmp_path / "a.png")) == 1
        except DataError as error:
            assert str(tmp_path) in str(error)  # noqa: PT017 - both outcomes are right
    assert extra() < ALLOWED


def test_only_the_first_frame_is_decoded(tmp_path: Path):
    one = picture("GIF")
    start, end = one.index(b"\x2c"), one.rindex(b"\x3b")
    (tmp_path / "a.gif").write_bytes(one[:end] + one[start:end] * 100_000 + b"\x3b")
    with measured() as extra:
        assert len(read(tmp_path / "a.gif")) == 1
    assert extra() < ALLOWED


def test_parquet_of_few_bytes_and_many_pictures(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    cells = pa.DictionaryArray.from_arrays(pa.array(np.zeros(20_000, np.int32)), pa.array([bytes(10**6)]))
    pq.write_table(pa.table({"image": cells}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000  # for 20 GB
    with measured() as extra, pytest.raises(DataError, match=r"a\.parquet: the table beyond row .* of memory"):
        read(path)
    assert extra() < 2 * LIMIT  # what allocators had set aside before is not counted by the limit


def test_parquet_of_few_bytes_and_many_rows(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    table = pa.table({"image": pa.nulls(1_000_000, pa.binary())})
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(6):
            writer.write_table(table)
    assert path.stat().st_size < 20_000
    with measured() as extra, pytest.raises(DataError, match=r"6,000,000 rows needs 1\.4 GiB of memory"):
        read(path)
    assert extra() < ALLOWED


def test_rows_of_a_table_are_read_one_by_one(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"other,file_name,label\n" + (b"x" * 200 + b",b.png,1\n") * 100_000)
    with measured() as extra, pytest.raises(DataError, match="none of the"):
        read(path)
    assert extra() < path.stat().st_size * 1.5


def test_rows_stop_where_memory_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "a.csv").write_bytes(b"file_name\n" + b"b.png\n" * 200_000)
    monkeypatch.setattr(limits, "free_memory", lambda: limits.RESERVE)
    with pytest.raises(DataError, match=r"a\.csv: the table beyond row 65,536 needs 16\.0 MiB of memory, and 0 bytes"):
        read(tmp_path / "a.csv")


def test_what_is_kept_and_enlarged_is_asked_for(tmp_path: Path):
    (tmp_path / "a.npy").write_bytes(npy_header(100, 8, 8) + bytes(6400))
    with measured() as extra, pytest.raises(DataError, match=r"a\.npy: 100 pictures needs 1\.6 GiB of memory"):
        read(tmp_path / "a.npy", size=4096)
    assert extra() < ALLOWED
    for i in range(100):
        (tmp_path / "pictures" / f"{i}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "pictures" / f"{i}.png").write_bytes(picture("PNG"))
    with (
        measured() as extra,
        pytest.raises(DataError, match=r"keeping 100 decoded pictures \(cache=True\) needs 4\.7 GiB"),
    ):
        read(tmp_path / "pictures", size=4096, cache=True)
    assert extra() < ALLOWED


def test_the_measure_sees_memory():
    with measured() as extra:
        taken = np.ones(ALLOWED, np.uint8)
        assert extra() >= len(taken) * 0.9
    with measured(), pytest.raises(MemoryError):
        np.ones(2 * LIMIT, np.uint8)


def test_an_archive_that_is_right_is_read(tmp_path: Path):
    """The archives above are wrong in what they claim only."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(256)) + packer.flush()
    checksum = zlib.crc32(npy_header(4, 8, 8) + bytes(256))
    (tmp_path / "a.npz").write_bytes(archive(npy_header(4, 8, 8), packed, 384, checksum))
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None
    assert len(read(tmp_path / "a.npz")) == 4
