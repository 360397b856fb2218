"""Every recipe of one kind of data, on tiny data: it learns, and stopped, resumed or loaded it is the same."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_data import DATA, FOR_RECIPES

import twofold
from comparing import states_differ
from twofold.recipes import catalogue, running
from twofold.training import metrics_log
from twofold.training.options import TrainingOptions

BOUND = sorted(name for name in catalogue.RECIPES if "any" not in catalogue.card(name).modalities)
EPOCHS, STEPS_PER_EPOCH = 20, 2
TRAINING = {"epochs": EPOCHS, "batch_size": 16, "lr": 3e-3, "precision": "float32", "workers": 0, "seed": 5}
STEADY = {
    "contriever": {"momentum": 1.0},
    "skeleton-moco": {"momentum": 1.0},
    "halp": {"momentum": 1.0},
    "scarf": {"temperature": 0.2},
}
"""Losses that are measured against a moving target, or nearly flat, fall only later than a few steps."""


class Stopped(BaseException):
    """What no code catches."""


@pytest.fixture
def made(small_recipes):
    """``made(name) -> (recipe, source, reading)``, small."""

    def make(name):
        source, reading, encoder = FOR_RECIPES.get(name, DATA[catalogue.card(name).modalities[0]])()
        own = {key: value for key, value in small_recipes[name].items() if key != "encoder"}
        chosen = {} if encoder is None else {"encoder": encoder}
        return catalogue.get(name)(**chosen, **own, **STEADY.get(name, {})), source, reading

    return make


def fit(recipe, source, reading, out, **changes):
    dataset = recipe.modality.read(source, **(recipe.modality.reading_with(recipe.chosen_encoder) | reading))
    settings = TrainingOptions.checked(**(TRAINING | changes))
    return dataset, running.fit_dataset(recipe, dataset, settings, out=out)


def records(folder):
    """The metrics of a run, but for its speed."""
    return [
        {key: value for key, value in record.items() if key != "items_per_second"}
        for record in metrics_log.read(folder / "metrics.jsonl")
    ]


@pytest.mark.parametrize("name", BOUND)
def test_it_learns_and_ends_the_same_when_stopped_and_loaded(name, made, tmp_path, monkeypatch):
    recipe, source, reading = made(name)
    dataset, result = fit(recipe, source, reading, tmp_path / "whole")
    losses = [record["loss"] for record in records(tmp_path / "whole")]
    assert len(losses) == result.steps == EPOCHS * STEPS_PER_EPOCH
    assert all(math.isfinite(loss) for loss in losses)
    # The first steps meet an empty queue, so what counts is the fall after them.
    assert sum(losses[-8:]) < sum(losses[4:12]), losses

    vectors = recipe.embed(dataset)
    assert vectors.shape == (len(dataset), recipe.encoder.dim)
    assert vectors.isfinite().all()
    assert vectors.std(0).max() > 0
    again = twofold.load(tmp_path / "whole")
    assert type(again) is type(recipe)
    assert torch.equal(again.embed(dataset), vectors)

    cut, source, reading = made(name)
    before_epoch = type(cut).before_epoch

    def stopping(self, epoch):
        if epoch == EPOCHS // 2:
            raise Stopped
        before_epoch(self, epoch)

    monkeypatch.setattr(type(cut), "before_epoch", stopping)
    with pytest.raises(Stopped):
        fit(cut, source, reading, tmp_path / "cut", checkpoint_steps=4)
    monkeypatch.setattr(type(cut), "before_epoch", before_epoch)
    resumed, source, reading = made(name)
    fit(resumed, source, reading, tmp_path / "cut")
    assert states_differ(recipe, resumed) == []
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
