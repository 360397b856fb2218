"""LightGCN and what its relatives share: draws, the loss by a naive loop, micro-batches, learning."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import twofold
from twofold.errors import ConfigError
from twofold.recipes.interactions.lightgcn import draw_triples
from twofold.training.step import split_batch

NAMES = ("lightgcn", "sgl", "lightgcl")


def dense(graph):
    """D^-1/2 A D^-1/2, dense."""
    size = graph.users + graph.items
    a = torch.zeros(size, size)
    a[graph.edges[0], graph.users + graph.edges[1]] = 1
    a = a + a.T
    root = a.sum(1).clamp(min=1).rsqrt()
    return root[:, None] * a * root


@torch.no_grad()
def test_the_loss_is_its_formula(graph_data, ready):
    recipe, batch = ready("lightgcn", graph_data, encoder="lightgcn-w5-d2", l2=0.3)
    losses = {name: loss.detach() for name, loss in recipe(batch).items()}
    matrix, table = dense(graph_data.graph), recipe.encoder.table.detach()
    everyone = (table + matrix @ table + matrix @ matrix @ table) / 3
    ranking, norms = [], []
    for user, chosen, other in draw_triples(batch, recipe.draws).T.tolist():
        difference = float(everyone[user] @ everyone[chosen] - everyone[user] @ everyone[other])
        ranking.append(-math.log(1 / (1 + math.exp(-difference))))
        norms.append(sum(float(table[node].square().sum()) for node in (user, chosen, other)))
    assert float(losses["ranking"]) == pytest.approx(sum(ranking) / len(ranking), rel=1e-4)
    expected = sum(ranking) / len(ranking) + 0.3 / 2 * sum(norms) / len(norms)
    assert float(losses["total"]) == pytest.approx(expected, rel=1e-4)
    assert len(ranking) == 4 * len(graph_data)


def test_triples_are_drawn_evenly_from_what_was_chosen_and_what_not(graph_data, ready):
    _, batch = ready("lightgcn", graph_data)
    user, chosen, other = draw_triples(batch, 500)
    graph, users = graph_data.graph, graph_data.graph.users
    choices = torch.zeros(graph.users, graph.items, dtype=torch.bool)
    choices[tuple(graph.edges)] = True
    assert choices[user, chosen - users].all()
    assert not choices[user, other - users].any()
    edge = torch.bincount(user * graph.items + chosen - users, minlength=choices.numel())[choices.flatten()].double()
    assert ((edge - edge.mean()).abs() < 6 * edge.mean().sqrt()).all()
    first = torch.bincount(other[user == 0] - users, minlength=graph.items)[~choices[0]].double()
    assert ((first - first.mean()).abs() < 6 * first.mean().sqrt()).all()


@pytest.mark.parametrize("name", NAMES)
def test_micro_batches_draw_and_represent_what_the_whole_batch_does(name, graph_data, ready):
    recipe, batch = ready(name, graph_data)
    whole, again = recipe.represent(batch), recipe.represent(batch)
    parts = [recipe.represent(part) for part in split_batch(batch, 17)]
    for key, rows in whole.items():
        assert torch.equal(rows, again[key])
        together = torch.cat([part[key] for part in parts], 1)
        assert torch.allclose(together, rows, atol=1e-5), key


def test_without_layers_it_is_matrix_factorization(graph_data, ready):
    recipe, batch = ready("lightgcn", graph_data, encoder="embedding-w6")
    assert torch.equal(recipe.encode(batch["views"][0]), recipe.encoder.table)


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_and_its_files_give_the_same_vectors(name, graph_data, losses_after, tmp_path):
    own = {"weight": 0.02} if name == "lightgcl" else {}
    model = twofold.recipe(name)(encoder="lightgcn-w8-d2", **own)
    losses = losses_after(model, graph_data, epochs=60, lr=0.03)
    assert all(math.isfinite(loss) for loss in losses)
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
    rows = {row.name: row.metrics["ndcg_at_20"].value for row in model.evaluate(graph_data).rows}
    assert rows["trained"] > 1.15 * max(rows["untrained"], rows["popularity"])
    again = twofold.load(tmp_path / "run")
    assert type(again) is type(model)
    assert torch.equal(again.embed(graph_data), model.embed(graph_data))


def test_what_it_cannot_run_on_is_told(graph_data):
    class Own(nn.Module):
        dim = 3

        def forward(self, nodes):
            return torch.zeros(len(nodes), 3)

    with pytest.raises(ConfigError, match=r"LightGCN works on the vectors of all users and items.*Own does not give"):
        twofold.LightGCN(encoder=Own()).build(graph_data.spec)
    with pytest.raises(ConfigError, match="learns from interactions, not from image"):
        twofold.LightGCN(modality="image")
    model = twofold.LightGCN().build(graph_data.spec)
    reduced = model.modality.make_views("low-rank", graph_data.spec, preferred="", count=2)
    views = reduced(graph_data.fetch(torch.arange(4))["inputs"], generator=torch.Generator())[::-1]
    batch = {"views": views, "index": torch.arange(4), "generator": torch.Generator()}
    with pytest.raises(ConfigError, match="first view must be a graph of interactions"):
        model(batch)


def test_a_user_who_chose_everything_does_no_harm():
    pairs = torch.tensor([[0, 0], [0, 1], [0, 2], [1, 0]])
    model = twofold.LightGCN(encoder="embedding-w2").fit(pairs, split="all", epochs=2, batch_size=4, workers=0)
    assert model.embed(pairs).isfinite().all()
