"""GraphCL: the loss of the paper and of its code; training on graphs."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch_geometric.data import Data

import twofold
from twofold.modalities.graph import data
from twofold.training import metrics_log


@pytest.fixture(scope="module")
def rings():
    """Rings, and rings with chords: told apart by degrees alone."""
    made = []
    for i in range(40):
        n = 6 + i % 7
        ring = torch.stack([torch.arange(n), torch.arange(n).roll(-1)])
        chords = torch.stack([torch.arange(n), torch.arange(n).roll(-2)])
        edges = torch.cat([ring, chords], 1) if i % 2 else ring
        made.append(Data(edge_index=edges, y=torch.tensor(i % 2), num_nodes=n))
    return made


def a_batch(recipe, dataset, seed=0):
    inputs = dataset.fetch(torch.arange(10))["inputs"]
    views = recipe.make_views()(inputs, generator=torch.Generator().manual_seed(seed))
    return {"views": views, "index": torch.arange(10), "progress": 0.5}


def test_the_loss_is_that_of_the_code(rings):
    dataset = data.read(rings)
    torch.manual_seed(0)
    recipe = twofold.GraphCL(encoder="gin-w8", temperature=0.3).build(dataset.spec)
    outputs = recipe.represent(batch := a_batch(recipe, dataset))
    x, copy = F.normalize(outputs["z"].detach().double(), dim=2)
    losses = []
    for i in range(10):
        negatives = sum(math.exp(float(x[i] @ copy[j]) / 0.3) for j in range(10) if j != i)
        losses.append(math.log(negatives) - float(x[i] @ copy[i]) / 0.3)
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(sum(losses) / 10, rel=1e-5)


def test_the_first_view_is_the_graph_and_the_second_is_changed(rings):
    dataset = data.read(rings)
    recipe = twofold.GraphCL(encoder="gin-w8").build(dataset.spec)
    batch = a_batch(recipe, dataset)
    original = dataset.fetch(torch.arange(10))["inputs"]
    first, second = batch["views"]
    assert torch.equal(first.x, original.x)
    assert torch.equal(first.edge_index, original.edge_index)
    assert second.x.shape != original.x.shape or not torch.equal(second.x, original.x)
    assert recipe.preferred_encoder == "gin"


def test_it_learns_and_is_saved(rings, tmp_path):
    recipe = twofold.GraphCL(encoder="gin-w8").fit(
        rings, out=tmp_path / "run", epochs=10, batch_size=20, lr=3e-3, precision="float32", workers=0, seed=1
    )
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4]) - 0.4
    vectors = recipe.embed(rings)
    assert vectors.shape == (40, 24)
    assert torch.equal(twofold.load(tmp_path / "run").embed(rings), vectors)


def test_chance_is_the_log_of_the_others():
    assert twofold.GraphCL().chance_level(65) == pytest.approx(math.log(64))
