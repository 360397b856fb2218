"""BGRL: a teacher of its own, a predictor, no negatives."""

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.recipes.graph.bgrl import BGRL
from twofold.training import metrics_log


@pytest.fixture
def recipe(citations):
    torch.manual_seed(0)
    return BGRL(encoder="gcn-w8-bn", hidden_dim=16, momentum=0.6).build(citations.spec)


def a_batch(recipe, citations, progress=0.0):
    inputs = citations.fetch(torch.arange(90))["inputs"]
    views = recipe.make_views()(inputs, generator=torch.Generator().manual_seed(0))
    return {"views": views, "index": torch.arange(90), "progress": progress}


def test_the_loss_is_that_of_the_paper(recipe, citations):
    outputs = recipe.represent(batch := a_batch(recipe, citations))
    p, t = (outputs[name].detach() for name in ("prediction", "target"))
    expected = 2 - F.cosine_similarity(p[0], t[1]).mean() - F.cosine_similarity(p[1], t[0]).mean()
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert p.shape == t.shape == (2, 90, 8)


def test_the_teacher_starts_from_weights_of_its_own_and_follows(recipe, citations):
    student, teacher = (dict(m.named_parameters()) for m in (recipe.encoder, recipe.teacher.module))
    weights = [name for name in student if name.endswith("lin.weight")]
    assert len(weights) == 2
    assert all(not torch.allclose(student[name], teacher[name]) for name in weights)
    before = {name: value.clone() for name, value in teacher.items()}
    recipe.after_step({}, a_batch(recipe, citations))
    for name, value in teacher.items():
        assert torch.allclose(value, 0.6 * before[name] + 0.4 * student[name], atol=1e-6)
    settled = {name: value.clone() for name, value in teacher.items()}
    recipe.after_step({}, a_batch(recipe, citations, progress=1.0))
    assert all(torch.equal(value, settled[name]) for name, value in teacher.items())


def test_the_predictor_may_have_norms(citations):
    recipe = BGRL(encoder="gcn-w8-bn-linear", hidden_dim=16, predictor_norm="batch").build(citations.spec)
    kinds = [type(part).__name__ for part in recipe.predictor]
    assert kinds == ["BatchNorm1d", "PReLU", "Linear", "BatchNorm1d", "PReLU", "Linear"]
    recipe(a_batch(recipe, citations))["total"].backward()
    assert all(p.grad is not None for p in recipe.predictor.parameters())


def test_no_gradient_reaches_the_teacher(recipe, citations):
    recipe(a_batch(recipe, citations))["total"].backward()
    assert all(p.grad is None for p in recipe.teacher.parameters())
    assert all(p.grad is not None for part in (recipe.encoder, recipe.predictor) for p in part.parameters())


def test_the_teacher_keeps_running_statistics_of_its_own(recipe, citations):
    recipe.represent(a_batch(recipe, citations))
    recipe.after_step({}, a_batch(recipe, citations))
    student, teacher = (m.backbone.norms[0].running_mean for m in (recipe.encoder, recipe.teacher.module))
    assert not torch.allclose(student, teacher)
    assert recipe.encoder.backbone.norms[0].momentum == 0.99


def test_it_learns_is_saved_and_beats_the_untrained_encoder(citations, cited, tmp_path):
    model = BGRL(encoder="gcn-w16-bn", hidden_dim=32)
    model.fit(citations, out=tmp_path / "run", epochs=80, lr=5e-3, workers=0, precision="float32")
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    rows = {r.name: r.metrics["accuracy"].value for r in model.evaluate(cited, task="random-splits").rows}
    assert rows["trained"] > rows["untrained"]
    assert rows["trained"] > rows["raw"] + 0.1
    vectors = model.embed(cited)
    assert vectors.std(0).mean() > 0.01
    assert torch.equal(twofold.load(tmp_path / "run").embed(cited), vectors)
