"""SkeletonCLR: MoCo's loss over views of bodies."""

from __future__ import annotations

import pytest
import torch

import twofold
from twofold.errors import ConfigError
from twofold.recipes import running
from twofold.training import metrics_log
from twofold.training.options import TrainingOptions

SMALL = {"encoder": "convnet1d-w4", "hidden_dim": 32, "projection_dim": 16}


def test_it_is_moco_with_other_views_and_numbers(bodies):
    dataset = bodies(24, 0)
    x = dataset.fetch(torch.arange(24))["inputs"]
    losses = []
    for recipe, options in ((twofold.SkeletonMoCo, {}), (twofold.MoCoV2, {"modality": "series", "temperature": 0.07})):
        torch.manual_seed(0)
        model = recipe(**SMALL, **options).build(dataset.spec)
        batch = {"views": [x, x.flip(1)], "index": torch.arange(24), "progress": 0.0}
        losses.append(model(batch)["total"])
    torch.testing.assert_close(losses[0], losses[1])


def test_its_views_are_of_bodies(bodies):
    model = twofold.SkeletonMoCo(**SMALL).build(bodies(24, 0).spec)
    steps = [type(step).__name__ for step in model.make_views().views[0].augmentations]
    assert steps == ["Shear", "ShiftTime"]
    extreme = twofold.SkeletonMoCo(**SMALL, views="aimclr").build(bodies(24, 0).spec).make_views()
    assert [len(view.augmentations) for view in extreme.views] == [2, 8]


def test_series_without_a_skeleton_are_refused(sensors):
    model = twofold.SkeletonMoCo(**SMALL).build(sensors(12, 0).spec)
    with pytest.raises(ConfigError, match="read the data with skeleton="):
        model.make_views()


def test_it_learns_and_is_saved(bodies, tmp_path):
    train, test = bodies(192, 0), bodies(90, 1)
    model = twofold.SkeletonMoCo(**SMALL)
    settings = TrainingOptions.checked(epochs=25, batch_size=48, lr=5e-3, seed=0, workers=0, precision="float32")
    running.fit_dataset(model, train, settings, out=tmp_path / "run")
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-10:]) < 0.8 * sum(losses[5:15])
    report = model.evaluate(train, test=test, metrics=("knn",))
    values = {row.name: row.metrics["knn"].value for row in report.rows}
    assert values["trained"] > values["untrained"] + 0.05, values
    again = twofold.load(tmp_path / "run")
    assert torch.equal(again.embed(test), model.embed(test))
