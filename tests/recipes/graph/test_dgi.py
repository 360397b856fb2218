"""DGI: nodes against a summary, features of others on the same edges."""

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.recipes.graph.dgi import DGI
from twofold.training import metrics_log


def a_batch(recipe, citations):
    inputs = citations.fetch(torch.arange(90))["inputs"]
    return {"views": recipe.make_views()(inputs, generator=torch.Generator().manual_seed(0)), "index": torch.arange(90)}


def test_the_loss_is_that_of_the_paper(citations):
    recipe = DGI(encoder="gcn-d1-w8").build(citations.spec)
    batch = a_batch(recipe, citations)
    clean, shuffled = batch["views"]
    assert torch.equal(clean.x, citations.graph.x)
    assert not torch.equal(shuffled.x, clean.x)
    h, corrupted = recipe.encoder(clean), recipe.encoder(shuffled)
    summary = torch.sigmoid(h.mean(0))
    scores = torch.cat([h, corrupted]) @ recipe.weight @ summary + recipe.bias
    truth = torch.cat([torch.ones(90), torch.zeros(90)])
    expected = F.binary_cross_entropy_with_logits(scores, truth)
    assert recipe(batch)["total"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_defaults_are_the_papers(citations):
    recipe = DGI().build(citations.spec)
    (layer,) = recipe.encoder.backbone.convolutions
    assert layer.lin.weight.shape == (512, 60)
    assert isinstance(recipe.encoder.backbone.activations[0], torch.nn.PReLU)
    assert recipe.chance_level(90) == pytest.approx(math.log(2))


def test_gradients_reach_the_encoder_from_both_graphs(citations):
    recipe = DGI(encoder="gcn-d1-w8").build(citations.spec)
    outputs = recipe.represent(batch := a_batch(recipe, citations))
    outputs["h"].retain_grad()
    recipe.losses(outputs, batch)["total"].backward()
    assert bool((outputs["h"].grad.abs().sum((1, 2)) > 0).all())
    assert all(p.grad is not None for p in recipe.parameters())


def test_it_learns_is_saved_and_beats_the_untrained_encoder(citations, cited, tmp_path):
    model = DGI(encoder="gcn-d1-w32")
    model.fit(citations, out=tmp_path / "run", epochs=60, lr=1e-2, workers=0, precision="float32")
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert losses[0] == pytest.approx(math.log(2), abs=0.05)
    assert sum(losses[-5:]) / 5 < 0.5
    rows = {r.name: r.metrics["accuracy"].value for r in model.evaluate(cited, task="random-splits").rows}
    assert rows["trained"] > rows["untrained"]
    assert rows["trained"] > rows["raw"] + 0.1
    assert torch.equal(twofold.load(tmp_path / "run").embed(cited), model.embed(cited))
