"""HeCo: the loss of the paper by a loop, what is shared, what is refused; training on papers of three kinds."""

import math

import pytest
import torch
from hetero_source import papers
from torch.nn import functional as F

import twofold
from twofold.errors import ConfigError
from twofold.modalities.graph import hetero
from twofold.modalities.graph.hetero.metapaths import closest
from twofold.recipes import measuring
from twofold.training import metrics_log

TRAINING = {"epochs": 40, "lr": 5e-3, "precision": "float32", "workers": 0, "seed": 1}


@pytest.fixture(scope="module")
def source():
    return papers(60, mixed=0.2)


def a_batch(recipe, dataset, index):
    views = recipe.make_views()(dataset.fetch(index)["inputs"], generator=torch.Generator().manual_seed(0))
    return {"views": views, "index": index, "progress": 0.5}


@pytest.mark.parametrize("balance", [0.5, 1.0, 0.2])
def test_the_loss_is_that_of_the_paper(source, balance):
    dataset = hetero.read(source)
    torch.manual_seed(0)
    recipe = twofold.HeCo(encoder="gcn-w8", balance=balance, positives=4).build(dataset.spec)
    index = torch.tensor([5, 3, 40, 41, 8, 11, 20, 2, 59])
    outputs = recipe.represent(batch := a_batch(recipe, dataset, index))
    listed = closest(dataset.graph, 4)
    positives = [
        [j for j in range(9) if index[j] in listed.partners[listed.starts[i] : listed.starts[i + 1]]] for i in index
    ]
    assert max(map(len, positives)) > 1
    m, s = (F.normalize(outputs[name][0].detach().double(), dim=1) for name in ("metapath", "schema"))

    def direction(a, b):
        losses = []
        for i, own in enumerate(positives):
            likeness = [math.exp(float(a[i] @ b[j]) / 0.8) for j in range(9)]
            losses.append(-math.log(sum(likeness[j] for j in own) / sum(likeness)))
        return sum(losses) / 9

    expected = balance * direction(m, s) + (1 - balance) * direction(s, m)
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(expected, rel=1e-5)


def test_both_views_share_the_projection_of_features(source):
    dataset = hetero.read(source)
    recipe = twofold.HeCo(encoder="gcn-w8").build(dataset.spec)
    assert recipe.schema.features.linear["of paper"] is recipe.encoder.features.linear["of paper"]
    recipe(a_batch(recipe, dataset, torch.arange(60)))["total"].backward()
    assert [name for name, p in recipe.named_parameters() if p.grad is None] == []


def test_what_it_needs(source, citations):
    with pytest.raises(ConfigError, match="HeCo learns from graphs with several kinds of nodes"):
        twofold.HeCo(encoder="gcn").build(citations.spec)
    alone = {**hetero.read(source).spec, "neighbours": []}
    with pytest.raises(ConfigError, match="and paper has none"):
        twofold.HeCo().build(alone)


def test_it_learns_the_kinds_and_is_saved(source, tmp_path):
    recipe = twofold.HeCo(encoder="gcn-w16").fit(source, out=tmp_path / "run", **TRAINING)
    records = list(metrics_log.read(tmp_path / "run" / "metrics.jsonl"))
    losses = [record["loss"] for record in records]
    assert sum(losses[-5:]) < sum(losses[:5]) - 1
    assert {"metapath", "schema"} <= records[0].keys()
    vectors = recipe.embed(source)
    assert vectors.shape == (60, 16)
    assert torch.equal(twofold.load(tmp_path / "run").embed(source), vectors)
    labels = source["paper"].y
    assert gap(vectors, labels) > gap(measuring.untrained_copy(recipe).embed(source), labels) + 0.02


def gap(rows, labels):
    """How much more alike papers of one kind are than papers of two."""
    rows = F.normalize(rows - rows.mean(0), dim=1)
    cosine, same = rows @ rows.T, labels[:, None] == labels[None]
    off = ~torch.eye(len(rows), dtype=torch.bool)
    return float(cosine[same & off].mean() - cosine[~same].mean())


def test_recipes_that_know_nothing_of_graphs_run_on_it(source):
    for kind in (twofold.SimCLR, twofold.VICReg, twofold.DCL):
        small = {"projection_dim": 16} | ({"hidden_dim": 16} if kind is twofold.VICReg else {})
        model = kind(modality="graph", encoder="gcn-w8", **small).fit(source, epochs=2, workers=0)
        assert model.embed(source).shape == (60, 8)
