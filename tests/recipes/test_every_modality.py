"""Every recipe that is not bound to a kind of data, on every kind of data: it learns, embeds, is saved and loaded."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_data import DATA, STEADY

import twofold
from twofold import modalities
from twofold.errors import ConfigError
from twofold.recipes import catalogue
from twofold.training import metrics_log

FREE = sorted(name for name in catalogue.RECIPES if "any" in catalogue.get(name).card.modalities)


UNLABELLED = ("interactions", "sequences")
"""What has no classes."""


def test_every_modality_is_covered():
    assert {"image", *DATA} == set(modalities.MODALITIES)
    assert len(FREE) > 10


@pytest.mark.parametrize("modality", DATA)
@pytest.mark.parametrize("name", FREE)
def test_a_recipe_runs_on_it(name, modality, small_recipes, tmp_path):
    source, reading, encoder = DATA[modality]()
    own = {key: value for key, value in small_recipes[name].items() if key != "encoder"}
    model = catalogue.get(name)(modality=modality, encoder=encoder, **own)
    training = {"epochs": 18, "batch_size": 16, "precision": "float32", "workers": 0, "lr": 3e-3}
    if model.needs_labels and modality in UNLABELLED:
        with pytest.raises(ConfigError, match="learns from labels, and the data has none"):
            model.fit(source, **training, **reading)
        return
    model.fit(source, out=tmp_path / "run", **training, **reading)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert len(losses) == 36
    assert all(math.isfinite(loss) for loss in losses)
    if name not in STEADY:  # queues and teachers move, and a few tiny batches do not outrun them
        assert sum(losses[-8:]) < sum(losses[4:12]), losses
    vectors = model.embed(source)
    assert vectors.shape == (32, model.encoder.dim)
    assert vectors.std(0).max() > 0
    again = twofold.load(tmp_path / "run")
    assert type(again) is type(model)
    assert torch.equal(again.embed(source), vectors)
