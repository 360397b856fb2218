"""Views of graphs: what they leave out, how often, and what they leave as it is."""

import pytest
import torch

from twofold.errors import ConfigError, DataError
from twofold.modalities.graph.batches import Graph, GraphBatch, NodeBatch
from twofold.modalities.graph.tidying import tidied
from twofold.modalities.graph.views import PRESETS, make_views
from twofold.modalities.graph.views.edges import DropEdges, DropEdgesByImportance
from twofold.modalities.graph.views.features import MaskColumns, MaskColumnsByImportance, MaskNodes, ShuffleFeatures
from twofold.modalities.graph.views.importance import centrality, column_drop_probabilities, probabilities
from twofold.modalities.graph.views.nodes import DropNodes, Subgraph


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_graph(nodes, edges, seed=0):
    draw = seeded(seed)
    graph = Graph(torch.rand(nodes, 40, generator=draw) + 0.1, torch.randint(nodes, (2, edges), generator=draw))
    return tidied(graph, undirected=True)[0]


@pytest.fixture(scope="module")
def one():
    return NodeBatch(random_graph(300, 1500), torch.arange(0, 300, 3))


@pytest.fixture(scope="module")
def many():
    return GraphBatch.of([random_graph(n, 3 * n, seed=n) for n in (1, 7, 12, 20, 33) for _ in range(8)])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_gives_samples_back_and_repeats_itself(name, one, many):
    views = make_views(name, count=3)
    for batch in (one, many):
        before = batch.x.clone(), batch.edge_index.clone()
        made, again = (views(batch, generator=seeded(5)) for _ in range(2))
        other = views(batch, generator=seeded(6))
        assert len(made) == 3
        for view, same in zip(made, again, strict=True):
            assert type(view) is type(batch)
            assert len(view) == len(batch)
            assert torch.equal(view.x, same.x)
            assert torch.equal(view.edge_index, same.edge_index)
            assert int(view.edge_index.amax()) < len(view.x)
            assert view.finite().all()
        if isinstance(batch, NodeBatch):
            assert all(torch.equal(view.targets, batch.targets) for view in made)
        changed = any(a.x.shape != b.x.shape or not torch.equal(a.x, b.x) for a, b in zip(made, other, strict=True))
        changed |= any(a.graph.edges != b.graph.edges for a, b in zip(made, other, strict=True))
        assert changed == (name != "none")
        assert torch.equal(batch.x, before[0])
        assert torch.equal(batch.edge_index, before[1])


def test_edges_are_dropped_at_the_rate_that_is_asked_for(one):
    kept = [DropEdges(0.3)(one, seeded(i)).graph.edges for i in range(20)]
    assert sum(kept) / 20 == pytest.approx(0.7 * one.graph.edges, rel=0.02)
    assert DropEdges(0.0)(one, seeded()).graph.edges == one.graph.edges


def test_columns_are_masked_for_all_nodes_of_a_graph_together(one, many):
    view = MaskColumns(0.4)(one, seeded())
    masked = (view.x == 0).all(0)
    assert 5 < int(masked.sum()) < 30
    assert torch.equal(view.x[:, ~masked], one.x[:, ~masked])
    each = MaskColumns(0.4)(many, seeded())
    per_graph = [(each[i : i + 1].x == 0) for i in range(len(each))]
    assert all(bool((graph.all(0) == graph.any(0)).all()) for graph in per_graph)
    assert len({tuple(graph[0].tolist()) for graph in per_graph}) == len(per_graph)
    filled = MaskColumns(0.4, fill=tuple(range(40)))(one, seeded())
    assert torch.equal(filled.x[:, masked], torch.arange(40.0)[masked].expand(300, -1))


def test_masked_nodes_become_noise(many):
    view = MaskNodes(0.25)(many, seeded())
    changed = (view.x != many.x).any(1)
    assert 0.15 < changed.float().mean() < 0.35
    noise = view.x[changed]
    assert noise.mean() == pytest.approx(0.5, abs=0.05)
    assert noise.std() == pytest.approx(0.5, abs=0.05)


def test_shuffling_keeps_the_features_of_each_graph_and_all_edges(one, many):
    for batch in (one, many):
        view = ShuffleFeatures()(batch, seeded())
        assert not torch.equal(view.x, batch.x)
        assert torch.equal(view.edge_index, batch.edge_index)
        parts = [(view, batch)] if batch is one else [(view[i : i + 1], batch[i : i + 1]) for i in range(len(batch))]
        for mine, theirs in parts:
            assert torch.equal(mine.x.sort(0).values, theirs.x.sort(0).values)


def test_nodes_are_dropped_from_graphs_and_emptied_in_one_graph(one, many):
    fewer = DropNodes(0.4)(many, seeded())
    assert 0.5 < fewer.graph.nodes / many.graph.nodes < 0.7
    assert bool((fewer.ptr.diff() >= 1).all())
    assert bool((DropNodes(0.99)(many, seeded()).ptr.diff() >= 1).all())
    emptied = DropNodes(0.4)(one, seeded())
    gone = (emptied.x == 0).all(1)
    assert 0.3 < gone.float().mean() < 0.5
    assert not gone[emptied.edge_index].any()
    assert torch.equal(emptied.x[~gone], one.x[~gone])


def test_a_subgraph_is_connected_and_of_the_size_that_is_asked_for(many):
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    view = Subgraph(0.5)(many, seeded())
    for i in range(len(view)):
        part = view[i : i + 1]
        nodes = part.graph.nodes
        assert 1 <= nodes <= -(-int(many.ptr.diff()[i]) // 2)
        matrix = csr_matrix(([1.0] * part.graph.edges, part.edge_index.numpy()), shape=(nodes, nodes))
        assert connected_components(matrix, directed=False)[0] == 1
    assert view.graph.nodes > 0.4 * many.graph.nodes


def test_one_of_several_is_chosen_for_each_graph(many):
    view = make_views("graphcl")(many, generator=seeded())[1]
    original = make_views("graphcl")(many, generator=seeded())[0]
    assert torch.equal(original.x, many.x)
    kinds = set()
    for i in range(len(many)):
        mine, theirs = view[i : i + 1], many[i : i + 1]
        if mine.graph.nodes < 0.5 * theirs.graph.nodes:
            kinds.add("subgraph")
        elif mine.graph.nodes < theirs.graph.nodes:
            kinds.add("nodes")
        elif not torch.equal(mine.x, theirs.x):
            kinds.add("mask")
        elif mine.graph.edges < theirs.graph.edges:
            kinds.add("edges")
    assert kinds == {"subgraph", "nodes", "mask", "edges"}


def test_probabilities_have_the_mean_that_is_asked_for_and_end_at_the_cut():
    scores = torch.rand(1000, generator=seeded())
    chance = probabilities(scores, share=0.3, cut=0.7)
    assert chance.mean() == pytest.approx(0.3, abs=1e-3)
    assert chance[scores.argmax()] == 0
    assert bool(((scores[:, None] > scores) <= (chance[:, None] <= chance)).all())
    assert probabilities(scores, share=0.6, cut=0.7).max() == pytest.approx(0.7)
    assert probabilities(torch.ones(5), share=0.3, cut=0.7).tolist() == pytest.approx([0.3] * 5)
    assert len(probabilities(torch.empty(0), share=0.3, cut=0.7)) == 0


def test_centralities_agree_with_networkx(one):
    import networkx as nx

    graph = one.graph
    theirs = nx.Graph(graph.edge_index.T.tolist())
    theirs.add_nodes_from(range(graph.nodes))
    degree = torch.tensor([float(theirs.degree[i]) for i in range(graph.nodes)])
    assert torch.equal(centrality(graph, "degree"), degree.clamp(min=1))
    rank = nx.pagerank(theirs, alpha=0.85, tol=1e-10)
    assert torch.allclose(centrality(graph, "pagerank"), torch.tensor([rank[i] for i in range(300)]), atol=1e-5)
    vector = nx.eigenvector_centrality(theirs, max_iter=1000)
    assert torch.allclose(centrality(graph, "eigenvector"), torch.tensor([vector[i] for i in range(300)]), atol=1e-3)


@pytest.mark.parametrize("kind", ["degree", "pagerank", "eigenvector"])
def test_edges_to_the_hub_are_kept(kind):
    star = torch.stack([torch.arange(1, 30), torch.zeros(29, dtype=torch.long)])
    ring = torch.stack([torch.arange(30, 60), torch.arange(30, 60).roll(1)])
    graph = tidied(Graph(torch.rand(60, 4, generator=seeded()), torch.cat([star, ring], 1)), undirected=True)[0]
    batch = NodeBatch(graph)
    hub = torch.zeros(20)
    for i in range(20):
        hub[i] = (DropEdgesByImportance(0.5, kind)(batch, seeded(i)).edge_index[1] == 0).sum()
    assert hub.tolist() == [29.0] * 20
    even = DropEdges(0.5)(batch, seeded())
    assert int((even.edge_index[1] == 0).sum()) < 29


def test_a_feature_that_no_node_has_spoils_nothing():
    graph = Graph(torch.cat([torch.rand(20, 5, generator=seeded()), torch.zeros(20, 1)], 1), torch.tensor([[0], [1]]))
    chance = column_drop_probabilities(NodeBatch(graph), "degree", share=0.3, cut=0.7)
    assert chance.isfinite().all()
    assert chance[5] == 0
    assert MaskColumnsByImportance(0.3)(NodeBatch(graph), seeded()).x.isfinite().all()


def test_wrong_rates_names_and_inputs_are_refused(one):
    for bad in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="at least 0 and below 1"):
            DropEdges(bad)
    with pytest.raises(ConfigError, match="did you mean 'grace'"):
        make_views("grase")
    with pytest.raises(DataError, match="not of Tensor"):
        make_views("grace")(one.x, generator=seeded())
