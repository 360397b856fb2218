"""CVRL: SimCLR's loss summed over the two parts, on views that are consistent in time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import twofold
from twofold.errors import ConfigError
from twofold.training import metrics_log

SPEC = {"channels": 1, "size": 12, "frames": 6, "mean": [0.5], "std": [0.3]}
SMALL = {"encoder": "r3d-w2", "hidden_dim": 16, "projection_dim": 8}


@pytest.fixture
def recipe():
    torch.manual_seed(0)
    return twofold.CVRL(**SMALL).build(SPEC).eval()


@pytest.fixture
def batch(recipe):
    clips = torch.rand(5, 6, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    return {"views": recipe.make_views()(clips, generator=torch.Generator().manual_seed(1))}


def test_the_loss_is_the_sum_of_the_means_of_both_parts(recipe, batch):
    z = torch.nn.functional.normalize(recipe.represent(batch)["z"], dim=2)
    assert z.shape == (2, 5, 8)
    total = torch.zeros(())
    for a, b in ((0, 1), (1, 0)):
        for i in range(5):
            similarity = [z[a, i] @ z[v, j] / 0.1 for v in (0, 1) for j in range(5) if (v, j) != (a, i)]
            total = total + (torch.stack(similarity).logsumexp(0) - z[a, i] @ z[b, i] / 0.1) / 5
    assert torch.allclose(recipe.objective({"z": z}, batch), total, atol=1e-5)


def test_but_for_the_sum_it_is_simclr(recipe, batch):
    plain = twofold.SimCLR(modality="video", encoder="r3d-w2").build(SPEC)
    outputs = recipe.represent(batch)
    assert torch.allclose(recipe.objective(outputs, batch), 2 * plain.objective(outputs, batch))
    assert recipe.chance_level(16) == 2 * plain.chance_level(16)
    same = {"z": torch.ones(2, 16, 8)}
    assert recipe.objective(same, batch).item() == pytest.approx(2 * math.log(31), rel=1e-5)


def test_the_projector_has_three_hidden_layers(recipe):
    widths = [layer.weight.shape for layer in recipe.projector if isinstance(layer, torch.nn.Linear)]
    assert widths == [(16, 16), (16, 16), (16, 16), (8, 16)]
    assert isinstance(recipe.projector[1], torch.nn.BatchNorm1d)


def test_it_is_bound_to_clips_and_takes_their_views():
    recipe = twofold.CVRL()
    assert (recipe.modality.name, recipe.chosen_encoder, recipe.temperature, recipe.view_count) == (
        "video",
        "r3d",
        0.1,
        2,
    )
    views = twofold.CVRL(**SMALL).build(SPEC).make_views()
    assert views == twofold.modalities.get("video").make_views("cvrl", SPEC, preferred="simclr", count=2)
    with pytest.raises(ConfigError, match="CVRL learns from video, not from audio"):
        twofold.CVRL(modality="audio")


def test_it_learns_and_is_saved(tmp_path):
    draw = np.random.default_rng(0)
    clips = np.repeat(draw.uniform(size=(24, 1, 12, 12)), 6, axis=1).astype(np.float32)
    model = twofold.CVRL(**SMALL, views="weak")
    options = {"epochs": 12, "batch_size": 12, "lr": 5e-3, "workers": 0, "precision": "float32"}
    model.fit(clips, out=tmp_path / "run", **options)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4]) - 1
    vectors = model.embed(clips)
    assert vectors.shape == (24, 16)
    again = twofold.load(tmp_path / "run")
    assert isinstance(again, twofold.CVRL)
    assert torch.equal(again.embed(clips), vectors)
