"""Small pairs that can be learned: pictures, sounds, and words that say what they show."""

import numpy as np
import pytest
import torch

from twofold import modalities

ROWS, COLUMNS = ("top", "upper", "lower", "bottom"), ("left", "west", "east", "right")


@pytest.fixture(scope="session")
def squares():
    """64 pictures of a square in one of 16 places, and words that say where and a name that occurs once."""
    draw = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 60, (64, 3, 8, 8), generator=draw, dtype=torch.uint8)
    texts = []
    for i in range(64):
        row, column = i % 4, i // 4 % 4
        pictures[i, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 190
        texts.append(f"the {ROWS[row]} square of the {COLUMNS[column]} side number {i}")
    return pictures, texts


@pytest.fixture(scope="session")
def melodies():
    """Sounds of three tones, one after the other, and words for the tones in their order."""
    words = {"low": 300, "middle": 800, "high": 2000}
    draw = np.random.default_rng(0)
    time = np.arange(2000) / 8000
    waves, texts = [], []
    for _ in range(48):
        chosen = draw.choice(list(words), 3)
        tones = [np.sin(2 * np.pi * words[word] * time) for word in chosen]
        waves.append(0.4 * np.concatenate(tones) + 0.01 * draw.normal(size=6000))
        texts.append(" ".join(chosen))
    return np.stack(waves).astype(np.float32), texts


@pytest.fixture(scope="session")
def on_pairs():
    """``on_pairs(recipe, source, encoder=..., reading=..., count=12, **options)`` -> (built recipe, a batch)."""

    def build(recipe, source, *, encoder="mlp-w64+embedding-bag-w32@32", reading=None, count=12, **options):
        dataset = modalities.get("paired").read(source, **(reading or {}))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = recipe(encoder=encoder, **options).build(dataset.spec).eval()
        fetched = dataset.fetch(torch.arange(count))
        views = model.make_views()(fetched["inputs"], generator=torch.Generator().manual_seed(0))
        return model, {"views": views, "index": fetched["index"], "progress": 0.25}

    return build
