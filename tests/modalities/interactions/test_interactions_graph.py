"""The graph of users and items against dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from twofold.dataset import Rows, take, to_device
from twofold.modalities.interactions.graph import Bipartite, Layered, low_rank, pure_svd, singular_vectors
from twofold.modalities.interactions.nodes import Nodes

USERS, ITEMS = 9, 7


def relation(seed=0):
    return torch.rand(USERS, ITEMS, generator=torch.Generator().manual_seed(seed)) < 0.4


def graph_of(chosen, seed=0):
    edges = chosen.nonzero().T
    return Bipartite(
        *chosen.shape, edges[:, torch.randperm(edges.shape[1], generator=torch.Generator().manual_seed(seed))]
    )


def normalized(chosen):
    """D^-1/2 A D^-1/2, dense."""
    users, items = chosen.shape
    a = torch.zeros(users + items, users + items)
    a[:users, users:] = chosen.float()
    a = a + a.T
    root = a.sum(1).clamp(min=1).rsqrt()
    return root[:, None] * a * root


def test_a_step_is_the_dense_product_and_so_is_its_gradient():
    chosen, rows = relation(), torch.randn(USERS + ITEMS, 3, dtype=torch.float64, requires_grad=True)
    graph = graph_of(chosen)
    assert torch.allclose(graph.propagate(rows), normalized(chosen).double() @ rows, atol=1e-6)
    assert gradcheck(graph.propagate, (rows,))
    assert torch.equal(graph.degrees, torch.cat([chosen.sum(1), chosen.sum(0)]))


def test_a_step_stays_in_single_precision_under_autocast():
    graph, rows = graph_of(relation()), torch.randn(USERS + ITEMS, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        passed = graph.propagate(rows)
    assert passed.dtype == torch.float32
    assert torch.equal(passed, graph.propagate(rows))


@pytest.mark.parametrize("seed", range(3))
def test_a_thinned_graph_is_that_of_its_edges(seed):
    graph = graph_of(relation())
    keep = torch.rand(graph.edges.shape[1], generator=torch.Generator().manual_seed(seed)) < 0.6
    left = torch.zeros(USERS, ITEMS, dtype=torch.bool)
    left[tuple(graph.edges[:, keep])] = True
    rows = torch.randn(USERS + ITEMS, 3)
    again = graph.thinned(keep).thinned(torch.ones(int(keep.sum()), dtype=torch.bool))
    for thin in (graph.thinned(keep), again):
        assert torch.allclose(thin.propagate(rows), normalized(left) @ rows, atol=1e-6)
    nothing = graph.thinned(keep & False)
    assert torch.equal(nothing.propagate(rows), torch.zeros_like(rows))


def test_items_that_were_not_chosen_are_counted_through():
    chosen = relation(1)
    chosen[3] = False
    chosen[4] = True
    graph = graph_of(chosen)
    for user in range(USERS):
        left = (~chosen[user]).nonzero().flatten()
        assert torch.equal(graph.not_chosen(torch.full_like(left, user), torch.arange(len(left))), left)
    assert int(graph.not_chosen(torch.tensor([4]), torch.tensor([0]))) == ITEMS - 1


def test_low_rank_is_the_truncated_decomposition():
    chosen = relation()
    graph, rows = graph_of(chosen), torch.randn(USERS + ITEMS, 3)
    u, s, v = torch.linalg.svd(normalized(chosen)[:USERS, USERS:])
    left, values, right = singular_vectors(graph.matrix, USERS, 3)
    assert torch.allclose(values, s[:3], atol=1e-5)
    expected = u[:, :3] * s[:3] @ v[:3]
    assert torch.allclose(left * values @ right.T, expected, atol=1e-4)
    reduced = low_rank(graph, 3)
    assert reduced is low_rank(graph, 3)
    assert torch.allclose(reduced.propagate(rows)[:USERS], expected @ rows[USERS:], atol=1e-4)
    assert torch.allclose(reduced.propagate(rows)[USERS:], expected.T @ rows[:USERS], atol=1e-4)
    full = low_rank(graph, 99)
    assert torch.allclose(full.propagate(rows), graph.propagate(rows), atol=1e-4)


def test_pure_svd_reconstructs_the_choices():
    chosen = relation()
    rows = pure_svd(graph_of(chosen), ITEMS)
    assert torch.allclose(rows[:USERS] @ rows[USERS:].T, chosen.float(), atol=1e-4)


def test_layers_of_a_walk_have_edges_of_their_own():
    first, second = graph_of(relation(0)), graph_of(relation(1))
    walk = Layered([first, second])
    assert [walk.at(layer) for layer in range(3)] == [first, second, first]


def test_nodes_are_rows():
    nodes = Nodes(graph_of(relation()), torch.arange(5))
    assert isinstance(nodes, Rows)
    assert nodes[1:3].index.tolist() == [1, 2]
    assert nodes[1:3].graph is nodes.graph
    assert take({"a": nodes}, slice(0, 2), 5)["a"].index.tolist() == [0, 1]
    assert nodes.finite().tolist() == [True] * 5
    moved = to_device(nodes, torch.device("cpu"))
    assert moved.graph is nodes.graph
    elsewhere = nodes.to(torch.device("meta"))
    assert elsewhere.index.device.type == elsewhere.graph.edges.device.type == "meta"
    assert nodes.graph.to(torch.device("meta")) is elsewhere.graph


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_sums_over_layers_are_those_of_steps_one_after_the_other(depth):
    graph, nodes = graph_of(relation()), torch.tensor([3, 3, 0, USERS + ITEMS - 1])
    rows = torch.randn(USERS + ITEMS, 3, dtype=torch.float64, requires_grad=True)
    layers = [rows]
    for _ in range(depth):
        layers.append(graph.propagate(layers[-1]))
    whole, before_last = graph.layer_sums(rows, depth)
    assert torch.allclose(whole, sum(layers))
    assert torch.allclose(before_last, sum(layers[:-1]))
    passed, own = graph.looked_up(rows, depth, nodes)
    assert torch.allclose(passed, sum(layers)[nodes])
    assert torch.equal(own, rows[nodes])
    weight = torch.randn(3, dtype=torch.float64)
    expected = torch.autograd.grad((sum(layers)[nodes] @ weight).sum() + rows[nodes].pow(3).sum(), rows)[0]
    found = torch.autograd.grad((passed @ weight).sum() + own.pow(3).sum(), rows)[0]
    assert torch.allclose(found, expected)
    assert gradcheck(lambda z: graph.layer_sums(z, depth), (rows,))
    assert gradcheck(lambda z: graph.looked_up(z, depth, nodes), (rows,))


def test_a_graph_of_low_rank_gives_some_nodes_what_it_gives_all():
    graph, nodes = low_rank(graph_of(relation()), 3), torch.tensor([1, USERS, USERS + 2, 0, 1])
    rows = torch.randn(USERS + ITEMS, 4, dtype=torch.float64)
    assert torch.allclose(graph.propagate_to(nodes, rows), graph.propagate(rows)[nodes])
