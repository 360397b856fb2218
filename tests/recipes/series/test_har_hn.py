"""HAR-HN: two sensors, hard negatives, and the baseline that it is without them."""

from __future__ import annotations

import math

import pytest
import torch

import twofold
from twofold.contrast.objectives import symmetric_info_nce
from twofold.errors import ConfigError
from twofold.recipes import running
from twofold.training import metrics_log
from twofold.training.options import TrainingOptions

SMALL = {"encoder": "two-stream-w16-d1", "hidden_dim": 32, "projection_dim": 16}


def rows(n=6, seed=0):
    return torch.randn(2, n, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_without_hardness_and_prior_it_is_cmc():
    z = rows()
    loss = twofold.HarHN(hardness=0.0, class_prior=0.0, temperature=0.1).objective({"z": z}, {})
    torch.testing.assert_close(loss, symmetric_info_nce(z[0], z[1], temperature=0.1))


def test_hardness_and_prior_change_the_loss():
    z = rows()
    losses = {
        (b, p): float(twofold.HarHN(hardness=b, class_prior=p).objective({"z": z}, {}))
        for b in (0.0, 1.0)
        for p in (0.0, 0.2)
    }
    assert losses[1.0, 0.0] > losses[0.0, 0.0]
    assert len(set(losses.values())) == 4
    assert twofold.HarHN(hardness=2.0).objective({"z": torch.ones(2, 8, 16)}, {}) == pytest.approx(math.log(8))
    assert twofold.HarHN().chance_level(8) == pytest.approx(math.log(8))


def test_each_view_shows_one_sensor(sensors):
    dataset = sensors(12, 0)
    model = twofold.HarHN(**SMALL).build(dataset.spec).eval()
    x = dataset.fetch(torch.arange(12))["inputs"]
    z = model.represent({"views": [x, x]})["z"]
    assert z.shape == (2, 12, 16)
    other = x.clone()
    other[..., 2:] = 0  # the second sensor
    changed = model.represent({"views": [other, other]})["z"]
    assert torch.equal(changed[0], z[0])
    assert not torch.allclose(changed[1], z[1])
    assert model.encode(x).shape == (12, 32)  # both side by side


def test_what_it_needs(sensors):
    with pytest.raises(ConfigError, match="view_count must be 2, not 3"):
        twofold.HarHN(view_count=3)
    with pytest.raises(ConfigError, match=r"class_prior must be below 1, got 1\.0"):
        twofold.HarHN(class_prior=1.0)
    spec = sensors(12, 0).spec
    with pytest.raises(ConfigError, match="needs an encoder for each part: two-stream, not bigru"):
        twofold.HarHN(encoder="bigru").build(spec)
    with pytest.raises(ConfigError, match="read the data with parts="):
        twofold.HarHN().build(spec | {"parts": None})


def test_it_learns_and_is_saved(sensors, tmp_path):
    train, test = sensors(192, 0), sensors(90, 1)
    model = twofold.HarHN(**SMALL)
    settings = TrainingOptions.checked(epochs=25, batch_size=48, lr=3e-3, seed=3, workers=0, precision="float32")
    running.fit_dataset(model, train, settings, out=tmp_path / "run")
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    report = model.evaluate(train, test=test, metrics=("linear",))
    values = {row.name: row.metrics["linear"].value for row in report.rows}
    assert values["trained"] > values["untrained"] + 0.02, values
    again = twofold.load(tmp_path / "run")
    assert torch.equal(again.embed(test), model.embed(test))
