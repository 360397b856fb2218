"""GRACE and GCA: the loss of the paper, pair by pair; and training on a graph with groups."""

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.recipes.graph.gca import GCA
from twofold.recipes.graph.grace import GRACE
from twofold.training import metrics_log


def a_batch(recipe, citations, seed=0):
    inputs = citations.fetch(torch.arange(0, 90, 2))["inputs"]
    views = recipe.make_views()(inputs, generator=torch.Generator().manual_seed(seed))
    return {"views": views, "index": torch.arange(45), "progress": 0.5}


def naive(u, v, tau):
    """Eq. 1 as it is printed, both directions, pair by pair."""
    u, v = F.normalize(u, dim=1), F.normalize(v, dim=1)
    total = 0.0
    for a, b in ((u, v), (v, u)):
        for i in range(len(a)):
            positive = math.exp(float(a[i] @ b[i]) / tau)
            between = sum(math.exp(float(a[i] @ b[j]) / tau) for j in range(len(b)))
            within = sum(math.exp(float(a[i] @ a[j]) / tau) for j in range(len(a)) if j != i)
            total -= math.log(positive / (between + within))
    return total / (2 * len(u))


@pytest.mark.parametrize("kind", [GRACE, GCA])
def test_the_loss_is_that_of_the_paper(kind, citations):
    torch.manual_seed(0)
    recipe = kind(encoder="gcn-w8", temperature=0.3).build(citations.spec)
    outputs = recipe.represent(batch := a_batch(recipe, citations))
    z = outputs["z"].detach().double()
    assert z.shape == (2, 45, 8)
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(naive(z[0], z[1], 0.3), rel=1e-5)


def test_the_defaults_are_those_for_cora(citations):
    recipe = GRACE().build(citations.spec)
    widths = [layer.lin.weight.shape[0] for layer in recipe.encoder.backbone.convolutions]
    assert widths == [256, 128]
    assert [type(layer).__name__ for layer in recipe.projector] == ["Linear", "ELU", "Linear"]
    views = recipe.make_views().views
    assert [(view.steps[0].share, view.steps[1].share) for view in views] == [(0.2, 0.3), (0.4, 0.4)]
    assert recipe.temperature == 0.4


def test_gca_differs_from_grace_in_its_views_alone(citations):
    torch.manual_seed(0)
    grace = GRACE(encoder="gcn-w8").build(citations.spec)
    torch.manual_seed(0)
    gca = GCA(encoder="gcn-w8", views="grace").build(citations.spec)
    losses = [recipe(a_batch(recipe, citations))["total"] for recipe in (grace, gca)]
    assert torch.equal(*losses)
    own = GCA(encoder="gcn-w8").build(citations.spec)
    own.load_state_dict(grace.state_dict())
    assert not torch.equal(own(a_batch(own, citations))["total"], losses[0])


def test_chance_is_where_all_nodes_are_alike(citations):
    recipe = GRACE(encoder="gcn-w8").build(citations.spec)
    same = {"z": torch.ones(2, 45, 8)}
    assert recipe.losses(same, {})["total"].item() == pytest.approx(recipe.chance_level(45))


@pytest.mark.parametrize("kind", [GRACE, GCA])
def test_it_learns_is_saved_and_beats_the_untrained_encoder(kind, citations, cited, tmp_path):
    model = kind(encoder="gcn-w16")
    model.fit(citations, out=tmp_path / "run", epochs=40, lr=5e-3, workers=0, precision="float32")
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-5:]) < sum(losses[:5]) - 1
    rows = {r.name: r.metrics["accuracy"].value for r in model.evaluate(cited, task="random-splits").rows}
    assert rows["trained"] > rows["untrained"] + 0.03
    assert rows["trained"] > rows["raw"] + 0.1
    vectors = model.embed(cited)
    assert torch.equal(twofold.load(tmp_path / "run").embed(cited), vectors)
    assert torch.allclose(model.embed(cited, batch_size=7), vectors, atol=1e-6)  # batches do not matter in use
