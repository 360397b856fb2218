"""CWCL: graded positives by what a locked tower finds alike."""

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.contrast.objectives import graded_info_nce, info_nce
from twofold.contrast.pairs import same, similar
from twofold.training import metrics_log

QUICK = {"epochs": 6, "batch_size": 16, "precision": "float32", "workers": 0, "lr": 3e-3}


def expected_loss(x, y, weight, temperature):
    logits = x @ y.T / temperature
    forward = -(weight * logits.log_softmax(1)).sum(1) / weight.sum(1)
    return forward.mean() + F.cross_entropy(logits.T, torch.arange(len(x)))


def rows_of(model, batch):
    return (F.normalize(model.represent(batch)[side][0].detach(), dim=1) for side in ("first", "second"))


def test_the_loss_is_the_papers(squares, on_pairs):
    model, batch = on_pairs(twofold.CWCL, squares, temperature=0.2)
    x, y = rows_of(model, batch)
    weight = (1 + x @ x.T) / 2
    assert torch.allclose(weight.diagonal(), torch.ones(12))
    torch.testing.assert_close(model(batch)["total"].detach(), expected_loss(x, y, weight, 0.2))


def test_sharper_and_centred_weights(squares, on_pairs):
    model, batch = on_pairs(twofold.CWCL, squares, temperature=0.2, weights="exponential", sharpness=0.3, center=True)
    first = model.represent(batch)["first"][0]
    x, y = rows_of(model, batch)
    centred = F.normalize(first - first.mean(0), dim=1)
    weight = ((centred @ centred.T - 1) / 0.3).exp()
    torch.testing.assert_close(model(batch)["total"].detach(), expected_loss(x, y, weight, 0.2))


def test_with_weights_for_the_pair_alone_it_is_lit(squares, on_pairs):
    model, batch = on_pairs(twofold.CWCL, squares, temperature=0.2, weights="exponential", sharpness=1e-4)
    lit, _ = on_pairs(twofold.LiT, squares, temperature=0.2)
    lit.load_state_dict(model.state_dict())
    outputs = model.represent(batch)
    names = torch.arange(12)
    alone = graded_info_nce(outputs["first"][0], outputs["second"][0], same(names, names), temperature=0.2)
    torch.testing.assert_close(alone, info_nce(outputs["first"][0], outputs["second"][0], temperature=0.2))
    torch.testing.assert_close(model(batch)["total"], 2 * lit(batch)["total"], rtol=1e-3, atol=1e-3)


def test_the_first_tower_is_locked_and_weights_are_constants(squares, on_pairs):
    model, batch = on_pairs(twofold.CWCL, squares)
    model.train()
    model(batch)["total"].backward()
    assert not any(parameter.requires_grad for parameter in model.encoder.first.parameters())
    assert all(parameter.grad is not None for parameter in model.encoder.second.parameters())
    rows = torch.randn(4, 3, requires_grad=True)
    rule = similar(F.normalize(rows, dim=1), F.normalize(rows, dim=1))
    assert not rule(torch.arange(2), torch.arange(4), torch.zeros(2, 4)).requires_grad


def test_a_rule_of_similar_rows_by_definition():
    own, others = (F.normalize(torch.randn(n, 3, generator=torch.Generator().manual_seed(n)), dim=1) for n in (5, 7))
    rule = similar(own, others)
    weight = rule(torch.tensor([4, 1]), torch.tensor([0, 6, 2]), torch.zeros(2, 3, dtype=torch.float64))
    for r, i in enumerate((4, 1)):
        for c, j in enumerate((0, 6, 2)):
            assert float(weight[r, c]) == pytest.approx(float(0.5 + own[i] @ others[j] / 2), rel=1e-5)
    assert weight.dtype == torch.float64
    assert float(weight.min()) >= 0


def test_it_learns_and_comes_back(squares, tmp_path):
    model = twofold.CWCL(encoder="mlp-w64+embedding-bag-w32@32").fit(squares, out=tmp_path / "run", **QUICK)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert torch.equal(twofold.load(tmp_path / "run").embed(squares), model.embed(squares))
