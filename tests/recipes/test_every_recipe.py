"""Every recipe in the catalogue, on real pictures: it learns, embeds, is saved, resumed, and cached exactly."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_data import STEADY

import twofold
from comparing import states_differ
from twofold.recipes import catalogue, running
from twofold.training import metrics_log
from twofold.training.options import TrainingOptions

RECIPES = sorted(name for name in catalogue.RECIPES if "any" in catalogue.get(name).card.modalities)


def settings(name, **changes):
    chosen = {"epochs": 8, "batch_size": 64, "lr": 3e-3, "seed": 5, "precision": "float32", "workers": 0} | changes
    return TrainingOptions.checked(**chosen).resolved(catalogue.get(name).training_defaults)


@pytest.fixture
def fit(make_recipe, digits_set):
    def fitted(name, out=None, **changes):
        recipe = make_recipe(name)
        return recipe, running.fit_dataset(recipe, digits_set, settings(name, **changes), out=out)

    return fitted


def test_the_small_settings_cover_the_catalogue(small_recipes):
    assert set(small_recipes) == set(catalogue.RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_few_steps_reduce_the_loss_and_the_files_give_the_same_vectors(name, make_recipe, digits_set, tmp_path):
    recipe = make_recipe(name, **STEADY.get(name, {}))
    result = running.fit_dataset(recipe, digits_set, settings(name), out=tmp_path / "run")
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert len(losses) == result.steps == 24
    assert all(math.isfinite(loss) for loss in losses)
    # The first steps meet an empty queue or a fresh center, so what counts is the fall after them.
    assert sum(losses[-4:]) < sum(losses[4:8])

    vectors = recipe.embed(digits_set)
    assert vectors.shape == (192, recipe.encoder.dim)
    assert vectors.std(0).max() > 0
    again = twofold.load(tmp_path / "run")
    assert type(again) is type(recipe)
    assert torch.equal(again.embed(digits_set), vectors)


@pytest.mark.parametrize("name", RECIPES)
def test_resumed_equals_uninterrupted(name, fit, make_recipe, digits_set, tmp_path, monkeypatch):
    whole, _ = fit(name, out=tmp_path / "whole", epochs=3)

    class Killed(BaseException):
        pass

    recipe = make_recipe(name)
    monkeypatch.setattr(type(recipe), "before_epoch", lambda self, epoch: stop_at(epoch))

    def stop_at(epoch):
        if epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        running.fit_dataset(recipe, digits_set, settings(name, epochs=3, checkpoint_steps=4), out=tmp_path / "cut")
    monkeypatch.undo()
    assert len(metrics_log.read(tmp_path / "cut" / "metrics.jsonl")) == 6
    resumed, result = fit(name, out=tmp_path / "cut", epochs=3)
    assert result.steps == 9
    assert states_differ(whole, resumed) == []
    first, second = (
        [
            {k: v for k, v in r.items() if k != "items_per_second"}
            for r in metrics_log.read(tmp_path / d / "metrics.jsonl")
        ]
        for d in ("whole", "cut")
    )
    assert first == second


@pytest.mark.parametrize("name", RECIPES)
def test_the_seed_decides_everything(name, fit):
    first, _ = fit(name, epochs=1)
    second, _ = fit(name, epochs=1)
    other, _ = fit(name, epochs=1, seed=6)
    assert states_differ(first, second) == []
    assert states_differ(first, other) != []
