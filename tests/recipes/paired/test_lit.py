"""LiT: one tower is locked, and the other learns to fit it."""

import pytest
import torch
from torch import nn

import twofold
from twofold import modalities
from twofold.errors import ConfigError
from twofold.training import metrics_log


@pytest.fixture(scope="module")
def source():
    pictures = torch.randint(0, 255, (12, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return pictures, [f"picture {word}" for word in "abcdefghijkl"]


def test_only_the_second_tower_learns(source):
    spec = modalities.get("paired").read(source).spec
    encoder = modalities.get("paired").make_encoder("convnet-w4+embedding-bag-w8", spec, rebuild={})
    before = {name: value.clone() for name, value in encoder.first.state_dict().items()}
    text = {name: value.clone() for name, value in encoder.second.state_dict().items()}
    model = twofold.LiT(encoder=encoder)
    model.fit(source, epochs=3, batch_size=6, lr=1e-2, workers=0)
    assert all(torch.equal(before[name], value) for name, value in model.encoder.first.state_dict().items())
    assert any(not torch.equal(text[name], value) for name, value in model.encoder.second.state_dict().items())
    assert model.embed(source[0], side="first").shape[1] == model.encoder.first.dim


def test_the_locked_tower_gets_no_gradient(source):
    dataset = modalities.get("paired").read(source)
    model = twofold.LiT(encoder="convnet-w4+embedding-bag-w8").build(dataset.spec).train()
    batch = dataset.fetch(torch.arange(12))
    views = model.make_views()(batch["inputs"], generator=torch.Generator().manual_seed(0))
    outputs = model.represent({"views": views, "index": batch["index"]})
    assert not outputs["first"].requires_grad
    model.objective(outputs, {}).backward()
    assert all(parameter.grad is None for parameter in model.encoder.first.parameters())
    assert all(parameter.grad is not None for parameter in model.encoder.second_projection.parameters())
    assert isinstance(model.encoder.first_projection, nn.Identity)


def test_the_loss_falls_and_a_run_comes_back(source, tmp_path):
    model = twofold.LiT(encoder="convnet-w8+embedding-bag-w16")
    model.fit(source, epochs=30, batch_size=12, lr=1e-2, workers=0, out=tmp_path / "a", precision="float32")
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "a" / "metrics.jsonl")]
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(twofold.load(tmp_path / "a").embed(source), model.embed(source))


def test_an_encoder_without_towers_cannot_be_locked(source):
    own = nn.Linear(2, 2)
    own.dim = 2
    with pytest.raises(ConfigError, match="LiT locks a tower of a PairEncoder, and Linear is none"):
        twofold.LiT(encoder=own).build(modalities.get("paired").read(source).spec)
