"""Graphs as batches: slices, devices, parts of many graphs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.dataset import Rows, take, to_device
from twofold.modalities.graph.batches import Graph, GraphBatch, NodeBatch


def ring(nodes, *, width=3, start=0.0, weights=False):
    """A directed ring whose features say which node of which ring it is."""
    source = torch.arange(nodes)
    edges = torch.stack([source, (source + 1) % nodes])
    x = start + torch.arange(nodes, dtype=torch.float32)[:, None].expand(nodes, width)
    return Graph(x, edges, torch.arange(nodes, dtype=torch.float32) if weights else None)


def named_edges(batch):
    """Edges by the features of their ends, which do not depend on numbering."""
    x = batch.x[:, 0]
    return sorted((float(x[a]), float(x[b])) for a, b in batch.edge_index.T.tolist())


@pytest.mark.parametrize("batch", [NodeBatch(ring(5)), GraphBatch.of([ring(3), ring(4)])])
def test_both_are_rows_as_training_wants_them(batch):
    assert isinstance(batch, Rows)
    assert len(take([batch], slice(1, 2), len(batch))[0]) == 1
    assert len(to_device({"a": batch}, torch.device("cpu"))["a"]) == len(batch)
    assert batch.finite().tolist() == [True] * len(batch)


def test_a_slice_of_nodes_keeps_the_whole_graph():
    batch = NodeBatch(ring(6), torch.tensor([4, 0, 3]))
    part = batch[1:]
    assert part.targets.tolist() == [0, 3]
    assert part.graph is batch.graph
    assert NodeBatch(ring(6))[2:4].targets.tolist() == [2, 3]
    assert part.rows_of(torch.arange(6)).tolist() == [0, 3]


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5), data=st.data())
def test_a_slice_of_graphs_is_the_batch_of_these_graphs(sizes, data):
    graphs = [ring(size, start=100.0 * i, weights=True) for i, size in enumerate(sizes)]
    start = data.draw(st.integers(0, len(sizes)))
    stop = data.draw(st.integers(0, len(sizes)))
    part = GraphBatch.of(graphs)[start:stop]
    assert len(part) == len(graphs[start:stop])
    if len(part):
        expected = GraphBatch.of(graphs[start:stop])
        assert torch.equal(part.x, expected.x)
        assert torch.equal(part.ptr, expected.ptr)
        assert torch.equal(part.edge_index, expected.edge_index)
        assert torch.equal(part.edge_weight, expected.edge_weight)


def test_a_slice_does_not_depend_on_the_order_of_edges():
    batch = GraphBatch.of([ring(3), ring(4, start=10.0), ring(2, start=20.0)])
    order = torch.randperm(batch.graph.edges, generator=torch.Generator().manual_seed(0))
    mixed = GraphBatch(Graph(batch.x, batch.edge_index[:, order]), batch.ptr)
    assert named_edges(mixed[1:3]) == named_edges(batch[1:3]) != []


def test_a_step_other_than_one_is_refused():
    with pytest.raises(ValueError, match="step 2"):
        GraphBatch.of([ring(3), ring(4)])[::2]


def test_membership_sums_and_means():
    batch = GraphBatch.of([ring(3), ring(2)])
    assert batch.membership.tolist() == [0, 0, 0, 1, 1]
    assert batch.sum_of(batch.x)[:, 0].tolist() == [3.0, 1.0]
    assert batch.mean_of(batch.x)[:, 0].tolist() == [1.0, 0.5]
    assert batch.mean_of(batch.x[:, 0]).tolist() == [1.0, 0.5]


def test_parts_of_graphs_keep_the_edges_between_what_is_left():
    batch = GraphBatch.of([ring(4), ring(3, start=10.0)])
    part = batch.with_nodes(torch.tensor([True, True, False, True, False, True, True]))
    assert part.ptr.tolist() == [0, 3, 5]
    assert part.x[:, 0].tolist() == [0, 1, 3, 11, 12]
    assert named_edges(part) == [(0, 1), (3, 0), (11, 12)]
    none_left = batch.with_nodes(torch.tensor([False] * 4 + [True] * 3))
    assert none_left.ptr.tolist() == [0, 0, 3]
    assert none_left.mean_of(none_left.x)[0].tolist() == [0, 0, 0]


def test_rows_that_are_not_finite_are_named():
    broken = ring(4).with_features(torch.tensor([[0.0], [torch.nan], [1.0], [torch.inf]]))
    assert NodeBatch(broken, torch.tensor([3, 0])).finite().tolist() == [False, True]
    assert GraphBatch.of([ring(2, width=1), broken]).finite().tolist() == [True, False]


def test_facts_are_computed_once_and_can_be_trained_with_afterwards():
    graph, calls = ring(3), []

    def degree(g):
        calls.append(g)
        return g.edge_index[1].bincount().float()

    with torch.inference_mode():
        first = graph.remember("degree", degree)
    assert graph.remember("degree", degree) is first
    assert calls == [graph]
    weight = torch.ones(3, requires_grad=True)
    (weight * first).sum().backward()  # fails for tensors of inference mode
    assert weight.grad.tolist() == [1, 1, 1]


def test_a_copy_on_another_device_is_kept():
    graph = ring(3)
    assert graph.to("cpu") is graph
    assert graph.to("meta") is graph.to("meta")
    assert NodeBatch(graph).to("meta").x.device.type == "meta"
