from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from twofold.errors import DataError
from twofold.training import files


def test_written_json_reads_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True, "é"], "b": {"c": []}}
    files.write_json(tmp_path / "deep" / "x.json", value)
    assert files.read_json(tmp_path / "deep" / "x.json") == value
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.json"]


def test_numbers_of_libraries_become_plain_and_not_finite_ones_null() -> None:
    value = {"t": torch.tensor([1, 2]), "n": np.float32(0.5), "nan": float("nan"), "inf": torch.tensor(torch.inf)}
    assert files.plain(value) == {"t": [1, 2], "n": 0.5, "nan": None, "inf": None}
    assert files.plain({1: (Path("a"), np.arange(2))}) == {"1": ["a", [0, 1]]}


def test_what_json_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="object cannot be written as JSON"):
        files.plain({"x": object()})


def test_a_failed_write_leaves_the_old_file_and_no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.txt"
    files.write_text(path, "old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        files.write_bytes(tmp_path / "x", b"1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644


def test_broken_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1,\n "b": }\n')
    with pytest.raises(DataError, match=r"x\.json, line 2, column 7"):
        files.read_json(path)
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DataError, match="not UTF-8"):
        files.read_json(path)
    with pytest.raises(DataError, match=r"gone\.json cannot be read: No such file"):
        files.read_json(tmp_path / "gone.json")


def test_sha256_is_the_known_one(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "x", b"abc")  # the example of FIPS 180-2, appendix B.1
    assert files.sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_write_json_is_strict_json(tmp_path: Path) -> None:
    files.write_json(tmp_path / "x.json", {"loss": float("inf")})
    strict = json.loads((tmp_path / "x.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert strict == {"loss": None}
