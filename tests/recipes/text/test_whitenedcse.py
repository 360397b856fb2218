"""WhitenedCSE: whitening in the loss only, a sum over pairs with the first view, and its neutral case."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.contrast.whitening import shuffled_group_whitening
from twofold.errors import ConfigError
from twofold.training import metrics_log

SPEC = {"modality": "text", "samples": 64, "vocabulary": 40, "length": 8, "pad": 0, "special": [0], "mask": None}
TEXTS = ["fish swim in the sea", "the sea is deep", "cars burn oil", "the road is long", "oil and dust"]


def built(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {"encoder": "transformer-w64-d1", "group_size": 4} | options
        return twofold.recipe("whitenedcse")(**options).build(SPEC)


def a_batch(count=24, views=3, seed=1):
    draw = torch.Generator().manual_seed(0)
    text = torch.randint(1, 40, (count, 8), generator=draw)
    batch = {"views": [text] * views, "index": torch.arange(count), "progress": 0.5}
    return batch | {"generator": torch.Generator().manual_seed(seed)}


def test_the_loss_is_the_sum_over_the_other_views():
    recipe, batch = built(), a_batch()
    outputs = recipe.represent(batch)
    total = recipe.losses(outputs, batch)["total"]
    generator = torch.Generator().manual_seed(1)
    white = [shuffled_group_whitening(x, group_size=4, generator=generator) for x in outputs["features"]]
    z = [torch.tanh(recipe.projector[0](x)) for x in white]
    expected = 0
    for other in z[1:]:
        logits = F.cosine_similarity(z[0][:, None], other[None], dim=2) / 0.05
        expected = expected + F.cross_entropy(logits, torch.arange(24))
    torch.testing.assert_close(total, expected)


def test_other_permutations_give_another_loss():
    recipe = built().eval()
    losses = [recipe(a_batch(seed=seed))["total"].item() for seed in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


def test_one_group_of_everything_makes_equal_features_equal_views():
    recipe = built(group_size=64).eval()
    white = recipe.whitened(recipe.represent(a_batch(80))["features"], torch.Generator().manual_seed(0))
    torch.testing.assert_close(white[0], white[1], rtol=1e-3, atol=1e-3)
    small = built(group_size=2).eval()
    white = small.whitened(small.represent(a_batch(80))["features"], torch.Generator().manual_seed(0))
    assert (white[0] - white[1]).abs().max() > 0.1


def test_as_released_blocks_of_samples_share_a_permutation():
    recipe = built(as_released=True).eval()
    features = recipe.represent(a_batch())["features"]
    white = recipe.whitened(features, torch.Generator().manual_seed(0))
    assert white.shape == features.shape
    assert torch.equal(white[0], white[1]), "all copies of a sample are in the same block"
    ours = built().eval().whitened(features, torch.Generator().manual_seed(0))
    assert not torch.equal(ours[0], ours[1])


def test_neither_whitening_nor_head_is_part_of_the_embedding():
    recipe = built().eval()
    ids = a_batch()["views"][0]
    assert torch.equal(recipe.encode(ids), recipe.encoder(ids))
    assert torch.equal(recipe.encode(ids[:1])[0], recipe.encode(ids[:1])[0])


def test_every_part_learns():
    recipe = built()
    recipe(a_batch())["total"].backward()
    assert all(parameter.grad is not None for parameter in recipe.parameters())


def test_the_chance_level():
    assert built().chance_level(24) == pytest.approx(2 * math.log(24))


def test_group_sizes_must_divide_the_width():
    with pytest.raises(ConfigError, match="group_size 6 does not divide the encoder's 64 dimensions; take one of"):
        built(group_size=6)


def test_a_run(tmp_path):
    model = twofold.recipe("whitenedcse")(encoder="embedding-bag-w32", group_size=4)
    training = {"epochs": 8, "batch_size": 40, "workers": 0, "vocabulary": 300, "seed": 0, "lr": 1e-2}
    model.fit([f"{text} {i}" for i in range(16) for text in TEXTS], out=tmp_path / "run", **training)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert torch.equal(twofold.load(tmp_path / "run").embed(TEXTS), model.embed(TEXTS))
