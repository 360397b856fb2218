"""Encoders of graphs: what they compute, whom they let speak, and modules of the user's own."""

import pytest
import torch
from torch import nn

from twofold.errors import ConfigError
from twofold.modalities.graph.backbones.layers import GCN
from twofold.modalities.graph.batches import Graph, GraphBatch, NodeBatch
from twofold.modalities.graph.encoders import ENCODERS, check_name, make_encoder
from twofold.modalities.graph.propagation import normalized_adjacency
from twofold.modalities.graph.tidying import tidied

NODE = {"modality": "graph", "level": "node", "features": 6, "normalize": "none"}
GRAPH = NODE | {"level": "graph"}


WIDER = ("gcn-w8-i12-d3-bn-linear", "gat-w8-i12-bn-m5-linear")


@pytest.fixture
def graph():
    draw = torch.Generator().manual_seed(0)
    raw = Graph(torch.rand(12, 6, generator=draw), torch.randint(12, (2, 20), generator=draw))
    return tidied(raw, undirected=True)[0]


def dense_adjacency(graph):
    a = torch.eye(graph.nodes)
    for source, target in graph.edge_index.T.tolist():
        a[target, source] += 1
    scale = a.sum(1).rsqrt()
    return scale[:, None] * a * scale


def test_the_gcn_is_that_of_the_paper(graph):
    network = GCN(6, width=4, depth=2, relu=True)
    first, second = network.convolutions
    a = dense_adjacency(graph)
    hidden = (a @ graph.x @ first.lin.weight.T + first.bias).relu()
    expected = (a @ hidden @ second.lin.weight.T + second.bias).relu()
    assert torch.allclose(network(graph.x, graph), expected, atol=1e-5)
    assert first.lin.weight.shape == (8, 6)
    assert torch.allclose(normalized_adjacency(graph).matrix.to_dense(), a, atol=1e-6)


def test_directed_and_weighted_edges_speak_to_their_target(graph):
    one_way = Graph(torch.eye(3), torch.tensor([[0, 1], [1, 2]]), torch.tensor([2.0, 3.0]))
    a = normalized_adjacency(one_way).matrix.to_dense()
    assert (a > 0).tolist() == [[True, False, False], [True, True, False], [False, True, True]]
    assert a[1, 0] == pytest.approx(2 / (1 * 3) ** 0.5)


@pytest.mark.parametrize(
    "name", [*ENCODERS, "gcn-w8-d3-relu-bn", "gin-w5-d2", "sage-w8", "gat-w8-d1", "gat-w8-h2", *WIDER]
)
@pytest.mark.parametrize("spec", [NODE, GRAPH])
def test_every_encoder_gives_a_row_a_sample(name, spec, graph):
    encoder = make_encoder(name, spec)
    batch = NodeBatch(graph, torch.tensor([3, 3, 7])) if spec is NODE else GraphBatch.of([graph, graph, graph])
    rows = encoder(batch)
    assert rows.shape == (3, encoder.dim)
    assert rows.requires_grad
    rows.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert encoder.rebuild == {}
    encoder.eval()
    assert torch.allclose(encoder(batch)[1:], encoder(batch[1:]), atol=1e-5)
    with torch.device("meta"):
        shell = make_encoder(name, spec)
    assert {n: p.shape for n, p in shell.state_dict().items()} == {n: p.shape for n, p in encoder.state_dict().items()}


@pytest.mark.parametrize("name", WIDER)
def test_the_layers_before_the_last_may_be_wider_and_the_last_be_linear(name, graph):
    backbone = make_encoder(name, NODE).backbone
    widths = [layer.lin.weight.shape[0] for layer in backbone.convolutions]
    assert widths == [12] * (len(widths) - 1) + [8]
    *first, last = zip(backbone.norms, backbone.activations, strict=True)
    assert all(isinstance(part, torch.nn.Identity) for part in last)
    assert not any(isinstance(part, torch.nn.Identity) for parts in first for part in parts)
    assert [norm.momentum for norm, _ in first] == ([0.05] if "m5" in name else [0.99, 0.99])
    rows = make_encoder(name, NODE)(NodeBatch(graph))
    assert rows.min() < 0 < rows.max()


@pytest.mark.parametrize("name", [f"{name}-w8-p50" for name in ENCODERS] + ["gat-w8-a50"])
def test_what_is_dropped_is_dropped_in_training_alone(name, graph):
    encoder = make_encoder(name, NODE)
    plain = make_encoder(name.rsplit("-", 1)[0], NODE)
    batch = NodeBatch(graph)
    assert not torch.equal(encoder(batch), encoder(batch))
    plain.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(encoder.eval()(batch), plain.eval()(batch))


@pytest.mark.parametrize("name", list(ENCODERS))
def test_graphs_do_not_see_each_other_and_numbering_does_not_matter(name, graph):
    encoder = make_encoder(name, GRAPH).eval()
    other = Graph(torch.rand(5, 6), torch.tensor([[0, 1, 2], [1, 2, 0]]))
    together = encoder(GraphBatch.of([other, graph]))
    assert torch.allclose(together[1:], encoder(GraphBatch.of([graph])), atol=1e-5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    place = order.argsort()
    renumbered = Graph(graph.x[order], place[graph.edge_index])
    assert torch.allclose(together[1:], encoder(GraphBatch.of([renumbered])), atol=1e-4)


def test_gin_sums_and_the_others_average(graph):
    twice = GraphBatch.of([graph])
    double = Graph(torch.cat([graph.x, graph.x]), torch.cat([graph.edge_index, graph.edge_index + 12], 1))
    two = GraphBatch.of([double])
    gin, gcn = (make_encoder(name, GRAPH).eval() for name in ("gin", "gcn"))
    assert torch.allclose(gin(two), 2 * gin(twice), atol=1e-4)
    assert torch.allclose(gcn(two), gcn(twice), atol=1e-5)


def test_a_graph_without_edges_is_encoded(graph):
    alone = Graph(graph.x, torch.empty(2, 0, dtype=torch.int64))
    for name in ENCODERS:
        assert make_encoder(name, NODE)(NodeBatch(alone)).isfinite().all()


def test_it_computes_in_float32_under_autocast(graph):
    encoder = make_encoder("gcn-w8", NODE)
    plain = encoder(NodeBatch(graph))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder(NodeBatch(graph)), plain)


class Geometric(nn.Module):
    """As PyTorch Geometric's modules are called."""

    def __init__(self, wrong=False):
        super().__init__()
        self.lin, self.wrong = nn.Linear(6, 5), wrong

    def forward(self, x, edge_index):
        return self.lin(x)[0] if self.wrong else self.lin(x)


class Whole(nn.Module):
    """Takes the batch itself."""

    def __init__(self, dim):
        super().__init__()
        if dim:
            self.dim = dim

    def forward(self, batch):
        return batch.rows_of(batch.x)


def test_modules_of_ones_own(graph):
    batch = NodeBatch(graph, torch.tensor([4, 2]))
    module = Geometric()
    encoder = make_encoder(module, NODE)
    assert encoder.dim == 5
    assert torch.allclose(encoder(batch), module.lin(graph.x[[4, 2]]))
    assert make_encoder(Geometric(), GRAPH)(GraphBatch.of([graph, graph])).shape == (2, 5)
    assert torch.equal(make_encoder(Whole(6), NODE)(batch), graph.x[[4, 2]])
    from torch_geometric.nn.models import GraphSAGE

    assert make_encoder(GraphSAGE(6, 8, 2, 7), NODE)(batch).shape == (2, 7)
    with pytest.raises(ConfigError, match="must have an attribute dim"):
        make_encoder(Whole(None), NODE)
    with pytest.raises(ConfigError, match=r"must give a tensor \(n, dim\)"):
        make_encoder(Geometric(wrong=True), NODE)
    with pytest.raises(ConfigError, match="Geometric fails on"):
        make_encoder(Geometric(), NODE | {"features": 4})


def test_wrong_names_and_widths_are_refused(graph):
    with pytest.raises(ConfigError, match="did you mean 'gcn'"):
        check_name("gcm")
    with pytest.raises(ConfigError, match="gin has no option '-bn'"):
        check_name("gin-bn")
    with pytest.raises(ValueError, match="must have 6 features"):
        make_encoder("gcn", NODE)(NodeBatch(graph.with_features(torch.rand(12, 3))))
