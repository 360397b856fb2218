"""The evaluation of nodes of a heterogeneous graph: the data's own splits, few labels."""

import pytest
import torch

import twofold
from twofold.errors import ConfigError, DataError
from twofold.modalities.graph import MODALITY, hetero


def test_the_own_split_is_measured(folder):
    dataset = hetero.read(folder)
    task = MODALITY.task(folder, dataset.spec)
    assert list(task.metrics) == ["macro_f1_20", "micro_f1_20", "nmi", "ari"]
    perfect = torch.nn.functional.one_hot(dataset.labels).float()
    found = task.measure({"nodes": perfect})
    assert found["macro_f1_20"].value == found["micro_f1_20"].value == 1
    assert found["nmi"].value == pytest.approx(1)
    noise = torch.randn(36, 4, generator=torch.Generator().manual_seed(0))
    assert task.measure({"nodes": noise})["macro_f1_20"].value < 0.8
    assert set(task.metrics) == set(found)


def test_it_is_what_evaluate_reports(folder):
    model = twofold.SimCLR(modality="graph", encoder="gcn-w8")
    model.fit(folder, level="hetero", epochs=1, workers=0)
    report = model.evaluate(folder)
    assert [row.name for row in report.rows][:3] == ["trained", "untrained", "raw"]
    assert all("macro_f1_20" in row.metrics for row in report.rows)
    assert report.protocol["task"] == "own-split"


def test_without_splits_the_standard_protocol_holds(source):
    for name in ("train", "val", "test"):
        source["paper"].pop(f"{name}_mask")
    dataset = hetero.read(source)
    assert MODALITY.task(source, dataset.spec) is None
    with pytest.raises(DataError, match="the task own-split needs labels and splits"):
        MODALITY.task(source, dataset.spec, name="own-split")
    with pytest.raises(ConfigError, match="no task 'links' for a heterogeneous graph"):
        MODALITY.task(source, dataset.spec, name="links")
