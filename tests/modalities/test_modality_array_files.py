"""Files of arrays: whole ones come out as they went in, lying and unsafe ones are refused."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from twofold.errors import DataError
from twofold.modalities.array_files import NpzArrays, forget, open_npy

ARRAYS = [
    np.arange(12.0).reshape(3, 4),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.array(["é", "b"]),
    np.zeros((0, 3)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_what_is_written_is_read(array, tmp_path):
    np.save(tmp_path / "a.npy", array)
    assert np.array_equal(open_npy(tmp_path / "a.npy"), array)
    np.savez_compressed(tmp_path / "a.npz", first=array, second=array[:1])
    arrays = NpzArrays(tmp_path / "a.npz")
    assert list(arrays) == ["first", "second"]
    assert np.array_equal(arrays["first"], array)
    assert np.array_equal(arrays["second"], array[:1])


def test_a_header_that_claims_more_than_there_is(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((7, 3)))
    path.write_bytes(path.read_bytes().replace(b"(7, 3), }         ", b"(999999999999, 3),}"[:18] + b" "))
    with pytest.raises(DataError, match="damaged"):
        open_npy(path)
    np.save(path, np.zeros((7, 3)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"claims 168 bytes .* 160 are there"):
        open_npy(path)


def test_a_member_that_claims_more_than_it_can_hold(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((7, 3)))
    content = (tmp_path / "a.npy").read_bytes().replace(b"(7, 3)", b"(9, 3)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(DataError, match=r"a.npz\[a\]: damaged; its header claims 216 bytes \(9, 3\)"):
        NpzArrays(tmp_path / "a.npz")["a"]


def test_python_objects_and_other_files(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}, 1]), allow_pickle=True)
    with pytest.raises(DataError, match="can run any code"):
        open_npy(tmp_path / "o.npy")
    np.savez(tmp_path / "o.npz", o=np.array([{}, 1]))
    with pytest.raises(DataError, match="can run any code"):
        NpzArrays(tmp_path / "o.npz")["o"]
    (tmp_path / "t.npy").write_text("no array")
    with pytest.raises(DataError, match="damaged or not an array file"):
        open_npy(tmp_path / "t.npy")
    with pytest.raises(DataError, match="damaged or not an array file"):
        NpzArrays(tmp_path / "t.npy")
    np.save(tmp_path / "c.npy", np.zeros(3, complex))
    with pytest.raises(DataError, match="complex128"):
        open_npy(tmp_path / "c.npy")


def test_memory_of_mapped_files_is_given_back_but_never_changes_that_are_kept_there(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(10, np.uint8))
    private = np.load(tmp_path / "x.npy", mmap_mode="c")
    private[3] = 7
    forget(private)
    assert private[3] == 7
    mapped = open_npy(tmp_path / "x.npy")
    forget(mapped)
    assert mapped.tolist() == [0] * 10
