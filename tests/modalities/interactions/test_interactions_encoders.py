"""The encoder of users and items: what it looks up is what its layers add up to, on every kind of graph."""

import pytest
import torch

from twofold.errors import ConfigError
from twofold.modalities.interactions.encoders import LightGCNEncoder
from twofold.modalities.interactions.graph import Bipartite, Layered, low_rank

EDGES = torch.tensor([[0, 0, 1, 2, 3, 3], [0, 1, 1, 2, 0, 2]])


def graphs():
    whole = Bipartite(4, 3, EDGES)
    some = torch.tensor([True, True, False, True, True, False])
    return {"whole": whole, "thinned": whole.thinned(some), "low rank": low_rank(whole, 2)} | {
        "other edges in each layer": Layered([whole, whole.thinned(some)])
    }


@pytest.mark.parametrize("kind", graphs())
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_looking_up_is_the_mean_over_layers(kind, depth):
    torch.manual_seed(0)
    graph, encoder, nodes = graphs()[kind], LightGCNEncoder(7, width=5, depth=depth), torch.tensor([6, 0, 6, 2])
    layers = encoder.layers(graph)
    passed, own = encoder.looked_up(graph, nodes)
    direction = torch.randn(4, 5)
    expected = torch.stack(layers).mean(0)
    assert torch.allclose(passed, expected[nodes], atol=1e-6)
    assert torch.equal(own, encoder.table[nodes])
    assert torch.allclose(encoder.everyone(graph), expected, atol=1e-6)
    whole, before_last = encoder.sums(graph)
    assert torch.allclose(whole, sum(layers), atol=1e-6)
    assert torch.allclose(before_last, sum(layers[:-1], torch.zeros(7, 5)), atol=1e-6)
    mine = torch.autograd.grad((passed * direction + own).sum(), encoder.table)[0]
    theirs = torch.autograd.grad((expected[nodes] * direction + layers[0][nodes]).sum(), encoder.table)[0]
    assert torch.allclose(mine, theirs, atol=1e-6)


def test_a_graph_of_other_users_is_refused():
    with pytest.raises(ConfigError, match=r"vectors of 8 users and items, the graph has 4 and 3"):
        LightGCNEncoder(8).looked_up(Bipartite(4, 3, EDGES), torch.tensor([0]))
