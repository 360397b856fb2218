"""The modality of texts as a whole."""

from __future__ import annotations

import math

import pytest
import torch

import twofold
from twofold.dataset import Subset
from twofold.errors import DataError
from twofold.modalities.text import MODALITY, RAW_WIDTH, SNIPPET

SEAS = ["fish swim in the sea", "the sea is deep and blue", "waves of the sea carry fish", "deep blue waves"]
ROADS = ["cars burn oil on the road", "the road is long and dry", "oil and dust of the road", "cars on a long dry road"]
TEXTS = [text for pair in zip(SEAS, ROADS, strict=True) for text in pair] * 4


def test_raw_features_count_tokens():
    dataset = MODALITY.read(["red red fish", "fish"], vocabulary=300)
    rows = MODALITY.raw_features(dataset.fetch(torch.arange(2)), dataset.spec)
    assert rows.shape == (2, min(RAW_WIDTH, dataset.spec["vocabulary"]))
    ids = dataset.fetch(torch.tensor([1]))["inputs"][0]
    for token in ids.unique():
        assert float(rows[1, token]) == pytest.approx(math.log1p(int((ids == token).sum())))
    assert float(rows[1].expm1().sum()) == pytest.approx(len(ids))
    assert float(rows[:, dataset.spec["pad"]].sum()) == 0


def test_previews_are_snippets_of_parts_too():
    dataset = MODALITY.read(["short", "word " * 100], vocabulary=300)
    short, long = MODALITY.previews(Subset(dataset, torch.tensor([1, 0])), torch.tensor([1, 0]))
    assert short == "short"
    assert long.endswith(" ...")
    assert len(long) <= SNIPPET + 4


def test_data_of_another_kind_does_not_fit():
    dataset = twofold.modalities.get("points").read(torch.rand(4, 8, 3), points=8)
    with pytest.raises(DataError, match="trained on texts, the data is 'points'"):
        MODALITY.check_fits(dataset, {})
    short, long = (MODALITY.read(TEXTS, vocabulary=300, length=length) for length in (6, 8))
    with pytest.raises(DataError, match="takes 6 tokens, the texts have up to 8"):
        MODALITY.check_fits(long, short.spec)


def test_training_separates_topics_and_use_is_deterministic(tmp_path):
    torch.manual_seed(0)
    source = (TEXTS, [0, 1] * (len(TEXTS) // 2))
    model = twofold.SimCLR(modality="text", encoder="embedding-bag-w32", views="crop", temperature=0.2)
    model.fit(TEXTS, epochs=60, batch_size=32, workers=0, lr=3e-2, vocabulary=400, precision="float32", seed=1)
    vectors = torch.nn.functional.normalize(model.embed(SEAS + ROADS), dim=1)
    similarity = vectors @ vectors.T
    inside = torch.cat([similarity[:4, :4][~torch.eye(4).bool()], similarity[4:, 4:][~torch.eye(4).bool()]])
    assert inside.mean() > similarity[:4, 4:].mean() + 0.3
    assert model.evaluate(source).rows[0].metrics["knn"].value == 1.0
    model.save(tmp_path)
    assert torch.equal(twofold.load(tmp_path).embed(SEAS), model.embed(SEAS))


def test_texts_that_hold_nothing_new_are_embedded():
    model = twofold.SimCLR(modality="text", encoder="embedding-bag-w16")
    model.fit(TEXTS, epochs=1, batch_size=32, workers=0, vocabulary=300)
    vectors = model.embed(["☃ 中文", "x" * 10_000, "", "fish"])
    assert vectors.shape == (3, 16)
    assert bool(vectors.isfinite().all())


class Bag(torch.nn.Module):
    """Means of token vectors, without dropout."""

    def __init__(self):
        super().__init__()
        self.tokens = torch.nn.Embedding(300, 8)

    def forward(self, ids):
        return self.tokens(ids).mean(1)


def test_micro_batches_give_the_same_gradient():
    runs = []
    for micro in (None, 8):
        torch.manual_seed(0)
        model = twofold.SimCSE(encoder=Bag(), views="deletion")
        training = {"epochs": 2, "batch_size": 32, "micro_batch": micro, "workers": 0, "precision": "float32"}
        model.fit(TEXTS, vocabulary=300, seed=0, **training)
        runs.append(model.embed(SEAS))
    torch.testing.assert_close(runs[0], runs[1], rtol=1e-4, atol=1e-5)
