"""Attention over neighbours: the numbers of PyTorch Geometric's layer, without a copy of rows for each edge."""

import pytest
import torch
from torch_geometric.nn import GATConv

from twofold.errors import ConfigError
from twofold.modalities.graph import features
from twofold.modalities.graph.backbones import attention
from twofold.modalities.graph.backbones.attention import Attention, along_edges, attended, weighted_sum
from twofold.modalities.graph.batches import Graph
from twofold.modalities.graph.encoders import make_encoder
from twofold.modalities.graph.features import Features


@pytest.fixture
def graph():
    """With loops, an edge that is there twice, and a node without any."""
    draw = torch.Generator().manual_seed(0)
    edges = torch.randint(11, (2, 40), generator=draw)
    return Graph(torch.rand(12, 6, generator=draw), torch.cat([edges, edges[:, :3], torch.tensor([[4], [4]])], 1))


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("width", [2, 9])
def test_values_and_gradients_are_those_of_gatconv(graph, heads, width):
    torch.manual_seed(0)
    ours, theirs = Attention(6, width, heads), GATConv(6, width, heads=heads)
    theirs.load_state_dict(ours.state_dict())
    rows, towards, names = [], torch.randn(12, heads * width), [name for name, _ in ours.named_parameters()]
    for layer, edges in ((ours, graph), (theirs, graph.edge_index)):
        x = graph.x.clone().requires_grad_()
        out = layer(x, edges)
        (out * towards).sum().backward()
        rows.append([out, x.grad, *(dict(layer.named_parameters())[name].grad for name in names)])
    for own, other in zip(*rows, strict=True):
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("heads", "width"), [(1, 3), (1, 9), (3, 2)])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_features_of_which_most_are_0_give_the_same(graph, heads, width, share, monkeypatch):
    monkeypatch.setattr(features, "LEAST_ENTRIES", 0)
    draw = torch.Generator().manual_seed(1)
    words = (torch.rand(12, 40, generator=draw) < share).float()
    hidden = Features(words).hiding(torch.rand(40, generator=draw) < 0.3).reordered(torch.randperm(12, generator=draw))
    assert hidden.are_sparse is (share < features.MOST_DENSITY)
    torch.manual_seed(0)
    layer, found = Attention(40, width, heads), []
    towards = torch.randn(12, heads * width)
    for x in (hidden, hidden.dense):
        out = layer(x, graph)
        found.append([out, *torch.autograd.grad((out * towards).sum(), list(layer.parameters()))])
    for own, dense in zip(*found, strict=True):
        torch.testing.assert_close(own, dense, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("edges_at_once", [1, 7, 4096])
def test_sums_along_edges_are_as_their_definition_reads(graph, monkeypatch, edges_at_once):
    monkeypatch.setattr(attention, "EDGES_AT_ONCE", edges_at_once)
    torch.manual_seed(0)
    edges = attended(graph)
    rows = torch.randn(2, 12, 5, requires_grad=True)
    weights = torch.rand(2, len(edges.source), requires_grad=True)
    towards = torch.randn(2, 12, 5)
    found = []
    for way in (weighted_sum, along_edges):
        out = way(rows, weights, edges)
        found.append([out, *torch.autograd.grad((out * towards).sum(), (rows, weights))])
    for own, plain in zip(*found, strict=True):
        torch.testing.assert_close(own, plain)


def test_gradients_are_those_of_finite_differences(graph):
    edges = attended(graph)
    rows = torch.rand(1, 12, 2, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(1, len(edges.source), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r, w: weighted_sum(r, w, edges), (rows, weights))


def test_every_node_attends_to_itself_once(graph):
    edges = attended(graph)
    loops = edges.source == edges.target
    assert edges.target[loops].tolist() == list(range(12))
    assert bool((edges.target.diff() >= 0).all())
    assert bool((edges.source[edges.by_source].diff() >= 0).all())
    assert edges.starts[-1] == edges.source_starts[-1] == len(edges.source)


def test_weights_are_dropped_in_training_and_drawn_anew_on_reset(graph):
    layer = Attention(6, 4, 2, dropout=0.5)
    assert not torch.equal(layer(graph.x, graph), layer(graph.x, graph))
    layer.eval()
    before = layer(graph.x, graph)
    assert torch.equal(before, layer(graph.x, graph))
    layer.reset_parameters()
    assert not torch.allclose(before, layer(graph.x, graph))


def test_weights_start_root_two_as_wide_as_glorots():
    torch.manual_seed(0)
    layer = Attention(300, 100, 4)
    glorot = (2 / (300 + 400)) ** 0.5
    assert layer.lin.weight.std().item() == pytest.approx(2**0.5 * glorot, rel=0.02)
    assert not layer.bias.any()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gat-h0", "gat has no option '-h0'; it has .*-hNUMBER [(]heads[)], -bn"),
        ("gcn-h2", "gcn has no option '-h2'; it has .*-relu, -bn"),
        ("gat-w6-h4", "4 heads cannot share a width of 6 equally; choose a multiple of 4"),
        ("gcn-w8-p100", "dropout is a percentage below 100, got 100"),
        ("gcn-w8-bn-m101", "momentum is a percentage of 1 to 100, got 101"),
        ("gat-w8-m5", "momentum [(]-m[)] is that of batch norms' statistics: add -bn, or leave it out"),
        ("gat-w8-a150", "attention_dropout is a percentage below 100, got 150"),
    ],
)
def test_what_is_refused_says_what_there_is(name, said):
    with pytest.raises(ConfigError, match=said):
        make_encoder(name, {"level": "node", "features": 6})


def test_heads_are_told_by_the_name_and_share_the_width():
    spec = {"level": "node", "features": 6}
    for name, heads in (("gat-w8", 4), ("gat-w8-h2", 2), ("gat-w8-h1", 1)):
        encoder = make_encoder(name, spec)
        assert encoder.dim == 8
        assert all(layer.att_src.shape == (1, heads, 8 // heads) for layer in encoder.backbone.convolutions)
        assert [activation.weight.shape for activation in encoder.backbone.activations] == [(1,), (1,)]
