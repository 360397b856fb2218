"""The usual evaluations of nodes, and what is told of them."""

import pytest
import torch
from torch_geometric.data import Data

import twofold
from twofold.errors import ConfigError, DataError
from twofold.evaluation import Task
from twofold.modalities.graph import MODALITY, data
from twofold.modalities.graph.tasks import random_splits


def blocks(nodes=240, seed=0, *, split=True, labels=True):
    """Three groups, joined within rather than between; features say little."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) % 3
    ends = torch.randint(nodes, (2, nodes * 12), generator=draw)
    kept = (y[ends[0]] == y[ends[1]]) | (torch.rand(nodes * 12, generator=draw) < 0.05)
    x = torch.rand(nodes, 12, generator=draw) + 0.3 * torch.eye(12)[y]
    graph = Data(x=x, edge_index=ends[:, kept])
    if labels:
        graph.y = y
    if split:
        part = torch.arange(nodes) // 3 % 4
        graph.train_mask, graph.val_mask, graph.test_mask = part == 0, part == 1, part >= 2
    return graph


@pytest.fixture(scope="module")
def trained():
    quick = {"epochs": 60, "lr": 5e-3, "workers": 0, "precision": "float32"}
    return twofold.GRACE(encoder="gcn-w16", temperature=0.4).fit(blocks(), **quick)


def test_training_beats_the_untrained_encoder_and_the_features(trained):
    report = trained.evaluate(blocks())
    values = {row.name: row.metrics["accuracy"].value for row in report.rows}
    assert set(values) == {"trained", "untrained", "raw"}
    assert values["trained"] > max(values["untrained"], 0.8)
    assert values["trained"] > values["raw"] + 0.1
    assert report.protocol["task"] == "own-split"
    assert report.protocol["split"].startswith("the data's own: 60 / 60 / 120 nodes")
    assert report.chance["accuracy"] == pytest.approx(1 / 3)
    accuracy = report.rows[0].metrics["accuracy"]
    assert accuracy.low < accuracy.value < accuracy.high
    assert {d.against for d in report.differences} == {"untrained", "raw"}
    assert {"accuracy", "macro_f1", "layer_accuracy", "nmi"} == set(report.metrics)


def test_random_splits_are_a_task_and_the_standard_protocol_is_there_without_one(trained):
    report = trained.evaluate(blocks(split=False), task="random-splits", baselines=False)
    assert "mean of 5 splits" in report.protocol["split"]
    assert "24 / 24 / 192" in report.protocol["split"]
    assert report.rows[0].metrics["accuracy"].value > 0.7
    standard = trained.evaluate(blocks(split=False), metrics=("knn",), baselines=False)
    assert "70%" in standard.protocol["split"]


def test_links_are_predicted_from_a_graph_without_them():
    quick = {"epochs": 40, "lr": 5e-3, "workers": 0, "precision": "float32"}
    model = twofold.GRACE(encoder="gcn-w16").fit(blocks(labels=False), held_out=0.2, **quick)
    assert model.built_spec["held_out"] == 0.2
    report = model.evaluate(blocks(labels=False))
    rows = {row.name: row.metrics["auc"].value for row in report.rows}
    assert report.protocol["task"] == "links"
    assert "20%" in report.protocol["split"]
    assert set(rows) == {"trained", "untrained", "raw", "adamic-adar"}
    assert rows["trained"] > 0.65
    assert rows["adamic-adar"] > 0.6


def test_random_splits_share_out_the_labelled_nodes():
    labels = torch.arange(100) % 4
    labels[::5] = -1
    splits = random_splits(labels, count=3)
    for split in splits:
        assert [int(part.sum()) for part in (split.train, split.val, split.test)] == [8, 8, 64]
        together = split.train.int() + split.val.int() + split.test.int()
        assert torch.equal(together, (labels >= 0).int())
    assert not torch.equal(splits[0].train, splits[1].train)
    assert torch.equal(random_splits(labels, count=1)[0].test, splits[0].test)
    with pytest.raises(DataError, match="too few"):
        random_splits(labels[:6], count=1)


def test_what_a_task_needs_is_said():
    dataset = data.read(blocks(split=False, labels=False))
    spec = dataset.spec
    assert MODALITY.task(dataset, spec) is None
    with pytest.raises(ConfigError, match="own-split, random-splits, links"):
        MODALITY.task(dataset, spec, name="nodes")
    with pytest.raises(DataError, match="needs labels"):
        MODALITY.task(dataset, spec, name="random-splits")
    with pytest.raises(DataError, match=r"held_out=0\.1"):
        MODALITY.task(dataset, spec, name="links")
    with pytest.raises(DataError, match="no split of its own"):
        MODALITY.task(blocks(split=False), spec, name="own-split")
    assert isinstance(MODALITY.task(blocks(), spec), Task)
    assert MODALITY.task(blocks(), spec, test=blocks()) is None
    with pytest.raises(ConfigError, match="without test data apart"):
        MODALITY.task(blocks(), spec, test=blocks(), name="own-split")
