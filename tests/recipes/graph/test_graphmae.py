"""GraphMAE: what is hidden and from whom, the error by a loop, nodes and graphs; training on a graph with groups."""

import pytest
import torch
from torch.nn import functional as F

import twofold
from twofold.errors import ConfigError
from twofold.modalities.graph import data
from twofold.modalities.graph.batches import Graph, GraphBatch, NodeBatch
from twofold.modalities.graph.decoders import Decoder
from twofold.training import metrics_log


@pytest.fixture
def recipe(citations):
    torch.manual_seed(0)
    return twofold.GraphMAE(encoder="gat-w16", gamma=2.0).build(citations.spec)


def a_batch(recipe, citations, index=None):
    index = torch.arange(90) if index is None else index
    views = recipe.make_views()(citations.fetch(index)["inputs"], generator=torch.Generator().manual_seed(0))
    return {"views": views, "index": index, "progress": 0.5}


def test_what_is_hidden(recipe, citations):
    x = citations.graph.x
    recipe.token.data.fill_(7.0)
    torch.manual_seed(0)
    hidden, shown = recipe.hide(x)
    assert int(hidden.sum()) == 45
    assert torch.equal(shown[~hidden], x[~hidden])
    token = (shown == 7.0).all(1)
    assert int(token.sum()) == 45 - int(0.05 * 45)
    assert (hidden >= token).all()
    for row in shown[hidden & ~token]:
        assert (row == x).all(1).any()


def test_shares_that_round_to_nothing(citations):
    recipe = twofold.GraphMAE(encoder="gat-w16", replace_rate=0.001).build(citations.spec)
    recipe.token.data.fill_(7.0)
    hidden, shown = recipe.hide(citations.graph.x)
    assert (shown[hidden] == 7.0).all()
    nothing = twofold.GraphMAE(encoder="gat-w16", mask_rate=0.0).build(citations.spec)
    assert nothing(a_batch(nothing, citations))["total"] == 0


def test_the_error_is_the_mean_over_hidden_nodes(recipe, citations):
    batch = a_batch(recipe, citations)
    recipe.eval()  # without dropout
    torch.manual_seed(3)
    total = recipe(batch)["total"]
    torch.manual_seed(3)
    graph = batch["views"][0].graph
    hidden, shown = recipe.hide(graph.x)
    h = recipe.bridge(recipe.encoder.backbone(shown, graph))
    h[hidden] = 0
    z = recipe.decoder(h, graph)
    errors = [
        (1 - F.cosine_similarity(z[i], graph.x[i], dim=0)) ** 2
        for i in range(90)
        if hidden[i] and graph.x[i].abs().sum() > 0
    ]
    torch.testing.assert_close(total, torch.stack(errors).mean())


def test_the_decoder_sees_nothing_of_hidden_nodes(citations):
    for remask, expected in ((True, True), (False, False)):
        torch.manual_seed(0)
        recipe = twofold.GraphMAE(encoder="gat-w16", mask_rate=1.0, remask=remask).build(citations.spec)
        batch = a_batch(recipe, citations)
        seen = []
        recipe.decoder.register_forward_hook(lambda module, args, out, seen=seen: seen.append(args[0]))
        recipe.represent(batch)
        assert bool((seen[0] == 0).all()) == expected


def test_nodes_without_features_are_no_targets(citations):
    graph = Graph(citations.graph.x.clone(), citations.graph.edge_index)
    graph.x[:50] = 0
    recipe = twofold.GraphMAE(encoder="gat-w16", mask_rate=1.0).build(citations.spec)
    batch = {"views": [NodeBatch(graph)] * 2, "index": torch.arange(90)}
    outputs = recipe.represent(batch)
    assert int(outputs["hidden"].sum()) == int((graph.x != 0).any(1).sum()) <= 40
    assert (outputs["error"][0, :50] == 0).all()


def test_with_an_epsilon_empty_reconstructions_pull_at_the_bias(citations):
    for epsilon, pulled in ((0.0, False), (1e-12, True)):
        recipe = twofold.GraphMAE(encoder="gat-w16", mask_rate=1.0, epsilon=epsilon).build(citations.spec)
        recipe(a_batch(recipe, citations))["total"].backward()  # all is hidden: every reconstruction is the bias, 0
        assert (float(recipe.decoder.layer.bias.grad.norm()) > 1e6) == pulled


def test_a_part_of_the_nodes_gives_their_share(recipe, citations):
    recipe.eval()
    rows = []
    for index in (torch.arange(90), torch.arange(0, 90, 3)):
        torch.manual_seed(5)
        rows.append(recipe.represent(a_batch(recipe, citations, index)))
    for name in ("error", "hidden"):
        assert rows[1][name].shape == (1, 30)
        assert torch.equal(rows[1][name], rows[0][name][:, ::3])


def test_graphs_have_the_sum_over_their_nodes():
    draw = torch.Generator().manual_seed(0)
    graphs = [Graph(torch.rand(n, 6, generator=draw), torch.randint(n, (2, 3 * n), generator=draw)) for n in (4, 7, 5)]
    spec = {"modality": "graph", "level": "graph", "features": 6, "normalize": "none", "samples": 3}
    torch.manual_seed(0)
    recipe = twofold.GraphMAE(encoder="gin-w8", decoder="gin", decoder_dropout=0.0).build(spec)
    batch = {"views": [GraphBatch.of(graphs)] * 2, "index": torch.arange(3)}
    outputs = recipe.represent(batch)
    assert outputs["error"].shape == (1, 3)
    assert int(outputs["hidden"].sum()) == 8
    total = recipe.objective(outputs, batch)
    torch.testing.assert_close(total, outputs["error"].sum() / 8)
    total.backward()
    assert [name for name, p in recipe.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", ["gat", "gcn", "gin", "linear"])
def test_decoders_give_features_and_look_at_neighbours(kind, citations):
    torch.manual_seed(0)
    decoder = Decoder(kind, 8, 60)
    h = torch.randn(90, 8)
    graph = citations.graph
    before = decoder(h, graph)
    assert before.shape == (90, 60)
    source, target = graph.edge_index[:, 0].tolist()
    h[source] += 1
    change = (decoder(h, graph) - before).abs().amax(1)
    assert (change[target] > 0) == (kind != "linear")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decoder(h, graph).dtype == torch.float32


def test_edges_that_the_encoder_does_not_see(citations):
    torch.manual_seed(0)
    recipe = twofold.GraphMAE(encoder="gat-w16", drop_edges=0.5).build(citations.spec)
    seen = {}
    recipe.encoder.backbone.register_forward_hook(lambda module, args, out: seen.update(encoder=args[1].edges))
    recipe.decoder.register_forward_hook(lambda module, args, out: seen.update(decoder=args[1].edges))
    recipe.represent(a_batch(recipe, citations))
    assert seen["decoder"] == citations.graph.edges
    assert 0.3 < seen["encoder"] / seen["decoder"] < 0.7


def test_micro_batches_draw_their_own_and_train(cited):
    model = twofold.GraphMAE(encoder="gat-w8").fit(cited, epochs=2, micro_batch=30, workers=0, precision="float32")
    assert model.embed(cited).isfinite().all()


def test_an_encoder_of_another_kind_is_refused(citations):
    class Own(torch.nn.Module):
        dim = 4

        def forward(self, batch):
            return batch.rows_of(batch.x[:, :4])

    with pytest.raises(ConfigError, match="needs a plain graph and an encoder with a row a node"):
        twofold.GraphMAE(encoder=Own()).build(citations.spec)
    with pytest.raises(ConfigError, match="gamma must be at least 1"):
        twofold.GraphMAE(gamma=0.5)


def test_it_learns_the_groups_and_is_saved(cited, tmp_path):
    recipe = twofold.GraphMAE(encoder="gcn-w16", decoder="gcn")
    options = {"epochs": 60, "lr": 1e-2, "precision": "float32", "workers": 0, "seed": 1}
    recipe.fit(cited, out=tmp_path / "run", **options)
    losses = [record["loss"] for record in metrics_log.read(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    vectors = recipe.embed(cited)
    assert torch.equal(twofold.load(tmp_path / "run").embed(cited), vectors)
    torch.manual_seed(9)
    untrained = twofold.GraphMAE(encoder="gcn-w16", decoder="gcn").build(data.read(cited).spec)
    labels = cited[2]
    trained_gap, untrained_gap = gap(vectors, labels), gap(untrained.embed(cited), labels)
    assert trained_gap > untrained_gap + 0.02


def gap(rows, labels):
    """How much more alike nodes of one group are than nodes of two."""
    rows = F.normalize(rows - rows.mean(0), dim=1)
    cosine, same = rows @ rows.T, labels[:, None] == labels[None]
    off = ~torch.eye(len(rows), dtype=torch.bool)
    return float(cosine[same & off].mean() - cosine[~same].mean())
