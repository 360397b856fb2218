"""Every fault that fuzzing has found, as the smallest file that showed it; and proof that the harness sees faults."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from file_formats import FORMATS, Format, jpeg, npy, npz, picture, pixels, saved_recipe
from file_mutations import Input, attempt

from twofold.errors import DataError
from twofold.modalities.image.data import read


def cut_exif() -> bytes:
    """A JPEG whose EXIF block ends in the middle of its entries."""
    whole = jpeg()
    place = whole.index(b"Exif\0\0") + 6
    return whole[:place] + whole[place : place + 8] + b"\0\x63" + whole[place + 10 :]


def cut_deflate() -> bytes:
    whole = npz()
    place = whole.index(b"x_train.npy") + 40
    return whole[:place] + b"\xff" * 8 + whole[place + 8 :]


def header(text: str) -> bytes:
    """A .npy file with that header, and nothing behind it."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def without_options() -> bytes:
    """A configuration whose encoder is another one than the weights', in every tensor."""
    return json.dumps(json.loads(saved_recipe()["config.json"]) | {"options": {}}).encode()


HUGE = header("{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 25 + ", 8, 8), }\n")
OPEN = header("{'descr': '|u1', 'fortran_order': False, 'shape': (4, 7, 9\n")
FAR = npy(pixels(4, 7, 9)).replace(b"(4, 7, 9)", b"(360777252864,)")

FOUND = {
    "a header whose brackets are not closed": ("npy", OPEN, "refused"),
    "a shape beyond all integers": ("npy", HUGE, "refused"),
    "a header that claims more than memory holds": ("npy-in-npz", FAR, "refused"),
    "a member of an archive that is no array": ("npy-in-npz", b"not an array", "refused"),
    "a damaged stream in an archive": ("npz", cut_deflate(), "refused"),
    "type codes of Python 2": ("npy", npy(pixels(4, 7, 9)).replace(b"(4, 7, 9), ", b"(4L,7, 9), "), "read"),
    "numbers in another byte order": ("npy", npy((pixels(4, 7, 9) / 255).astype(">f4")), "read"),
    "a row longer than its header": ("csv", b"file_name\na.png,x,y\n", "read"),
    "a row shorter than its header": ("csv", b"label,file_name\nx\n", "refused"),
    "a cell too long to be shown": ("csv", b"file_name\n" + b"x" * 50_000 + b"\n", "refused"),
    "a header of many columns": ("csv", b",".join(b"c%d" % i for i in range(100_000)) + b"\n1\n", "refused"),
    "a row longer than any": ("csv", b"file_name\n" + b"x," * 600_000 + b"\n", "refused"),
    "a quote that is never closed": ("csv", b'file_name\n"' + b"x\n" * 80_000, "refused"),
    "lists nested too deeply": ("jsonl", b'{"file_name": "a.png", "x": ' + b"[" * 200_000, "refused"),
    "a number of too many digits": ("jsonl", b'{"file_name": "a.png", "label": ' + b"9" * 5000 + b"}", "refused"),
    "infinity as a class": ("jsonl", b'{"file_name": "a.png", "label": Infinity}', "refused"),
    "broken EXIF in a good picture": ("jpeg", cut_exif(), "read"),
    "an empty picture": ("png", b"", "refused"),
    "a recipe whose options are gone": ("saved recipe", without_options(), "refused"),
    "a TIFF that ends in its directory": ("tiff", picture("TIFF")[:-20], "refused"),
}


@pytest.mark.parametrize("what", FOUND)
def test_found_faults_stay_mended(what: str, tmp_path: Path):
    name, content, expected = FOUND[what]
    with warnings.catch_warnings():
        assert attempt(Input(name, FORMATS[name].spoilt[0], content), tmp_path) == expected


def test_names_that_are_no_text_can_still_be_saved(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(picture("PNG"))
    rows = [{"file_name": "a.png", "label": "\ud800"}, {"file_name": "\udfff.png", "label": "b"}]
    (tmp_path / "set.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    dataset = read(tmp_path / "set.jsonl")
    assert list(dataset.skipped) == ["\\udfff.png"]
    assert set(dataset.class_names) == {"\\ud800", "b"}


def test_warnings_of_the_decoder_are_not_shown(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(cut_exif())
    program = "import sys; from twofold.modalities.image.data import read; print(len(read(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
    with warnings.catch_warnings(record=True) as caught:  # whoever wants them gets them
        warnings.simplefilter("always")
        assert len(read(tmp_path)) == 1
    assert "Corrupt EXIF" in str(caught[0].message)


def faulty(raised: BaseException | Warning | None, path: Path) -> None:
    if isinstance(raised, Warning):
        warnings.warn(raised, stacklevel=1)
    elif raised is not None:
        raise raised


@pytest.mark.parametrize(
    "raised",
    [
        KeyError("shape"),
        MemoryError(),
        RecursionError(),
        UserWarning("odd metadata"),
        DataError("a file is damaged"),
        DataError("{folder} " + "x" * 20_000),
    ],
    ids=lambda raised: type(raised).__name__,
)
def test_the_harness_sees_faults(raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def reader(path: Path) -> None:
        text = str(raised)
        faulty(type(raised)(text.format(folder=tmp_path)) if "{" in text else raised, path)

    bad = Format(lambda: {"x": b"1"}, "x", ("x",), reader)
    monkeypatch.setitem(FORMATS, "bad", bad)
    with pytest.raises((type(raised), AssertionError)):
        attempt(Input("bad", "x", b"2"), tmp_path)


def test_the_harness_sees_broken_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.save(tmp_path / "a.npy", pixels(2, 8, 8))
    dataset = read(tmp_path / "a.npy")
    dataset.spec["mean"] = [float("nan")]
    monkeypatch.setattr("twofold.modalities.image.data.read", lambda path: dataset)
    with pytest.raises(ValueError, match="Out of range float values"):
        attempt(Input("npy", "a.npy", b""), tmp_path)
