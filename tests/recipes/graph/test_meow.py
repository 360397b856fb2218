"""MEOW: weights before and after clustering, ProtoNCE, what is kept; training on papers of three kinds."""

import math

import pytest
import torch
from hetero_source import papers

import twofold
from twofold.contrast.objectives import prototype_contrast, weighted_info_nce
from twofold.contrast.pairs import different
from twofold.contrast.prototypes import Clusters
from twofold.contrast.sparse_pairs import apart
from twofold.errors import ConfigError
from twofold.modalities.graph import hetero
from twofold.training import metrics_log

SMALL = {"encoder": "context-w8", "clusters": 3, "fine_clusters": 6}


@pytest.fixture(scope="module")
def source():
    return papers(60, mixed=0.2)


@pytest.fixture
def dataset(source):
    return hetero.read(source)


def a_batch(recipe, dataset, index, seed=0):
    views = recipe.make_views()(dataset.fetch(index)["inputs"], generator=torch.Generator().manual_seed(seed))
    return {"views": views, "index": index, "progress": 0.5}


def built(dataset, **options):
    torch.manual_seed(0)
    return twofold.MEOW(**(SMALL | options)).build(dataset.spec)


def test_before_there_are_clusters_all_others_repel_alike(dataset):
    recipe = built(dataset)
    index = torch.tensor([4, 50, 7, 9, 33])
    outputs = recipe.represent(batch := a_batch(recipe, dataset, index))
    losses = recipe.losses(outputs, batch)
    coarse, fine = outputs["coarse"][0], outputs["fine"][0]
    plain = weighted_info_nce(coarse, fine, temperature=0.4, weights=different(index, index))
    torch.testing.assert_close(losses["total"], plain + math.log(2))
    assert "prototypes" not in losses


def test_after_clustering_weights_and_prototypes_are_those_of_the_clusters(dataset):
    recipe = built(dataset, prototype_weight=0.7, cluster_epochs=1)
    everything = torch.arange(60)
    batch = a_batch(recipe, dataset, everything)
    recipe.after_step(recipe.represent(batch), batch)
    recipe.before_epoch(1)
    assert bool(recipe.found)
    assert [int(labels.max()) + 1 for labels in recipe.labels] == [3, 6]
    index = torch.tensor([4, 50, 7, 9, 33])
    part = a_batch(recipe, dataset, index)
    outputs = recipe.represent(part)
    losses = recipe.losses(outputs, part)
    coarse, fine = outputs["coarse"][0], outputs["fine"][0]
    labels = recipe.labels[:, index]
    contrast = weighted_info_nce(coarse, fine, temperature=0.4, weights=apart(labels, labels))
    clusterings = [Clusters(labels[0], recipe.centroids0), Clusters(labels[1], recipe.centroids1)]
    prototypes = prototype_contrast(coarse, clusterings, [recipe.concentrations0, recipe.concentrations1])
    torch.testing.assert_close(losses["total"], contrast + 0.7 * prototypes)
    assert recipe.concentrations1.mean().item() == pytest.approx(0.4)


def test_clusters_are_found_when_it_is_time(dataset):
    recipe = built(dataset, cluster_epochs=3)
    found = []
    for epoch in range(9):
        before = recipe.labels.clone()
        recipe.bank.rows.copy_(torch.randn_like(recipe.bank.rows))
        recipe.before_epoch(epoch)
        found.append(not torch.equal(before, recipe.labels))
    assert [epoch for epoch, new in enumerate(found) if new] == [1, 4, 7]


def test_the_bank_holds_projections_without_gradient(dataset):
    recipe = built(dataset)
    index = torch.tensor([4, 50, 7])
    batch = a_batch(recipe, dataset, index)
    outputs = recipe.represent(batch)
    recipe.after_step(outputs, batch)
    torch.testing.assert_close(recipe.bank.rows[index], outputs["fine"][0].detach())
    assert not recipe.bank.rows.requires_grad
    torch.testing.assert_close(outputs["fine"].norm(dim=2), torch.ones(1, 3))


def test_one_clustering_and_no_prototypes(dataset):
    recipe = built(dataset, fine_clusters=0, prototype_weight=0.0)
    assert recipe.labels.shape == (1, 60)
    recipe.before_epoch(1)
    assert "prototypes" not in recipe(a_batch(recipe, dataset, torch.arange(60)))


def test_few_samples_have_few_clusters(dataset):
    recipe = built(dataset, clusters=100, fine_clusters=300)
    assert recipe.counts == [15, 15]


def test_the_coarse_view_is_dropped_and_the_encoder_asks_for_the_most_similar_pairs(source, dataset):
    recipe = built(dataset)
    recipe(a_batch(recipe, dataset, torch.arange(60)))["total"].backward()
    assert [name for name, p in recipe.named_parameters() if p.grad is None] == []
    assert recipe.modality.reading_with(recipe.chosen_encoder) == {"nearest": 128}
    assert recipe.modality.reading_with("gcn") == {}
    with pytest.raises(ConfigError, match="MEOW needs an encoder that knows the ways of meta-paths"):
        twofold.MEOW(encoder="gcn").build(dataset.spec)


def test_its_loss_falls_and_it_is_saved(source, tmp_path):
    training = {"epochs": 40, "lr": 5e-3, "precision": "float32", "workers": 0, "seed": 1}
    recipe = twofold.MEOW(**SMALL).fit(source, out=tmp_path / "run", **training)
    records = list(metrics_log.read(tmp_path / "run" / "metrics.jsonl"))
    contrast = [record["contrast"] for record in records]
    assert sum(contrast[-5:]) < sum(contrast[1:6])
    assert "prototypes" in records[-1]
    vectors = recipe.embed(source)
    assert torch.equal(twofold.load(tmp_path / "run").embed(source), vectors)
