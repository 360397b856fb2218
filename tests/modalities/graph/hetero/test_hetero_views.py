"""Views of heterogeneous graphs: symmetric, by their shares, from the generator alone."""

import pytest
import torch

from twofold.errors import ConfigError
from twofold.modalities.graph import MODALITY, hetero
from twofold.modalities.graph.hetero.views import Dropped, SampledNeighbours, sampled


@pytest.fixture
def batch(source):
    dataset = hetero.read(source)
    return dataset.fetch(torch.arange(0, 36, 2))["inputs"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def same(first, second):
    pairs = [(first.graph.paths, second.graph.paths)]
    paths = all(torch.equal(a[n].partners, b[n].partners) for a, b in pairs for n in a)
    links = all(torch.equal(first.graph.links[k], second.graph.links[k]) for k in first.graph.links)
    return paths and links and all(torch.equal(first.graph.x[k], second.graph.x[k]) for k in first.graph.x)


def test_pairs_go_with_their_mirror_images_and_loops_stay(batch):
    (view,) = Dropped(1, pairs=0.5)(batch, generator=seeded())
    for name, path in view.graph.paths.items():
        dense = torch.zeros(36, 36)
        dense[path.owners, path.partners] = path.counts
        assert torch.equal(dense, dense.T)
        assert (dense.diagonal() > 0).all()
        before = len(batch.graph.paths[name].partners) - 36
        assert 0.3 < (len(path.partners) - 36) / before < 0.7
    assert torch.equal(view.numbers, batch.numbers)


def test_shares_of_links_and_columns(batch):
    (view,) = Dropped(1, pairs=0.4, features=0.5)(batch, generator=seeded(1))
    links = batch.graph.links
    kept = sum(view.graph.links[pair].shape[1] for pair in links) / sum(edges.shape[1] for edges in links.values())
    assert 0.45 < kept < 0.75
    for kind, x in view.graph.x.items():
        gone = (x == 0).all(0)
        assert torch.equal(x[:, ~gone], batch.graph.x[kind][:, ~gone])
    assert (view.graph.x["paper"] == 0).all(0).any()


def test_nothing_dropped_is_the_graph_itself(batch):
    assert all(same(view, batch) for view in Dropped(2, pairs=0.0, features=0.0)(batch, generator=seeded()))


@pytest.mark.parametrize("name", hetero.PRESETS)
def test_the_generator_decides_everything(name, batch, source):
    spec = hetero.read(source).spec
    views = MODALITY.make_views(name, spec, preferred="simclr", count=2)
    torch.manual_seed(1)
    first = views(batch, generator=seeded(3))
    torch.manual_seed(2)
    second = views(batch, generator=seeded(3))
    third = views(batch, generator=seeded(4))
    assert len(first) == 2
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    assert not all(same(a, b) for a, b in zip(first, third, strict=True))


def test_a_few_neighbours_of_each_type(batch):
    whole, few = SampledNeighbours(1)(batch, generator=seeded())
    assert whole is batch
    for kind in ("author", "subject"):
        papers, others = few.graph.between("paper", kind)
        assert torch.equal(papers.bincount(minlength=36).clamp(max=1), papers.bincount(minlength=36))
        before = set(map(tuple, batch.graph.between("paper", kind).T.tolist()))
        assert set(zip(papers.tolist(), others.tolist(), strict=True)) <= before
        assert len(papers) == len({paper for paper, _ in before})


def test_sampling_is_without_replacement_and_even():
    edges = torch.stack([torch.arange(10), torch.zeros(10, dtype=torch.int64)])
    times = torch.zeros(10)
    draw = seeded()
    for _ in range(300):
        found = sampled(edges, 1, 1, 3, draw)[0]
        assert len(found.unique()) == 3
        times[found] += 1
    assert (times / 300 - 0.3).abs().max() < 0.12


def test_which_views_are_chosen(source):
    spec = hetero.read(source).spec
    assert MODALITY.choose_views(spec, preferred="simclr") == "dropped"
    assert MODALITY.choose_views(spec, preferred="meow") == "meow"
    with pytest.raises(ConfigError, match="the views 'heco' are two by their nature"):
        MODALITY.make_views("heco", spec, preferred="heco", count=3)
    with pytest.raises(ConfigError, match="no views called 'grace' of heterogeneous graphs"):
        MODALITY.make_views("grace", spec, preferred="simclr", count=2)
