"""LightGCL: the contrast by dense matrices, and the ranking alone where it weighs nothing."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from twofold.recipes.interactions.lightgcl import CLAMP
from twofold.recipes.interactions.lightgcn import draw_triples


def parts(graph):
    """The normalized matrix of users × items, and its reduction to rank 5."""
    r = torch.zeros(graph.users, graph.items)
    r[tuple(graph.edges)] = 1
    r = r.sum(1, keepdim=True).rsqrt() * r * r.sum(0, keepdim=True).clamp(min=1).rsqrt()
    u, s, v = torch.linalg.svd(r)
    return r, u[:, :5] * s[:5] @ v[:5]


@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_the_loss_is_its_formula(scale, graph_data, ready):
    recipe, batch = ready("lightgcl", graph_data, encoder="lightgcn-w5-d2", temperature=0.4, weight=0.7, l2=0.01)
    with torch.no_grad():
        recipe.encoder.table *= scale
    losses = {name: value.detach() for name, value in recipe(batch).items()}
    graph, table = graph_data.graph, recipe.encoder.table.detach()
    r, low = parts(graph)
    user, item = [table[: graph.users]], [table[graph.users :]]
    low_user, low_item = user[0], item[0]
    for _ in range(2):
        low_user, low_item = low_user + low @ item[-1], low_item + low.T @ user[-1]
        user, item = [*user, r @ item[-1]], [*item, r.T @ user[-1]]
    values = []
    for own, around in ((sum(user), low_user), (sum(item), low_item)):
        similarity = around @ own.T / 0.4
        values.append(similarity.logsumexp(1) - similarity.diagonal().clamp(-CLAMP, CLAMP))
    contrast = 2 * float(torch.cat(values).mean())
    assert float(losses["contrast"]) == pytest.approx(contrast, rel=1e-3)
    everyone = torch.cat([sum(user), sum(item)])
    who, chosen, other = everyone[draw_triples(batch, recipe.draws)]
    ranking = float(F.softplus((who * other).sum(1) - (who * chosen).sum(1)).mean())
    expected = ranking + 0.7 * contrast + 0.01 * float(table.square().sum())
    assert float(losses["total"]) == pytest.approx(expected, rel=1e-3)
    if scale > 1:
        assert any((value.diagonal().abs() > CLAMP).any() for value in [low_user @ sum(user).T / 0.4])


def test_a_contrast_of_any_temperature_is_finite(graph_data, ready):
    recipe, batch = ready("lightgcl", graph_data, temperature=1e-4)
    losses = recipe(batch)
    losses["total"].backward()
    assert losses["total"].isfinite()
    assert recipe.encoder.table.grad.isfinite().all()


def test_without_weight_only_the_ranking_is_left(graph_data, ready):
    recipe, batch = ready("lightgcl", graph_data, weight=0.0, l2=0.0)
    losses = recipe(batch)
    assert torch.equal(losses["total"], losses["ranking"])
    assert recipe.encoder.depth == 2  # its paper's, unless another encoder is named
