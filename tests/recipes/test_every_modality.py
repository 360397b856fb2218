"""Every recipe that is not bound to a kind of data, on every kind of data: it trains, embeds, is saved and loaded."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import twofold
from twofold import modalities
from twofold.recipes import catalogue
from twofold.training import metrics_log

FREE = sorted(name for name in catalogue.RECIPES if "any" in catalogue.get(name).card.modalities)


def clouds():
    """Points near spheres and in clouds, with a class each."""
    points = np.random.default_rng(0).normal(size=(32, 24, 3)).astype(np.float32)
    labels = np.arange(32) % 2
    points[labels == 1] /= np.linalg.norm(points[labels == 1], axis=2, keepdims=True)
    return (points, labels), {"points": 24}, "pointnet-w8"


def sounds():
    """Low and high tones in noise, with a class each."""
    draw = np.random.default_rng(0)
    labels = np.arange(32) % 2
    phase = np.arange(2000) / 8000 * 2 * np.pi
    waves = np.sin(np.where(labels == 0, 300, 1200)[:, None] * phase) + 0.1 * draw.normal(size=(32, 2000))
    return (0.5 * waves.astype(np.float32), labels), {"rate": 8000}, "logmel-convnet-w8"


DATA = {"points": clouds, "audio": sounds}
"""What is not covered by ``test_every_recipe.py``, which is on images."""


def test_every_modality_is_covered():
    assert {"image", *DATA} == set(modalities.MODALITIES)
    assert len(FREE) > 10


@pytest.mark.parametrize("modality", DATA)
@pytest.mark.parametrize("name", FREE)
def test_a_recipe_runs_on_it(name, modality, small_recipes, tmp_path):
    source, reading, encoder = DATA[modality]()
    own = {key: value for key, value in small_recipes[name].items() if key != "encoder"}
    model = catalogue.get(name)(modality=modality, encoder=encoder, **own)
    training = {"epochs": 2, "batch_size": 16, "precision": "float32", "workers": 0, "lr": 1e-3}
    model.fit(source, out=tmp_path / "run", **training, **reading)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert len(losses) == 4
    assert all(math.isfinite(loss) for loss in losses)
    vectors = model.embed(source)
    assert vectors.shape == (32, model.encoder.dim)
    assert vectors.std(0).max() > 0
    again = twofold.load(tmp_path / "run")
    assert type(again) is type(model)
    assert torch.equal(again.embed(source), vectors)
