"""TS2Vec: what it hides, what it compares, which weights it keeps; and that it learns."""

from __future__ import annotations

import pytest
import torch

import twofold
from twofold.contrast.objectives import hierarchical_contrast
from twofold.errors import ConfigError
from twofold.recipes import running
from twofold.training import metrics_log
from twofold.training.options import TrainingOptions

SPEC = {"modality": "series", "channels": 2, "length": 12, "mean": [0.0] * 2, "std": [1.0] * 2, "samples": 8}
SPEC |= {"joints": None, "parts": None, "normalize": "none", "mirror": None, "window": None}
ENCODER = "dilated-convnet-w8-d4"


@pytest.fixture
def built():
    torch.manual_seed(0)
    return twofold.TS2Vec(encoder=ENCODER).build(SPEC).eval()


def crops(recipe, n=4, seed=0):
    x = torch.randn(n, 12, 2, generator=torch.Generator().manual_seed(seed))
    return {"views": recipe.make_views()(x, generator=torch.Generator().manual_seed(seed)), "index": torch.arange(n)}


def test_features_are_those_of_the_common_steps(built):
    built.mask = 0.0
    batch = crops(built)
    z = built.represent(batch)["z"]
    for rows, view in zip(z, batch["views"], strict=True):
        first, last = view["common"][0].tolist()
        torch.testing.assert_close(rows, built.encoder.step_features(view["series"])[:, first:last])
    torch.testing.assert_close(built.losses({"z": z}, batch)["total"], hierarchical_contrast(z[0], z[1]))


def test_plain_views_are_compared_as_a_whole(built):
    x = torch.randn(3, 12, 2)
    assert built.represent({"views": [x, x]})["z"].shape == (2, 3, 12, 40)


def test_steps_are_hidden_at_random_and_only_in_training_passes(built):
    batch = crops(built)
    torch.manual_seed(0)
    first, second = built.represent(batch)["z"], built.represent(batch)["z"]
    assert not torch.allclose(first, second)
    torch.manual_seed(0)
    assert torch.equal(built.represent(batch)["z"], first)
    inputs = torch.randn(3, 12, 2)
    assert torch.equal(built.encode(inputs), built.encode(inputs))


def test_the_share_of_hidden_steps(built):
    kept = []
    built.encoder.step_features = lambda series, keep: kept.append(keep.float().mean()) or torch.zeros(400, 12, 4)
    for share in (0.0, 0.3, 1.0):
        built.mask = share
        built.common_steps(torch.zeros(400, 12, 2))
    assert [float(x) for x in kept] == pytest.approx([1.0, 0.7, 0.0], abs=0.03)


def test_the_kept_weights_are_the_mean_over_all_steps(built):
    name, weight = next((n, p) for n, p in built.encoder.named_parameters() if n.endswith("embed.weight"))
    seen = []
    for value in (1.0, 2.0, 6.0):
        with torch.no_grad():
            weight.fill_(value)
        seen.append(value)
        built.after_step({}, {})
        average = dict(built.average.module.named_parameters())[name]
        torch.testing.assert_close(average, torch.full_like(weight, sum(seen) / len(seen)))
    assert int(built.average_count) == 3
    inputs = torch.randn(2, 12, 2)
    torch.testing.assert_close(built.encode(inputs), built.average.module(inputs))
    assert not torch.allclose(built.encode(inputs), built.encoder(inputs))


def test_encoders_it_cannot_use_are_named():
    with pytest.raises(ConfigError, match="conv-transformer gives no features of them"):
        twofold.TS2Vec(encoder="conv-transformer").build(SPEC)
    with pytest.raises(ConfigError, match="convnet1d has batch norm"):
        twofold.TS2Vec(encoder="convnet1d").build(SPEC)
    with pytest.raises(ConfigError, match="TS2Vec learns from series, not from image"):
        twofold.TS2Vec(modality="image")


def test_it_learns_and_is_saved(sensors, tmp_path):
    train, test = sensors(96, 0), sensors(90, 1)
    model = twofold.TS2Vec(encoder=ENCODER)
    settings = TrainingOptions.checked(epochs=12, batch_size=16, seed=0, workers=0, precision="float32")
    running.fit_dataset(model, train, settings, out=tmp_path / "run")
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    report = model.evaluate(train, test=test, metrics=("knn",))
    values = {row.name: row.metrics["knn"].value for row in report.rows}
    assert values["trained"] > values["untrained"] + 0.02, values
    again = twofold.load(tmp_path / "run")
    assert torch.equal(again.embed(test), model.embed(test))


def test_micro_batches_give_the_same_steps(sensors):
    """Hidden steps are drawn anew for a micro-batch, so nothing is hidden here."""
    state = []
    for micro in (None, 8):
        model = twofold.TS2Vec(encoder="bigru-w4", mask=0.0)
        settings = TrainingOptions.checked(
            epochs=1, batch_size=16, micro_batch=micro, seed=0, workers=0, precision="float32"
        )
        running.fit_dataset(model, sensors(48, 0), settings)
        state.append(model.state_dict())
    for name, value in state[0].items():
        torch.testing.assert_close(value, state[1][name], atol=1e-5, rtol=1e-4)
