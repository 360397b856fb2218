"""Networks on heterogeneous graphs, against loops over nodes; built without memory; modules of one's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import twofold
from twofold.errors import ConfigError
from twofold.modalities.graph import MODALITY, hetero
from twofold.modalities.graph.hetero.batches import HeteroBatch
from twofold.modalities.graph.hetero.encoders import (
    CoarseGCN,
    ContextGCN,
    MetaPathGCN,
    SchemaAttention,
    SemanticAttention,
    mean_over,
    softmax_by,
)

NAMES = ("gcn-w8", "schema-w8", "context-w8")


@pytest.fixture
def dataset(source):
    return hetero.read(source)


def made(name, spec, seed=0):
    torch.manual_seed(seed)
    return MODALITY.make_encoder(name, spec, rebuild={}).eval()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_the_targets(name, dataset):
    encoder = made(name, dataset.spec)
    whole = encoder(HeteroBatch(dataset.graph))
    assert whole.shape == (36, encoder.dim)
    assert encoder.dim == 8
    part = encoder(dataset.fetch(torch.tensor([30, 2]))["inputs"])
    torch.testing.assert_close(part, whole[[30, 2]])
    assert whole.std(0).max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_it_builds_without_memory_and_computes_in_float32(name, dataset):
    with torch.device("meta"):
        blank = MODALITY.make_encoder(name, dataset.spec, rebuild={})
    encoder = made(name, dataset.spec)
    assert {k: v.shape for k, v in blank.state_dict().items()} == {k: v.shape for k, v in encoder.state_dict().items()}
    batch = HeteroBatch(dataset.graph)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder(batch), encoder(batch))
        torch.testing.assert_close(encoder(batch), made(name, dataset.spec)(batch))
        assert encoder(batch).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name, dataset):
    encoder = made(name, dataset.spec)
    encoder(HeteroBatch(dataset.graph)).square().sum().backward()
    assert [key for key, p in encoder.named_parameters() if p.grad is None] == []


def test_the_meta_path_view_by_definition(dataset):
    encoder = made("gcn-w8", dataset.spec)
    assert isinstance(encoder, MetaPathGCN)
    h = F.elu(encoder.features.linear["of paper"](dataset.graph.x["paper"]))
    each = []
    for layer, path in zip(encoder.layers, dataset.graph.paths.values(), strict=True):
        adjacency = torch.zeros(36, 36)
        adjacency[path.owners, path.partners] = 1
        scale = adjacency.sum(1).rsqrt()
        each.append(layer.activation(scale[:, None] * adjacency * scale @ (h @ layer.linear.weight.T) + layer.bias))
    torch.testing.assert_close(encoder(HeteroBatch(dataset.graph)), fused(encoder.attention, each))


def fused(attention, each):
    query = attention.query[0]
    scores = torch.stack(
        [(torch.tanh(h @ attention.linear.weight.T + attention.linear.bias) @ query).mean() for h in each]
    )
    return sum(weight * h for weight, h in zip(scores.softmax(0), each, strict=True))


def test_the_schema_view_by_definition(dataset):
    encoder = made("schema-w8", dataset.spec)
    assert isinstance(encoder, SchemaAttention)
    graph = dataset.graph
    own = encoder.features(graph, "paper")
    each = []
    for kind in dataset.spec["neighbours"]:
        others, (first, second) = encoder.features(graph, kind), encoder.queries[f"of {kind}"]
        rows = torch.zeros(36, 8)
        papers, neighbours = graph.between("paper", kind)
        for node in range(36):
            mine = others[neighbours[papers == node]]
            scores = F.leaky_relu(own[node] @ first + mine @ second, 0.01)
            rows[node] = scores.softmax(0) @ mine
        each.append(F.elu(rows))
    torch.testing.assert_close(encoder(HeteroBatch(graph)), fused(encoder.attention, each))


def test_contexts_are_means_over_what_lies_on_the_way(source):
    dataset = hetero.read(source, metapaths="paper-author-paper-subject-paper")
    encoder = made("context-w8", dataset.spec)
    assert isinstance(encoder, ContextGCN)
    assert list(encoder.ways.values()) == [["paper", "author", "paper"]]
    graph = dataset.graph
    h = encoder.features(graph, "author")
    near, far = graph.between("paper", "author")
    expected = torch.stack([h[far[near == i]].mean(0) for i in range(36)])
    torch.testing.assert_close(mean_over(graph.between("paper", "author"), h, 36), expected)
    assert mean_over(torch.empty(2, 0, dtype=torch.int64), h, 3).tolist() == [[0.0] * 8] * 3
    lengths = encoder.by_path(graph)[0].norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(36))


def test_a_second_look_at_the_same_graph_changes_nothing(dataset):
    encoder = made("context-w8", dataset.spec)
    batch = HeteroBatch(dataset.graph)
    torch.testing.assert_close(encoder(batch, batch), encoder(batch))


def test_the_coarse_view_is_the_mean_over_meta_paths(dataset):
    encoder = made("context-w8", dataset.spec)
    coarse = CoarseGCN(dataset.spec, encoder.features).eval()
    rows = coarse(HeteroBatch(dataset.graph))
    linear = coarse.layer.linear(encoder.features(dataset.graph, "paper"))
    total = torch.zeros(36, 8)
    for path in dataset.graph.paths.values():
        adjacency = torch.zeros(36, 36)
        adjacency[path.owners, path.partners] = 1
        scale = adjacency.sum(1).rsqrt()
        total += (scale[:, None] * adjacency * scale) @ linear / 2
    torch.testing.assert_close(rows, coarse.layer.activation(total + coarse.layer.bias))


def test_attention_weighs_by_the_mean_over_nodes():
    torch.manual_seed(0)
    attention = SemanticAttention(4).eval()
    each = [torch.randn(5, 4) for _ in range(3)]
    torch.testing.assert_close(attention(each), fused(attention, each))
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(attention([h[order] for h in each]), attention(each)[order])


def test_a_softmax_among_the_entries_of_each():
    scores = torch.tensor([1.0, 800.0, 801.0, -3.0], dtype=torch.float64, requires_grad=True)
    owner = torch.tensor([2, 0, 0, 2])
    found = softmax_by(scores, owner, 3)
    torch.testing.assert_close(found[1:3], scores[1:3].softmax(0))
    torch.testing.assert_close(found[[0, 3]], scores[[0, 3]].softmax(0))
    assert torch.autograd.gradcheck(lambda s: softmax_by(s, owner, 3), (scores.detach().clamp(max=5).requires_grad_(),))


def test_types_with_features_are_scaled_as_the_data_says(dataset):
    encoder = made("schema-w8", dataset.spec)
    form = dataset.spec["types"]["author"]
    x = (dataset.graph.x["author"] - form["mean"]) / form["std"]
    expected = F.elu(encoder.features.linear["of author"](x))
    torch.testing.assert_close(encoder.features(dataset.graph, "author"), expected)
    assert encoder.features.tables["of subject"].shape == (6, 8)


def test_names_and_modules_of_ones_own(dataset):
    with pytest.raises(ConfigError, match="there is no encoder 'schem'"):
        MODALITY.make_encoder("schem", dataset.spec, rebuild={})
    assert MODALITY.problems("context-w16", "heco") == []
    assert MODALITY.problems("context-q3", None) != []
    with pytest.raises(ConfigError, match="must have an attribute dim"):
        MODALITY.make_encoder(nn.Linear(2, 2), dataset.spec, rebuild={})

    class Own(nn.Module):
        dim = 12

        def forward(self, batch):
            return batch.rows_of(batch.graph.x["paper"])

    model = twofold.SimCLR(modality="graph", encoder=Own()).build(dataset.spec)
    assert model.encode(HeteroBatch(dataset.graph)).shape == (36, 12)
