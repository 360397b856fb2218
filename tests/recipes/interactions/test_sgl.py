"""SGL: the contrast by a naive loop, and LightGCN where it weighs nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.errors import ConfigError


@torch.no_grad()
def test_the_contrast_is_its_formula(graph_data, ready):
    recipe, batch = ready("sgl", graph_data, encoder="lightgcn-w5-d2", temperature=0.4, weight=0.7, l2=0.0)
    losses = recipe(batch)
    first, second = (F.normalize(recipe.encoder(view), dim=1) for view in batch["views"][1:])
    users = graph_data.graph.users
    values = []
    for node in range(len(graph_data)):
        kind = range(users) if node < users else range(users, len(graph_data))
        logits = [float(first[node] @ second[other]) / 0.4 for other in kind]
        own = float(first[node] @ second[node]) / 0.4
        values.append(math.log(sum(map(math.exp, logits))) - own)
    expected = 2 * sum(values) / len(values)
    assert float(losses["contrast"]) == pytest.approx(expected, rel=1e-4)
    assert float(losses["total"]) == pytest.approx(float(losses["ranking"]) + 0.7 * expected, rel=1e-4)


@torch.no_grad()
def test_without_weight_it_is_lightgcn_on_the_whole_graph(graph_data, ready):
    ours, batch = ready("sgl", graph_data, weight=0.0)
    base, other = ready("lightgcn", graph_data)
    assert batch["views"][0].graph is other["views"][0].graph
    assert float(ours(batch)["total"]) == pytest.approx(float(base(other)["total"]))


@pytest.mark.parametrize("views", ["edge-dropout", "node-dropout", "random-walk"])
def test_the_graphs_that_are_contrasted_are_thinned(views, graph_data, ready):
    _, batch = ready("sgl", graph_data, views=views)
    whole = batch["views"][0].graph.edges.shape[1]
    thinned = [view.graph.at(0).edges.shape[1] for view in batch["views"][1:]]
    assert all(0 < count < whole for count in thinned)


def test_it_needs_the_whole_graph_and_two_others():
    with pytest.raises(ConfigError, match="view_count must be at least 3, got 2"):
        twofold.SGL(view_count=2)
