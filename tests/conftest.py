"""What tests of several rooms share: small data, small recipes, quick runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import twofold
from twofold.recipes import catalogue, running
from twofold.training import metrics_log
from twofold.training.options import TrainingOptions

sys.path.insert(0, str(Path(__file__).parent))  # for comparing.py: tests are no package

SMALL_HEADS = {
    "simclr": {},
    "supcon": {},
    "dcl": {},
    "mv-dhel": {"view_count": 3},
    "mv-infonce": {"view_count": 3},
    "cacr": {"view_count": 3},
    "moco-v2": {"queue_size": 64, "hidden_dim": 32, "projection_dim": 16},
    "moco-v3": {"hidden_dim": 32, "projection_dim": 16},
    "byol": {"hidden_dim": 32, "projection_dim": 16},
    "simsiam": {"projection_dim": 64, "hidden_dim": 16},
    "barlow": {"projection_dim": 64, "hidden_dim": 64},
    "vicreg": {"projection_dim": 64, "hidden_dim": 64},
    "nnclr": {"queue_size": 64, "hidden_dim": 32, "projection_dim": 16},
    "dino": {"prototypes": 32, "hidden_dim": 32, "bottleneck_dim": 16, "view_count": 3},
    "swav": {"prototypes": 16, "hidden_dim": 32, "projection_dim": 16, "view_count": 3, "queue_size": 64},
    "mochi": {"queue_size": 64, "hidden_dim": 32, "projection_dim": 16, "hardest": 8, "mixed": 8, "with_query": 4},
    "isogclr": {},
    "understanding-cl": {},
    "simcse": {},
    "simcse-supervised": {},
    "contriever": {"queue_size": 64},
    "whitenedcse": {"group_size": 4},
    "scarf": {"projection_dim": 16, "hidden_dim": 32},
    "supremix": {"projection_dim": 16, "hidden_dim": 32, "mixtures": 8},
    "cvrl": {"projection_dim": 16, "hidden_dim": 32},
    "ts2vec": {},
    "har-hn": {"projection_dim": 16, "hidden_dim": 32},
    "skeleton-moco": {"queue_size": 64, "hidden_dim": 32, "projection_dim": 16},
    "halp": {"queue_size": 16, "hidden_dim": 32, "projection_dim": 16, "prototypes": 4, "positives": 8, "start": 0.0},
    "grace": {"projection_dim": 32},
    "gca": {"projection_dim": 32},
    "dgi": {},
    "bgrl": {"hidden_dim": 32},
    "graphcl": {},
    "graphmae": {},
    "heco": {},
    "meow": {"clusters": 4, "fine_clusters": 8},
    "pointcontrast": {"projection_dim": 16, "hidden_dim": 32, "matches": 8, "radius": 0.5},
    "point-mae": {"decoder_depth": 1},
    "point-cmae": {"decoder_depth": 1},
    "clip": {},
    "siglip": {},
    "lit": {},
    "align": {},
    "cwcl": {},
    "contrastive-gap": {},
    "negclip": {},
    "collap": {"segments": 3},
    "lightgcn": {},
    "sgl": {},
    "lightgcl": {},
    "sasrec": {},
    "cl4srec": {},
}
"""Options by recipe that make it small: the whole catalogue runs in seconds."""


@pytest.fixture(scope="session")
def digits_set():
    """192 of the built-in digits, 8 x 8 and grey."""
    return twofold.data.digits("train").subset(torch.arange(192))


@pytest.fixture(scope="session")
def digits_held_out():
    return twofold.data.digits("test").subset(torch.arange(120))


@pytest.fixture(scope="session")
def small_recipes():
    """The options of every recipe of the catalogue that give it a small encoder and small heads."""
    return {name: {"encoder": "convnet-w16"} | options for name, options in SMALL_HEADS.items()}


@pytest.fixture
def make_recipe(small_recipes):
    """``make_recipe(name, **options)``: a recipe with a small encoder and small heads."""

    def make(name, **options):
        return catalogue.get(name)(**(small_recipes[name] | options))

    return make


@pytest.fixture
def quick_fit(make_recipe):
    """``quick_fit(recipe or name, dataset, out=None, **training)`` -> (recipe, result)."""

    def fit(recipe, dataset, out=None, progress=None, **training):
        recipe = make_recipe(recipe) if isinstance(recipe, str) else recipe
        chosen = {"epochs": 1, "batch_size": 48, "precision": "float32", "workers": 0, "seed": 3} | training
        settings = TrainingOptions.checked(**chosen).resolved(recipe.training_defaults)
        return recipe, running.fit_dataset(recipe, dataset, settings, out=out, progress=progress)

    return fit


@pytest.fixture
def a_batch():
    """``a_batch(views=2, count=8)``: a batch such as the trainer gives, for the recipes' own arithmetic."""

    def batch(views=2, count=8, *, seed=0, progress=0.5, index=None, **more):
        draw = torch.Generator().manual_seed(seed)
        return {
            "views": [torch.rand(count, 1, 8, 8, generator=draw) for _ in range(views)],
            "index": torch.arange(count) if index is None else index,
            "progress": progress,
            "generator": draw,
        } | more

    return batch


@pytest.fixture
def built(make_recipe):
    """``built(name, seed=0, **options)``: a small recipe with networks for 64 grey pictures of 8 x 8."""
    spec = {"modality": "image", "channels": 1, "size": 8, "mean": [0.5], "std": [0.3], "samples": 64}

    def build(name, seed=0, **options):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make_recipe(name, **options).build(spec)

    return build


@pytest.fixture
def losses_of(quick_fit, digits_set, tmp_path):
    """``losses_of(recipe)``: the losses of a run of eight steps, from a seed that is the same for all."""

    def losses(recipe, **training):
        folder = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
        quick_fit(recipe, digits_set, out=folder, **({"epochs": 2} | training))
        return [record["loss"] for record in metrics_log.read(folder / "metrics.jsonl")]

    return losses
