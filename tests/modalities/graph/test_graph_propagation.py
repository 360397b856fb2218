"""Propagation and sparse features against PyTorch Geometric's convolution and against dense matrices."""

import pytest
import torch
from torch_geometric.nn import GCNConv

from twofold.modalities.graph import features as sparse_features
from twofold.modalities.graph.backbones.layers import GCN, Convolution
from twofold.modalities.graph.batches import Graph, NodeBatch
from twofold.modalities.graph.encoders import make_encoder
from twofold.modalities.graph.features import Features
from twofold.modalities.graph.propagation import along_edges, normalized_adjacency, orders_of, propagate
from twofold.modalities.graph.tidying import tidied
from twofold.modalities.graph.views import make_views

NODES, WIDTH = 14, 6
SPEC = {"modality": "graph", "level": "node", "features": 300, "normalize": "none"}


def directed(seed=0, *, weights=False, loops=False):
    """A graph in which the last three nodes have no edges."""
    draw = torch.Generator().manual_seed(seed)
    edges = torch.randint(NODES - 3, (2, 40), generator=draw).unique(dim=1)
    edges = edges[:, torch.randperm(edges.shape[1], generator=draw)]
    edges = edges if loops else edges[:, edges[0] != edges[1]]
    weight = torch.rand(edges.shape[1], generator=draw) + 0.1 if weights else None
    return Graph(torch.randn(NODES, WIDTH, generator=draw), edges, weight)


def undirected(seed=0, *, weights=False):
    return tidied(directed(seed, weights=weights), undirected=True)[0]


def dropped(graph, seed=0):
    draw = torch.rand(graph.edges, generator=torch.Generator().manual_seed(seed))
    return graph.with_edges(draw < 0.6)


GRAPHS = {
    "directed": directed(),
    "weighted": directed(1, weights=True),
    "with loops": directed(2, loops=True),
    "with weighted loops": directed(3, weights=True, loops=True),
    "undirected": undirected(),
    "undirected, weighted": undirected(4, weights=True),
    "some edges dropped": dropped(undirected()),
    "dropped twice, weighted": dropped(dropped(undirected(5, weights=True)), 1),
    "without edges": Graph(torch.randn(NODES, WIDTH), torch.empty(2, 0, dtype=torch.int64)),
}


@pytest.fixture(params=GRAPHS)
def graph(request):
    return GRAPHS[request.param]


@pytest.mark.parametrize("width", [4, 9])  # narrower than the input, and wider: the products come in another order
def test_a_convolution_is_that_of_pytorch_geometric(graph, width):
    torch.manual_seed(0)
    ours = Convolution(WIDTH, width)
    torch.manual_seed(0)
    theirs = GCNConv(WIDTH, width)
    assert {name: p.tolist() for name, p in ours.named_parameters()} == {
        name: p.tolist() for name, p in theirs.named_parameters()
    }
    x, y = (graph.x.clone().requires_grad_() for _ in range(2))
    expected = theirs(y, graph.edge_index, graph.edge_weight)
    found = ours(x, graph)
    assert torch.allclose(found, expected, atol=1e-5)
    direction = torch.randn(expected.shape)
    found.backward(direction)
    expected.backward(direction)
    assert torch.allclose(x.grad, y.grad, atol=1e-5)
    assert torch.allclose(ours.lin.weight.grad, theirs.lin.weight.grad, atol=1e-4)
    assert torch.allclose(ours.bias.grad, theirs.bias.grad, atol=1e-4)


def test_rows_passed_along_the_matrix_are_the_messages_along_edges(graph):
    rows = torch.randn(NODES, 5, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(propagate(graph, rows), along_edges(graph, rows), atol=1e-6)
    assert torch.autograd.gradcheck(lambda z: propagate(graph, z), (rows,))
    assert torch.allclose(propagate(graph, rows.float()), along_edges(graph, rows).float(), atol=1e-5)


def test_only_a_symmetric_matrix_is_its_own_transpose():
    assert normalized_adjacency(GRAPHS["undirected"]).transpose is None
    even = Graph(torch.eye(3), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.tensor([2.0, 2.0, 3.0, 3.0]))
    assert normalized_adjacency(even).transpose is None
    for name in ("directed", "some edges dropped"):
        adjacency = normalized_adjacency(GRAPHS[name])
        assert torch.equal(adjacency.transpose.to_dense(), adjacency.matrix.to_dense().T)
    lopsided = Graph(torch.eye(2), torch.tensor([[0, 1], [1, 0]]), torch.tensor([1.0, 2.0]))
    assert normalized_adjacency(lopsided).transpose is not None


def test_the_order_of_fewer_edges_is_that_of_all_without_them():
    graph = dropped(dropped(undirected(6)), 2)
    source, target = graph.edge_index
    by_target, by_source = orders_of(graph)
    assert torch.equal(by_target, (target * NODES + source).argsort())
    assert torch.equal(by_source, (source * NODES + target).argsort())


def test_what_is_known_of_edges_is_shared_by_graphs_that_differ_in_features():
    graph = undirected()
    propagate(graph, graph.x)
    other = graph.with_features(torch.randn(NODES, 2))
    assert other.remember("adjacency", None, of="edges") is graph.remember("adjacency", None, of="edges")
    assert not dropped(graph)._edge_facts


@pytest.fixture
def words():
    """300 nodes with 300 features of which 2 % are not 0, on a random graph; and the same without the sparse path."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(300, 300, generator=draw) * (torch.rand(300, 300, generator=draw) < 0.02)
    return tidied(Graph(x, torch.randint(300, (2, 900), generator=draw)), undirected=True)[0]


@pytest.mark.parametrize("views", ["none", "grace", "gca-degree", "dgi", "subgraph", "mask-nodes"])
def test_sparse_features_give_what_dense_ones_give(words, views, monkeypatch):
    encoder = make_encoder("gcn-w8", SPEC)
    batch = NodeBatch(words, torch.arange(0, 300, 3))
    made = make_views(views, count=2)(batch, generator=torch.Generator().manual_seed(0))
    dense = [NodeBatch(view.graph.apart(), view.targets) for view in made]
    rows = torch.stack([encoder(view) for view in made])
    found = torch.autograd.grad(rows.square().sum(), list(encoder.parameters()))
    monkeypatch.setattr(sparse_features, "MOST_DENSITY", -1.0)
    expected = torch.stack([encoder(view) for view in dense])
    assert not any(view.graph.features._facts["sparse"] for view in dense)
    assert torch.allclose(rows, expected, atol=1e-5)
    for mine, theirs in zip(
        found, torch.autograd.grad(expected.square().sum(), list(encoder.parameters())), strict=True
    ):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_features_are_made_dense_only_where_that_is_needed(words):
    batch = NodeBatch(words)
    make_encoder("gcn-w8", SPEC)(batch)
    (view,) = make_views("grace", count=1)(batch, generator=torch.Generator().manual_seed(0))
    make_encoder("gcn-w8", SPEC)(view)
    assert view.graph.features._facts is words.features._facts
    assert words.features._facts["sparse"] is not None
    assert "dense" not in vars(view.graph.features)
    hidden = view.graph.features.hidden
    assert torch.equal(view.x, words.x.masked_fill(hidden, 0.0))
    assert hidden.any()
    make_encoder("sage-w8", SPEC)(view)
    assert "dense" in vars(view.graph.features)


def test_hidden_columns_and_other_orders_add_up():
    x = torch.arange(12.0).reshape(3, 4) + 1
    first, second = torch.tensor([True, False, False, False]), torch.tensor([False, False, True, False])
    order, again = torch.tensor([2, 0, 1]), torch.tensor([1, 1, 0])
    features = Features(x).hiding(first).reordered(order).hiding(second).reordered(again)
    expected = x.masked_fill(first | second, 0.0)[order][again]
    assert torch.equal(features.dense, expected)
    weight = torch.randn(4, 2)
    assert torch.allclose(features.times(weight), expected @ weight)
    assert torch.equal(features.to(torch.device("cpu")).dense, expected)
    assert features.shape == (3, 4)


def test_a_gcn_takes_float64_features():
    graph = undirected()
    network = GCN(WIDTH, 4)
    assert torch.allclose(network(graph.x.double(), graph), network(graph.x, graph))
