"""Decoded pictures on disk: the same as decoded ones, whatever happens to files, processes and disks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import twofold.modalities.image.readers.disk_cache as disk_cache
import twofold.modalities.image.readers.files as files
from twofold.errors import ConfigError, DataError
from twofold.modalities.image import MODALITY
from twofold.modalities.image.data import read
from twofold.modalities.image.readers.disk_cache import cache_folder, is_disk
from twofold.options import options_of, parse

COUNT, SIZE = 12, 16
EVERYTHING = torch.arange(COUNT)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        save(folder / f"{number:02d}.jpg", seed=number, width=30 + number)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return f"disk:{tmp_path / 'cache'}"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that were decoded so far."""
    names: list[str] = []
    original = files.decode

    def counting(source: Any, **options: Any) -> Any:
        names.append(Path(source).name)
        return original(source, **options)

    monkeypatch.setattr(files, "decode", counting)
    return names


def save(path: Path, *, seed: int, width: int = 30) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)


def opened(folder: Path, cache: Any, **options: Any) -> Any:
    return read(folder, size=SIZE, cache=cache, **options)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_second_run_decodes_nothing_and_gives_the_same(photos: Path, cache: str, decoded: list[str]) -> None:
    plain = opened(photos, False)
    expected = plain.fetch(EVERYTHING)
    decoded.clear()
    first = opened(photos, cache)
    assert same(first.fetch(EVERYTHING), expected)
    assert len(decoded) == COUNT
    decoded.clear()
    again = opened(photos, cache)
    assert same(again.fetch(EVERYTHING), expected)
    assert again.spec == plain.spec
    assert decoded == []


def test_only_a_changed_file_is_decoded_again(photos: Path, cache: str, decoded: list[str]) -> None:
    opened(photos, cache)
    save(photos / "03.jpg", seed=99)
    os.utime(photos / "03.jpg", ns=(1, 1))
    decoded.clear()
    found = opened(photos, cache).fetch(EVERYTHING)
    assert decoded == ["03.jpg"]
    assert same(found, opened(photos, False).fetch(EVERYTHING))


def test_a_file_that_changes_while_it_is_used_is_noticed(photos: Path, cache: str) -> None:
    dataset = opened(photos, cache)
    before = dataset.fetch(torch.tensor([3]))["inputs"]
    save(photos / "03.jpg", seed=99, width=77)
    after = dataset.fetch(torch.tensor([3]))["inputs"]
    assert not torch.equal(before, after)
    assert torch.equal(after, opened(photos, False).fetch(torch.tensor([3]))["inputs"])


def test_a_deleted_file_is_not_served_from_the_cache(photos: Path, cache: str) -> None:
    dataset = opened(photos, cache)
    (photos / "03.jpg").unlink()
    assert 3 not in dataset.fetch(EVERYTHING)["index"]
    assert dataset.skipped == {"03.jpg": "no such file"}


@pytest.mark.parametrize("option", [{"size": 17}, {"channels": 1}, {"more": True}])
def test_another_form_or_another_list_has_a_cache_of_its_own(
    photos: Path, cache: str, tmp_path: Path, option: dict[str, Any]
) -> None:
    opened(photos, cache)
    if "more" in option:
        save(photos / "12.jpg", seed=12)
    if "channels" in option:
        for path in photos.iterdir():
            Image.open(path).convert("L").save(path)
    size = option.get("size", SIZE)
    found = read(photos, size=size, cache=cache).fetch(EVERYTHING)
    assert same(found, read(photos, size=size, cache=False).fetch(EVERYTHING))
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_the_same_names_elsewhere_are_other_pictures(photos: Path, cache: str, tmp_path: Path) -> None:
    opened(photos, cache)
    other = tmp_path / "other"
    other.mkdir()
    for number in range(COUNT):
        save(other / f"{number:02d}.jpg", seed=100 + number)
    assert same(opened(other, cache).fetch(EVERYTHING), opened(other, False).fetch(EVERYTHING))
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("name", ["pixels.bin", "records.bin"])
@pytest.mark.parametrize("content", [b"\0", b"\xa5"])
def test_damaged_caches_are_mended(
    photos: Path, cache: str, tmp_path: Path, decoded: list[str], name: str, content: bytes
) -> None:
    expected = opened(photos, cache).fetch(EVERYTHING)
    (path,) = (tmp_path / "cache").glob(f"*/{name}")
    length = path.stat().st_size
    with path.open("r+b") as file:  # the last third of the rows, as after a power failure
        file.seek(length - length // 3)
        file.write(content * (length // 3))
    decoded.clear()
    assert same(opened(photos, cache).fetch(EVERYTHING), expected)
    assert sorted(decoded) == [f"{number:02d}.jpg" for number in range(8, 12)]
    decoded.clear()
    assert same(opened(photos, cache).fetch(EVERYTHING), expected)
    assert decoded == []


def test_subsets_share_the_files(photos: Path, cache: str, tmp_path: Path, decoded: list[str]) -> None:
    dataset = opened(photos, cache)
    decoded.clear()
    part = dataset.subset(torch.tensor([7, 2, 5])).subset(torch.tensor([2, 0]))
    del dataset
    assert torch.equal(
        part.fetch(torch.arange(2))["inputs"], opened(photos, False).fetch(torch.tensor([5, 7]))["inputs"]
    )
    assert not any(name in decoded[:-COUNT] for name in ("05.jpg", "07.jpg"))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_pictures_without_files_are_known_by_their_content(tmp_path: Path, cache: str) -> None:
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    save(tmp_path / "one.jpg", seed=1)
    save(tmp_path / "two.jpg", seed=2)
    contents = [(tmp_path / name).read_bytes() for name in ("one.jpg", "two.jpg")]
    table = tmp_path / "table.parquet"
    for order in (contents, contents[::-1], contents):
        pq.write_table(pa.table({"image": [{"bytes": content, "path": None} for content in order]}), table)
        rows = torch.arange(2)
        assert torch.equal(opened(table, cache).fetch(rows)["inputs"], opened(table, False).fetch(rows)["inputs"])


def test_a_full_disk_ends_the_keeping_but_not_the_run(
    photos: Path, cache: str, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    expected = opened(photos, False).fetch(EVERYTHING)
    original, kept = disk_cache._write, []

    def filling(file: int, offset: int, content: memoryview) -> None:
        if len(kept) >= 6:  # half of a picture arrives
            original(file, offset, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        kept.append(offset)
        original(file, offset, content)

    monkeypatch.setattr(disk_cache, "_write", filling)
    with pytest.warns(UserWarning, match=r"No more decoded pictures are kept in .*No space left") as told:
        dataset = opened(photos, cache)
    assert len(told) == 1
    assert same(dataset.fetch(EVERYTHING), expected)  # without a second warning
    monkeypatch.undo()
    assert same(opened(photos, cache).fetch(EVERYTHING), expected)


def test_too_small_a_disk_is_told_beforehand(photos: Path, cache: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match=r"need 9\.0 KiB more on disk, and 1,000 bytes are free.*cache=False"):
        opened(photos, cache)


def test_a_folder_that_cannot_be_made_is_told(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match=r"cannot be kept in .*taken.*another folder"):
        opened(photos, f"disk:{tmp_path / 'taken'}")


READER = textwrap.dedent("""
    import sys
    import torch
    from twofold.modalities.image.data import read

    folder, cache, delay = sys.argv[1:]
    if float(delay):
        import time
        import twofold.modalities.image.readers.disk_cache as disk_cache
        original = disk_cache._write

        def slow(file, offset, content):
            half = len(content) // 2
            original(file, offset, content[:half])
            time.sleep(float(delay))
            original(file, offset + half, content[half:])

        disk_cache._write = slow
    print("begin", flush=True)
    found = read(folder, size=16, cache=cache).fetch(torch.arange(12))
    print("sum", int(found["inputs"].long().sum()), flush=True)
""")


def reader(folder: Path, cache: str, delay: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", READER, str(folder), cache, str(delay)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def begun(cache: Path) -> int:
    """How many records have been begun to be written."""
    content = b"".join(path.read_bytes() for path in cache.glob("*/records.bin"))
    return sum(any(content[start : start + 24]) for start in range(0, len(content), 24))


def test_being_killed_half_way_leaves_nothing_wrong(
    photos: Path, cache: str, tmp_path: Path, decoded: list[str]
) -> None:
    expected = opened(photos, False).fetch(EVERYTHING)
    process = reader(photos, cache, delay=0.1)
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    until = time.monotonic() + 60
    while begun(tmp_path / "cache") < 3:  # the second of them is whole
        assert time.monotonic() < until, "nothing was kept"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    decoded.clear()
    assert same(opened(photos, cache).fetch(EVERYTHING), expected)
    assert 0 < len(decoded) < COUNT


def test_two_processes_and_their_threads_may_share_it(photos: Path, cache: str) -> None:
    expected = opened(photos, False).fetch(EVERYTHING)
    processes = [reader(photos, cache, delay=0.001) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0].split() for process in processes]
    assert [output[-1] for output in outputs] == [str(int(expected["inputs"].long().sum()))] * 2
    dataset, found = opened(photos, cache), []
    threads = [threading.Thread(target=lambda: found.append(dataset.fetch(EVERYTHING))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(same(batch, expected) for batch in found)


def test_where_it_lies_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("disk", ["a"]).parent == tmp_path / "twofold" / "pictures"
    assert cache_folder("disk:here/there", ["a"]).parent == Path("here/there")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder("disk", ["a"]).parent == Path("~/.cache/twofold/pictures").expanduser()
    assert cache_folder("disk", ["ab", "c"]) != cache_folder("disk", ["a", "bc"])


@pytest.mark.parametrize("cache", ["dsik", "disk:", "memory", "disc:here", "/some/folder"])
def test_other_words_are_refused(photos: Path, cache: str) -> None:
    with pytest.raises(ConfigError, match="it is true, false, 'disk' or 'disk:FOLDER'"):
        opened(photos, cache)


def test_the_option_is_read_from_text() -> None:
    option = options_of(MODALITY.read)["cache"]
    read_as = {text: parse(option, text) for text in ("true", "false", "none", "disk", "disk:here")}
    assert read_as == {"true": True, "false": False, "none": None, "disk": "disk", "disk:here": "disk:here"}
    assert [is_disk(value) for value in read_as.values()] == [False, False, False, True, True]
    assert all(option.problem(value) is None for value in read_as.values())
