"""Small pairs of every form."""

import io

import numpy as np
import pytest

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")


def picture_file(number):
    from PIL import Image

    pixels = np.random.default_rng(number).integers(0, 256, size=(9, 9, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def pngs():
    """Eight encoded pictures."""
    return [picture_file(i) for i in range(len(WORDS))]


@pytest.fixture(scope="session")
def captions():
    return [f"a picture called {word}" for word in WORDS]


@pytest.fixture
def picture_folder(tmp_path, pngs):
    """A folder with eight pictures, 0.png to 7.png."""
    for i, content in enumerate(pngs):
        (tmp_path / f"{i}.png").write_bytes(content)
    return tmp_path


@pytest.fixture(scope="session")
def arrays(captions):
    """((pictures, labels), captions)."""
    pictures = np.random.default_rng(0).integers(0, 256, size=(8, 8, 8, 3), dtype=np.uint8)
    return (pictures, np.arange(8) % 2), captions
