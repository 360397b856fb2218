"""SupReMix: contrast that learns from a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import twofold
from twofold.contrast.objectives import nt_xent, ordinal
from twofold.contrast.ordinal_mixing import mix_ordinal
from twofold.errors import DataError
from twofold.modalities.table import data
from twofold.training import metrics_log

QUICK = {"batch_size": 32, "workers": 0, "precision": "float32", "lr": 1e-3, "seed": 0}


def priced(count, seed):
    """A price that hangs on two columns, among sixteen columns of noise."""
    x = np.random.default_rng(seed).normal(size=(count, 18))
    return {f"x{i}": x[:, i] for i in range(18)} | {"price": 50 + 10 * x[:, 0] + 5 * x[:, 1]}


@pytest.fixture(scope="module")
def prices():
    return data.read(priced(192, 0), target_column="price")


def built(prices, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return twofold.SupReMix(encoder="mlp-w16-d2", projection_dim=8, **options).build(prices.spec)


def batch_of(recipe, prices, count=12):
    batch = prices.fetch(torch.arange(count))
    views = recipe.make_views()(batch["inputs"], generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    return {"views": views, "index": batch["index"], "target": batch["target"], "generator": generator}


def test_it_is_the_ordinal_objective_on_steps_of_the_target(prices):
    recipe = built(prices, mixtures=6, window=7.0, temperature=0.2)
    batch = batch_of(recipe, prices)
    z = recipe.represent(batch)["z"]
    low, high = prices.target.min(), prices.target.max()
    steps = ((batch["target"] - low) / (high - low) * 100).round()
    assert torch.equal(recipe.steps(prices.target).sort().values[[0, -1]], torch.tensor([0.0, 100.0]))
    mixtures = mix_ordinal(z, steps, window=7.0, count=6, generator=torch.Generator().manual_seed(2))
    expected = ordinal(z, steps, temperature=0.2, mixtures=mixtures)
    torch.testing.assert_close(recipe(batch)["total"], expected)
    plain = built(prices, mixtures=0, temperature=0.2)
    torch.testing.assert_close(plain(batch_of(plain, prices))["total"], ordinal(z, steps, temperature=0.2))
    assert plain(batch_of(plain, prices))["total"].item() != pytest.approx(expected.item(), rel=1e-3)


def test_without_known_targets_it_is_simclr(prices):
    recipe = built(prices)
    batch = batch_of(recipe, prices)
    batch["target"] = torch.full((12,), torch.nan)
    torch.testing.assert_close(recipe(batch)["total"], nt_xent(recipe.represent(batch)["z"], temperature=0.3))


def test_no_gradient_flows_through_mixtures(prices):
    recipe = built(prices, mixtures=8)
    z = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    batch = batch_of(recipe, prices)
    steps = recipe.steps(batch["target"])
    mixtures = mix_ordinal(z, steps, window=5.0, count=8, generator=torch.Generator().manual_seed(2))
    (ours,) = torch.autograd.grad(recipe.losses({"z": z}, batch)["total"], z)
    (fixed,) = torch.autograd.grad(ordinal(z, steps, temperature=0.3, mixtures=mixtures), z)
    torch.testing.assert_close(ours, fixed)


def test_it_needs_a_target():
    with pytest.raises(DataError, match="learns from a number to predict, and the data has none: say target_column"):
        twofold.SupReMix().build(data.read(np.random.default_rng(0).normal(size=(20, 3))).spec)


def test_it_learns_and_comes_back(prices, tmp_path):
    recipe = twofold.SupReMix(encoder="mlp-w64-d2", mixtures=8, views="noise")
    recipe.fit(prices, out=tmp_path / "run", epochs=15, **QUICK)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert np.mean(losses[-15:]) < np.mean(losses[:15]) - 0.2
    assert torch.equal(twofold.load(tmp_path / "run").embed(prices), recipe.embed(prices))


def test_it_predicts_new_prices_better_than_the_untrained_encoder(prices):
    recipe = twofold.SupReMix(encoder="mlp-w64-d2", mixtures=16, views="noise").fit(prices, epochs=30, **QUICK)
    new = data.read(priced(200, 1), target_column="price")
    report = recipe.evaluate(prices, test=new)
    found = {row.name: row.metrics["knn_r2"].value for row in report.rows}
    assert found["trained"] > found["untrained"] + 0.1
