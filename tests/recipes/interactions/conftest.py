"""Small graphs and sequences with something to be learned, and batches of them as the trainer gives."""

from __future__ import annotations

import pytest
import torch

from twofold import modalities
from twofold.recipes import catalogue


@pytest.fixture
def graph_data():
    """40 users and 30 items: even users mostly choose even items."""
    draw = torch.Generator().manual_seed(0)
    same = torch.arange(40)[:, None] % 2 == torch.arange(30) % 2
    chosen = torch.rand(40, 30, generator=draw) < torch.where(same, 0.5, 0.03)
    chosen[:, 0] = True
    return modalities.get("interactions").read(chosen.nonzero())


@pytest.fixture
def sequence_data():
    """60 users who go through 20 items in order, each from a place of their own."""
    draw = torch.Generator().manual_seed(0)
    rows = []
    for user in range(60):
        start, length = (int(torch.randint(low, high, (1,), generator=draw)) for low, high in ((0, 20), (5, 12)))
        rows += [[user, (start + t) % 20, t] for t in range(length)]
    return modalities.get("sequences").read(torch.tensor(rows))


@pytest.fixture
def ready():
    """``ready(name, data, seed=0, **options)``: a recipe with networks, and a batch of all samples."""

    def make(name, data, seed=0, **options):
        torch.manual_seed(seed)
        recipe = catalogue.get(name)(**options).build(data.spec)
        index = torch.arange(len(data))
        inputs = data.fetch(index)["inputs"]
        batch = {
            "views": recipe.make_views()(inputs, generator=torch.Generator().manual_seed(seed + 1)),
            "index": index,
            "progress": 0.5,
            "generator": torch.Generator().manual_seed(seed + 2),
        }
        return recipe, batch

    return make


@pytest.fixture
def losses_after(tmp_path):
    """``losses_after(recipe, data, **training)``: the losses of a run."""
    from twofold.training import metrics_log

    def run(recipe, data, **training):
        options = {"batch_size": 30, "precision": "float32", "workers": 0, "seed": 3} | training
        recipe.fit(data, out=tmp_path / "run", **options)
        return [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]

    return run
