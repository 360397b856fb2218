"""SimCSE, unsupervised and supervised: the arithmetic, its neutral cases, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.contrast.objectives import info_nce
from twofold.errors import ConfigError
from twofold.training import metrics_log

SPEC = {"modality": "text", "samples": 64, "vocabulary": 40, "length": 8, "pad": 0, "special": [0], "mask": None}
SEAS = ["fish swim in the sea", "the sea is deep and blue", "waves of the sea carry fish", "deep blue waves"]
ROADS = ["cars burn oil on the road", "the road is long and dry", "oil and dust of the road", "cars on a long dry road"]


def built(name, *, columns=1, encoder="transformer-w64-d1", **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return twofold.recipe(name)(modality="text", encoder=encoder, **options).build(SPEC | {"columns": columns})


def a_batch(views=2, count=6, *, same=True):
    draw = torch.Generator().manual_seed(0)
    texts = [torch.randint(1, 40, (count, 8), generator=draw) for _ in range(views)]
    return {
        "views": [texts[0]] * views if same else texts,
        "index": torch.arange(count),
        "progress": 0.5,
        "generator": torch.Generator().manual_seed(1),
    }


def loop(anchors, candidates, tau):
    """Mean cross-entropy of each anchor's own candidate among all."""
    rows = []
    for i, anchor in enumerate(anchors):
        logits = torch.stack([F.cosine_similarity(anchor, one, dim=0) for one in candidates]) / tau
        rows.append(logits.logsumexp(0) - logits[i])
    return torch.stack(rows).mean()


def test_the_loss_is_one_sided_and_its_negatives_are_of_the_other_pass():
    recipe, batch = built("simcse"), a_batch()
    z = recipe.represent(batch)["z"]
    loss = recipe.losses({"z": z}, batch)["total"]
    torch.testing.assert_close(loss, loop(z[0], z[1], 0.05))
    assert not torch.isclose(loss, loop(z[1], z[0], 0.05))


def test_dropout_is_what_makes_the_views_differ():
    recipe, batch = built("simcse"), a_batch()
    first, second = recipe.represent(batch)["z"]
    assert not torch.equal(first, second)
    first, second = recipe.eval().represent(batch)["z"]
    assert torch.equal(first, second)


def test_the_head_is_dropped_here_and_kept_when_supervised():
    ids = a_batch()["views"][0]
    recipe = built("simcse").eval()
    assert torch.equal(recipe.encode(ids), recipe.encoder(ids))
    recipe = built("simcse-supervised", columns=2).eval()
    assert torch.equal(recipe.encode(ids), recipe.projector(recipe.encoder(ids)))


def test_supervised_with_two_texts_is_the_unsupervised_loss_of_them():
    recipe, batch = built("simcse-supervised", columns=2).eval(), a_batch(same=False)
    z = recipe.represent(batch)["z"]
    torch.testing.assert_close(recipe.losses({"z": z}, batch)["total"], info_nce(z[0], z[1], temperature=0.05))


def test_supervised_with_contradictions_has_twice_as_many_candidates():
    recipe, batch = built("simcse-supervised", columns=3).eval(), a_batch(3, same=False)
    assert recipe.view_count == 3
    z = recipe.represent(batch)["z"]
    expected = loop(z[0], torch.cat([z[1], z[2]]), 0.05)
    torch.testing.assert_close(recipe.losses({"z": z}, batch)["total"], expected)
    harder = built("simcse-supervised", columns=3, own_bonus=2.0).eval()
    assert harder.losses({"z": z}, batch)["total"] > expected


def test_at_equal_similarities_the_loss_is_the_chance_level():
    z = torch.ones(3, 6, 4)
    batch = a_batch(3)
    for name, columns, views, expected in (
        ("simcse", 1, 2, math.log(6)),
        ("simcse-supervised", 2, 2, math.log(6)),
        ("simcse-supervised", 3, 3, math.log(12)),
    ):
        recipe = built(name, columns=columns)
        assert recipe.chance_level(6) == pytest.approx(expected)
        assert float(recipe.losses({"z": z[:views]}, batch)["total"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("columns", [1, 4])
def test_supervised_wants_two_or_three_texts(columns):
    with pytest.raises(ConfigError, match=f"two or three texts a sample, the data has {columns}: name the columns"):
        built("simcse-supervised", columns=columns)


def test_it_is_bound_to_texts():
    with pytest.raises(ConfigError, match="text"):
        twofold.recipe("simcse")(modality="image")
    assert twofold.recipe("simcse")().modality.name == "text"


def test_pairs_bring_together_what_shares_no_word(tmp_path):
    pairs = [("fish", "wasser"), ("bird", "luft"), ("car", "strasse"), ("coin", "bank")] * 16
    model = twofold.recipe("simcse-supervised")(encoder="embedding-bag-w32")
    untrained = similarity_of_pairs(model.build(read(model, pairs)), pairs[:4])
    model.fit(pairs, out=tmp_path / "run", epochs=12, batch_size=16, workers=0, lr=2e-2, vocabulary=300, seed=0)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert losses[-1] < losses[0]
    assert similarity_of_pairs(model, pairs[:4]) > untrained + 0.3
    assert torch.equal(twofold.load(tmp_path / "run").embed(["fish"]), model.embed(["fish"]))


def read(model, pairs):
    return model.modality.read(pairs, vocabulary=300).spec


def similarity_of_pairs(model, pairs):
    """How much nearer each text is to its partner than to the others' partners."""
    first, second = (F.normalize(model.embed(list(texts)), dim=1) for texts in zip(*pairs, strict=True))
    similarity = first @ second.T
    others = ~torch.eye(len(pairs)).bool()
    return float(similarity.diag().mean() - similarity[others].mean())


def test_a_run_of_the_unsupervised_one(tmp_path):
    model = twofold.recipe("simcse")(encoder="transformer-w64-d1")
    model.fit((SEAS + ROADS) * 8, out=tmp_path / "run", epochs=4, batch_size=16, workers=0, vocabulary=300, seed=0)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert torch.equal(twofold.load(tmp_path / "run").embed(SEAS), model.embed(SEAS))
