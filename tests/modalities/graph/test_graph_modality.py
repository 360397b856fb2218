"""Graphs as a modality: found by name, described, and learned from by recipes that know nothing of graphs."""

import inspect

import pytest
import torch
from torch_geometric.data import Data

import twofold
from twofold import errors, modalities
from twofold.dataset import Subset
from twofold.errors import ConfigError, DataError, MissingExtraError
from twofold.modalities.graph import MODALITY, data
from twofold.training import metrics_log

QUICK = {"epochs": 2, "workers": 0, "precision": "float32", "lr": 1e-3}


def a_graph(nodes=40, seed=0):
    draw = torch.Generator().manual_seed(seed)
    edges = torch.randint(nodes, (2, 3 * nodes), generator=draw)
    return Data(x=torch.rand(nodes, 6, generator=draw), edge_index=edges, y=torch.arange(nodes) % 2)


def graphs(count=24):
    """Rings, and rings with chords: told apart by degrees alone."""
    made = []
    for i in range(count):
        n = 6 + i % 5
        ring = torch.stack([torch.arange(n), torch.arange(n).roll(-1)])
        chords = torch.stack([torch.arange(n), torch.arange(n).roll(-2)])
        made.append(
            Data(edge_index=torch.cat([ring, chords], 1) if i % 2 else ring, y=torch.tensor(i % 2), num_nodes=n)
        )
    return made


def test_it_is_found_by_name_and_has_all_that_a_modality_has():
    assert modalities.get("graph") is MODALITY
    members = {n for n in vars(modalities.Modality) | modalities.Modality.__annotations__ if not n.startswith("_")}
    assert [name for name in members if not hasattr(MODALITY, name)] == []
    ours, theirs = (inspect.signature(read).parameters for read in (MODALITY.read, data.read))
    assert set(theirs) <= set(ours)
    assert all(ours[name].default == theirs[name].default for name in theirs)


def test_all_nodes_are_contrasted_unless_told_otherwise(tmp_path):
    dataset = data.read(a_graph())
    assert MODALITY.training_defaults(dataset.spec)["batch_size"] == 40
    assert MODALITY.training_defaults(dataset.spec | {"samples": 10**6})["batch_size"] == 2**15
    twofold.GRACE(encoder="gcn-w8").fit(a_graph(), out=tmp_path / "whole", **QUICK)
    twofold.GRACE(encoder="gcn-w8").fit(a_graph(), out=tmp_path / "part", batch_size=10, **QUICK)
    whole, part = (len(list(metrics_log.read(tmp_path / name / "metrics.jsonl"))) for name in ("whole", "part"))
    assert (whole, part) == (2, 8)


def test_micro_batches_give_the_gradient_of_the_whole(tmp_path):
    options = {"encoder": "gcn-w8-relu"}
    one = twofold.GRACE(**options).fit(a_graph(), **QUICK)
    two = twofold.GRACE(**options).fit(a_graph(), micro_batch=10, **QUICK)
    for name, value in one.state_dict().items():
        assert torch.allclose(value, two.state_dict()[name], atol=1e-5), name


@pytest.mark.parametrize("recipe", ["dcl", "vicreg", "byol"])
def test_recipes_for_anything_run_on_whole_graphs(recipe, make_recipe, tmp_path):
    model = make_recipe(recipe, encoder="gin-w8-d2", modality="graph").fit(graphs(), batch_size=8, **QUICK)
    rows = model.embed(graphs())
    assert rows.shape == (24, 16)
    assert rows.isfinite().all()
    assert torch.allclose(model.embed(graphs()[3:5]), rows[3:5], atol=1e-5)
    model.save(tmp_path / "saved")
    assert torch.equal(twofold.load(tmp_path / "saved").embed(graphs()), rows)


def test_degrees_of_other_graphs_are_brought_to_those_of_training():
    model = twofold.SimCLR(modality="graph", encoder="gin-w8").fit(graphs(), batch_size=8, **QUICK)
    star = Data(edge_index=torch.stack([torch.zeros(9, dtype=torch.long), torch.arange(1, 10)]), num_nodes=10)
    assert model.embed([star, star], level="graph").shape == (2, 24)
    with pytest.raises(DataError, match="trained on other graphs: with features 5, the data 6"):
        model.embed([a_graph(), a_graph()], degrees=0)
    with pytest.raises(DataError, match="level graph, the data node"):
        model.embed(a_graph(), level="node", degrees=4)


def test_raw_features_and_previews():
    nodes, many = data.read(a_graph()), data.read(graphs())
    index = torch.tensor([5, 2])
    raw = MODALITY.raw_features(nodes.fetch(index), nodes.spec)
    assert torch.equal(raw, nodes.graph.x[index])
    sizes = MODALITY.raw_features(many.fetch(index), many.spec)[:, -2:]
    assert sizes.tolist() == [[6, 24], [8, 16]]
    assert MODALITY.previews(many, index) == ["6 nodes, 24 edges", "8 nodes, 16 edges"]
    shown = MODALITY.previews(nodes, index)
    degree = int((nodes.graph.edge_index[1] == 5).sum())
    assert shown[0].startswith(f"5: {degree} neighbours (")
    part = Subset(nodes, torch.tensor([9, 5]))
    assert MODALITY.previews(part, torch.tensor([1])) == shown[:1]
    assert MODALITY.describe(part) == MODALITY.describe(nodes)


def test_views_and_encoders_are_refused_by_name_before_anything_is_read():
    assert MODALITY.problems("gcn-w8", "gca-degree") == []
    assert MODALITY.problems("schema", None) == []  # of graphs with several kinds of nodes
    with pytest.raises(ConfigError, match="did you mean 'gcn'"):
        twofold.GRACE(encoder="gcm")
    with pytest.raises(ConfigError, match="no views called 'grase'"):
        twofold.GRACE(views="grase")
    with pytest.raises(ConfigError, match="GRACE learns from graph, not from image"):
        twofold.GRACE(modality="image")


def test_without_pytorch_geometric_the_extra_is_named(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(errors.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"twofold\[graph\]"):
        MODALITY.make_encoder("gcn", data.read((torch.rand(4, 2), torch.tensor([[0], [1]]))).spec, rebuild={})
