"""Reading interactions, holding some out, views, and the evaluation."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

import twofold
from twofold.dataset import Subset
from twofold.errors import ConfigError, DataError
from twofold.modalities.interactions import MODALITY
from twofold.modalities.interactions.graph import Bipartite, Layered, LowRank
from twofold.modalities.interactions.views import RATE, make_views


def pairs(dataset, edges):
    spec = dataset.spec
    return {(spec["users"][u], spec["items"][i]) for u, i in edges.T.tolist()}


def given(columns):
    return set(zip(columns["user"], columns["item"], strict=True))


def shuffled(columns, seed=0):
    rows = list(zip(columns["user"], columns["item"], strict=True))
    random.Random(seed).shuffle(rows)
    return {"user": [u for u, _ in rows], "item": [i for _, i in rows]}


def test_train_and_held_out_are_a_partition(tastes):
    columns = tastes()
    data = MODALITY.read(columns, held_out=0.3)
    known, held_out = pairs(data, data.graph.edges), pairs(data, data.held_out)
    assert known | held_out == given(columns)
    assert not known & held_out
    assert 0.2 < len(held_out) / len(given(columns)) < 0.4
    assert {user for user, _ in known} == set(columns["user"])
    assert len(data) == data.spec["samples"] == 70
    assert data.ids[0].startswith("user:")
    assert data.ids[-1].startswith("item:")
    everything = MODALITY.read(columns, split="all")
    assert pairs(everything, everything.graph.edges) == given(columns)
    assert everything.held_out.shape == (2, 0)


def test_what_is_held_out_is_the_same_in_another_or_longer_file(tastes):
    columns, longer = tastes(), tastes(users=60, items=45, seed=3)
    both = {side: columns[side] + longer[side] for side in columns}
    first, mixed, grown = (MODALITY.read(source) for source in (columns, shuffled(columns), both))
    held_out = pairs(first, first.held_out)
    assert held_out
    assert pairs(mixed, mixed.held_out) == held_out
    # What was trained on may be held out later only where a user had nothing else to keep.
    assert not pairs(grown, grown.graph.edges) & held_out
    assert pairs(grown, grown.held_out) - held_out != set()
    assert pairs(MODALITY.read(columns, split_seed=1), MODALITY.read(columns, split_seed=1).held_out) != held_out


def test_repetitions_count_once_and_faults_are_told(tastes):
    columns = tastes()
    doubled = {side: values + values[:5] for side, values in columns.items()}
    data = MODALITY.read(doubled)
    assert pairs(data, data.graph.edges) == pairs(MODALITY.read(columns), MODALITY.read(columns).graph.edges)
    assert "5 interactions were given more than once and count once" in MODALITY.describe(data)
    missing = {"user": [*columns["user"], None], "item": [*columns["item"], "i1"]}
    said = MODALITY.describe(MODALITY.read(missing))
    assert f"1 rows or names were left out, such as row {len(columns['user']) + 1} (no user)" in said
    assert "are held out for the evaluation" in said


def test_bad_input_and_options_are_told(tastes):
    with pytest.raises(DataError, match="1 user and 2 item are no data to recommend from"):
        MODALITY.read({"user": ["a", "a"], "item": ["x", "y"]})
    with pytest.raises(ConfigError, match=r"held_out is 1\.5; it must be at least 0"):
        MODALITY.read(tastes(), held_out=1.5)
    with pytest.raises(ConfigError, match="split is 'test'; it must be 'train'"):
        MODALITY.read(tastes(), split="test")
    with pytest.raises(ConfigError, match="the spec of interactions lacks items"):
        MODALITY.make_encoder("lightgcn", {"users": ["a"]}, rebuild={})
    with pytest.raises(ConfigError, match="Identity needs an attribute dim"):
        MODALITY.make_encoder(nn.Identity(), {"users": ["a"], "items": ["b"]}, rebuild={})
    with pytest.raises(ConfigError, match="has no option '-h2'; it has -wNUMBER"):
        twofold.LightGCN(encoder="lightgcn-h2")
    with pytest.raises(ConfigError, match="There are no views called 'edge-drop'; did you mean 'edge-dropout'"):
        twofold.LightGCN(views="edge-drop")


def test_a_user_with_one_event_is_trained_on():
    columns = {"user": ["a"] * 20 + ["b"], "item": [f"i{i}" for i in range(20)] + ["i3"]}
    for seed in range(5):
        data = MODALITY.read(columns, held_out=0.9, split_seed=seed)
        assert ("b", "i3") in pairs(data, data.graph.edges)
        assert {user for user, _ in pairs(data, data.graph.edges)} == {"a", "b"}
        assert data.held_out.shape[1] > 10


def test_other_data_is_matched_by_name(tastes):
    columns = tastes()
    data = MODALITY.read(columns)
    other = {"user": ["u3", "new", "u5"], "item": ["i2", "i1", "unheard"]}
    read = MODALITY.read(other, **MODALITY.reading_for(data.spec))
    assert read.ids == data.ids
    assert pairs(read, read.graph.edges) == {("u3", "i2")}
    assert set(read.skipped) == {"user:new", "item:unheard"}
    MODALITY.check_fits(read, data.spec)
    with pytest.raises(DataError, match="no interaction is between a user and an item that the encoder knows"):
        MODALITY.read({"user": ["x", "y"], "item": ["i1", "z"]}, **MODALITY.reading_for(data.spec))
    with pytest.raises(DataError, match="has vectors of other users and items"):
        MODALITY.check_fits(MODALITY.read(tastes(users=10)), data.spec)


@pytest.fixture
def inputs(tastes):
    return MODALITY.read(tastes()).fetch(torch.arange(12))["inputs"]


def drawn(views, inputs, seed=0):
    return views(inputs, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["edge-dropout", "node-dropout"])
def test_dropouts_leave_a_share_of_the_edges(name, inputs):
    views = make_views(name, preferred="simclr", count=40)
    graphs = [view.graph for view in drawn(views, inputs)]
    whole = inputs.graph.edges.shape[1]
    left = sum(graph.edges.shape[1] for graph in graphs) / 40 / whole
    expected = 1 - RATE if name == "edge-dropout" else (1 - RATE) ** 2
    assert abs(left - expected) < 0.04
    again, other = drawn(views, inputs), drawn(views, inputs, seed=1)
    assert all(torch.equal(a.edges, b.graph.edges) for a, b in zip(graphs, again, strict=True))
    assert not torch.equal(graphs[0].edges, graphs[1].edges)
    assert not torch.equal(graphs[0].edges, other[0].graph.edges)


def test_a_dropped_node_has_no_edges_and_others_all_that_are_left(inputs):
    graph = drawn(make_views("node-dropout", preferred="", count=1), inputs)[0].graph
    lonely = (graph.degrees == 0) & (inputs.graph.degrees > 0)
    assert lonely.any()
    kept = ~lonely[inputs.graph.edges[0]] & ~lonely[graph.users + inputs.graph.edges[1]]
    assert torch.equal(graph.edges, inputs.graph.edges[:, kept])


def test_views_by_name_and_by_wish(inputs):
    kinds = [type(view.graph) for view in drawn(make_views("low-rank", preferred="simclr", count=3), inputs)]
    assert kinds == [Bipartite, LowRank, Bipartite]
    assert isinstance(drawn(make_views("random-walk", preferred="", count=1), inputs)[0].graph, Layered)
    whole, *others = drawn(make_views("random-walk", preferred="whole, edge-dropout", count=3), inputs)
    assert whole.graph is inputs.graph
    assert [type(view.graph) for view in others] == [Layered, Layered]
    assert MODALITY.choose_views({}, preferred="whole, low-rank") == "low-rank"
    assert MODALITY.choose_views({}, preferred="multi-crop") == "edge-dropout"


@pytest.fixture
def trained(tastes):
    return twofold.LightGCN(encoder="lightgcn-w8-d2").fit(tastes(), epochs=60, lr=0.03, precision="float32", workers=0)


def rows_of(evaluation, metric="recall_at_20"):
    return {row.name: row.metrics[metric].value for row in evaluation.rows}


def test_the_evaluation_measures_what_the_training_did_not_see(trained, tastes):
    result = trained.evaluate(shuffled(tastes()))
    assert [row.name for row in result.rows] == ["trained", "untrained", "raw", "popularity"]
    ndcg = rows_of(result, "ndcg_at_20")
    assert ndcg["trained"] > 1.2 * ndcg["untrained"]
    assert ndcg["trained"] > 1.2 * ndcg["popularity"]
    assert "the same as in the training" in result.protocol["split"]
    assert 0 < result.chance["recall_at_20"] < 1
    assert {d.against for d in result.differences} == {"untrained", "raw", "popularity"}


def test_held_out_items_are_not_in_the_graph_that_is_measured(trained, tastes):
    task = MODALITY.task(tastes(), trained.built_spec)
    known = task.sides["nodes"]
    data = MODALITY.read(tastes())
    assert torch.equal(known.graph.edges, data.graph.edges)
    perfect = torch.zeros(len(data), len(data))
    perfect[data.held_out[0], data.held_out[1]] = 1.0
    perfect[range(40, 70), range(30)] = 1.0
    assert task.measure({"nodes": perfect})["recall_at_20"].value == 1.0


def test_a_test_given_apart(trained, tastes):
    columns = tastes()
    later = {"user": ["u0", "u1", columns["user"][0], "stranger"], "item": ["i1", "i2", columns["item"][0], "i3"]}
    fresh = given(later) - given(columns)
    result = trained.evaluate(columns, test=later)
    known = len(fresh) - 1  # the stranger
    assert result.rows[0].metrics["recall_at_20"].n == len({user for user, _ in fresh if user != "stranger"})
    assert f"{known} interactions given apart" in result.protocol["split"]
    assert "1 of the test are known already and do not count" in result.protocol["split"]
    assert "1 users and items of the test are unknown to the encoder" in result.protocol["split"]


def test_a_measurement_that_would_not_be_honest_is_refused(tastes):
    columns = tastes()
    model = twofold.LightGCN(encoder="embedding-w4").fit(columns, split="all", epochs=1, workers=0)
    with pytest.raises(ConfigError, match="All interactions of its source were trained on"):
        model.evaluate(columns)
    model = twofold.LightGCN(encoder="embedding-w4").fit(columns, epochs=1, workers=0)
    with pytest.raises(ConfigError, match="split_seed must be as in the training"):
        model.evaluate(columns, split_seed=5)
    with pytest.raises(ConfigError, match="There is no task 'links' for interactions; there are: ranking"):
        model.evaluate(columns, task="links")


def test_use_knows_everything_and_previews_tell(trained, tastes, tmp_path):
    columns = tastes()
    whole = MODALITY.read(columns, split="all")
    assert torch.equal(trained.embed(columns), trained.embed(whole))
    assert not torch.equal(trained.embed(columns), trained.embed(MODALITY.read(columns)))
    shown = MODALITY.previews(Subset(whole, torch.tensor([3, 41])), torch.tensor([0, 1]))
    assert shown[0].startswith("user:u3, ")
    assert shown[1].endswith(" interactions")
    assert torch.equal(twofold.load(trained.save(tmp_path)).embed(columns), trained.embed(columns))


def test_steps_follow_the_number_of_interactions():
    spec = {"samples": 6000, "interactions": 40_000}
    few, many = (MODALITY.training_defaults(spec | {"interactions": m}) for m in (40_000, 400_000))
    assert few["batch_size"] == many["batch_size"] == 512
    assert many["epochs"] / few["epochs"] == pytest.approx(10, rel=0.02)
    assert few["epochs"] * (6000 // 512) * 512 * 4 == pytest.approx(100 * 40_000, rel=0.02)
    assert MODALITY.training_defaults({"samples": 20, "interactions": 50})["batch_size"] == 20
