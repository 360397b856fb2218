"""SCARF: the clean row asks, corrupted rows answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_wine
from torch import nn

import twofold
from twofold.contrast.objectives import info_nce
from twofold.errors import ConfigError
from twofold.modalities.table import data
from twofold.training import metrics_log

QUICK = {"batch_size": 64, "workers": 0, "precision": "float32", "lr": 1e-3, "seed": 0}


@pytest.fixture(scope="module")
def wine():
    return data.read(load_wine())


def built(wine, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return twofold.SCARF(encoder="mlp-w16-d2", projection_dim=8, **options).build(wine.spec)


def batch_of(recipe, wine, count=12):
    inputs = wine.rows[:count]
    views = recipe.make_views()(inputs, generator=torch.Generator().manual_seed(1))
    return {"views": views, "index": torch.arange(count)}


def test_it_is_info_nce_from_clean_to_corrupted_rows(wine):
    recipe = built(wine)
    batch = batch_of(recipe, wine)
    assert torch.equal(batch["views"][0], wine.rows[:12])
    z = nn.functional.normalize(recipe.represent(batch)["z"].detach(), dim=-1)
    losses = []
    for i in range(12):
        similarities = [float(z[0, i] @ z[1, k]) for k in range(12)]
        losses.append(-similarities[i] + math.log(sum(math.exp(s) for s in similarities)))
    assert recipe(batch)["total"].item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_more_views_are_averaged(wine):
    recipe = built(wine, view_count=4, temperature=0.3)
    batch = batch_of(recipe, wine)
    z = recipe.represent(batch)["z"]
    each = [info_nce(z[0], z[v], temperature=0.3) for v in (1, 2, 3)]
    torch.testing.assert_close(recipe(batch)["total"], torch.stack(each).mean())


def test_the_networks_are_those_of_the_paper(wine):
    recipe = twofold.SCARF().build(wine.spec)
    layers = [module for module in recipe.modules() if not list(module.children())]
    assert {type(layer) for layer in layers} <= {nn.Linear, nn.ReLU, nn.Identity, nn.ModuleList}
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [256] * 6
    assert recipe.options["modality"] == "table"
    assert recipe.options["temperature"] == 1


def test_the_chance_level(wine):
    recipe = built(wine)
    value = recipe.losses({"z": torch.ones(2, 9, 4)}, {})["total"].item()
    assert value == pytest.approx(recipe.chance_level(9), rel=1e-5)


def test_it_learns_and_comes_back(wine, tmp_path):
    recipe = twofold.SCARF(encoder="mlp-w64-d2").fit(wine, out=tmp_path / "run", epochs=40, **QUICK)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    assert torch.equal(twofold.load(tmp_path / "run").embed(wine), recipe.embed(wine))


def test_trained_beats_untrained_with_few_labels(wine):
    scores = []
    for seed in range(2):
        recipe = twofold.SCARF().fit(wine, epochs=60, **QUICK | {"seed": seed})
        report = recipe.evaluate(wine, metrics=("few_shot",), seed=seed)
        found = {row.name: row.metrics["few_shot"].value for row in report.rows}
        scores.append(found["trained"] - found["untrained"])
    assert np.mean(scores) > 0.02


def test_it_is_for_tables():
    with pytest.raises(ConfigError, match="SCARF learns from table, not from image"):
        twofold.SCARF(modality="image")
