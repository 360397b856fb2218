"""Meta-paths: counts by enumeration, positives by counts, similarity of pairs; sizes that are refused."""

from unittest import mock

import pytest
import torch

from twofold.errors import DataError
from twofold.modalities.graph import hetero
from twofold.modalities.graph.hetero import metapaths
from twofold.modalities.graph.hetero.batches import HeteroBatch
from twofold.modalities.graph.hetero.sparse import normalized, propagate


def dense(path):
    matrix = torch.zeros(path.nodes, path.nodes)
    matrix[path.owners, path.partners] = path.counts
    return matrix


def hops(graph, first, second):
    matrix = torch.zeros(graph.counts[first], graph.counts[second])
    a, b = graph.between(first, second)
    matrix[a, b] = 1
    return matrix


def test_counts_are_those_of_the_ways(source):
    graph = hetero.read(source, metapaths="paper-author-paper,paper-author-paper-subject-paper").graph
    to_author, to_subject = hops(graph, "paper", "author"), hops(graph, "paper", "subject")
    short = to_author @ to_author.T
    assert torch.equal(dense(graph.paths["paper-author-paper"]), short)
    long = short @ to_subject @ to_subject.T
    assert torch.equal(dense(graph.paths["paper-author-paper-subject-paper"]), torch.maximum(long, long.T))
    assert short.max() > 1


def test_the_mirror_image_of_every_pair(source):
    path = hetero.read(source).graph.paths["paper-author-paper"]
    mirror = path.mirror()
    assert torch.equal(path.owners[mirror], path.partners)
    assert torch.equal(path.partners[mirror], path.owners)


def test_positives_are_the_closest_and_the_node_itself(source):
    graph = hetero.read(source).graph
    scores = sum(dense(path) / dense(path).sum(1, keepdim=True) for path in graph.paths.values())
    listed = metapaths.closest(graph, 4)
    for node in range(36):
        own = listed.partners[listed.starts[node] : listed.starts[node + 1]]
        assert node in own
        assert len(own) == min(4, int((scores[node] > 0).sum()))
        others = own[own != node]
        best = scores[node].index_fill(0, torch.tensor([node]), -1).topk(len(others)).values
        torch.testing.assert_close(scores[node][others].sort(descending=True).values, best)
    assert metapaths.closest(graph, 4) is listed
    assert torch.equal(metapaths.closest(graph, 1).partners, torch.arange(36))


def test_the_most_similar_pairs(source):
    path = hetero.read(source).graph.paths["paper-author-paper"]
    counts = dense(path)
    similarity = 2 * counts / (counts.diagonal()[:, None] + counts.diagonal()[None])
    kept = dense(metapaths.most_similar(path, 3)) > 0
    assert torch.equal(kept, kept.T)
    assert kept.diagonal().all()
    for node in range(36):
        threshold = similarity[node].index_fill(0, torch.tensor([node]), 9).topk(3).values[-1]
        assert kept[node][(similarity[node] > threshold)].all()
    assert kept.sum() < (counts > 0).sum()
    assert metapaths.most_similar(path, 36) is path


def test_equally_similar_pairs_are_not_the_first_ones():
    scores, starts = torch.ones(400), torch.arange(0, 401, 20)
    kept = metapaths.best_of_each(scores, starts, 5).reshape(20, 20)
    assert (kept.sum(1) == 5).all()
    assert kept.any(0).sum() > 15
    assert torch.equal(kept.flatten(), metapaths.best_of_each(scores, starts, 5))


def test_a_meta_path_that_joins_everything_is_refused(source):
    with mock.patch.object(metapaths, "MAX_PAIRS", 50), pytest.raises(DataError, match="joins too many nodes"):
        hetero.read(source)


def test_propagation_is_the_normalized_product(source):
    path = hetero.read(source).graph.paths["paper-author-paper"]
    adjacency = (dense(path) > 0).double()
    scale = adjacency.sum(1).rsqrt()
    expected = scale[:, None] * adjacency * scale
    matrix = normalized(path)
    torch.testing.assert_close(matrix.to_dense().double(), expected, rtol=1e-6, atol=1e-6)
    rows = torch.randn(36, 3, dtype=torch.float64, requires_grad=True)
    double = matrix.double()
    torch.testing.assert_close(propagate(double, rows), double.to_dense() @ rows)
    assert torch.autograd.gradcheck(lambda rows: propagate(double, rows), (rows,))


def test_a_batch_is_a_batch(source):
    dataset = hetero.read(source)
    batch = dataset.fetch(torch.tensor([4, 1, 9]))["inputs"]
    assert len(batch) == 3
    assert torch.equal(batch[1:].numbers, torch.tensor([1, 9]))
    assert batch.to("cpu").graph is batch.graph
    assert batch.finite().tolist() == [True] * 3
    whole = HeteroBatch(dataset.graph)
    assert len(whole) == 36
    assert torch.equal(whole[2:5].numbers, torch.tensor([2, 3, 4]))
    x = dict(dataset.graph.x)
    x["paper"] = x["paper"].clone()
    x["paper"][1] = torch.inf
    assert batch.with_graph(dataset.graph.changed(x=x)).finite().tolist() == [True, False, True]
    moved = batch.to("meta")
    assert moved.graph.device.type == "meta"
    assert batch.to("meta").graph is moved.graph
