"""The contract of data: parts of data sets, and moving batches."""

from __future__ import annotations

import torch

from twofold.dataset import Rows, Subset, take, to_device
from twofold.training.nonfinite import finite_rows
from twofold.training.step import split_batch


def test_a_part_is_a_data_set_of_its_own(digits_set):
    index = torch.tensor([7, 3, 100, 50])
    part = Subset(digits_set, index)
    assert len(part) == part.spec["samples"] == 4
    assert part.spec | {"samples": 0} == digits_set.spec | {"samples": 0}
    assert digits_set.spec["samples"] == 192, "the whole keeps its own facts"
    assert part.ids == [digits_set.ids[i] for i in index.tolist()]
    assert torch.equal(part.labels, digits_set.labels[index])
    assert part.class_names == digits_set.class_names
    batch = part.fetch(torch.tensor([2, 0]))
    assert batch["index"].tolist() == [2, 0]
    assert torch.equal(batch["inputs"], digits_set.images[[100, 7]])
    assert torch.equal(batch["label"], digits_set.labels[[100, 7]])


def test_parts_of_parts_and_unreadable_samples(digits_set):
    class Holes(Subset):
        def fetch(self, index):
            return super().fetch(index[index != 1])

    holes = Holes(digits_set, torch.tensor([10, 11, 12, 13]))
    part = Subset(holes, torch.tensor([3, 1, 0]))
    batch = part.fetch(torch.arange(3))
    assert batch["index"].tolist() == [0, 2], "what could not be read is missing, the rest keeps its place"
    assert torch.equal(batch["inputs"], digits_set.images[[13, 10]])
    assert part.skipped is holes.skipped


def test_a_part_of_unlabelled_data_has_no_labels(digits_set):
    part = Subset(type(digits_set)(digits_set.images), torch.arange(3))
    assert part.labels is None
    assert "label" not in part.fetch(torch.arange(2))


def test_only_tensors_are_moved():
    batch = {"a": torch.zeros(2), "b": [torch.ones(1), {"c": torch.ones(1)}], "text": "x", "number": 3}
    moved = to_device(batch, torch.device("meta"))
    assert moved["a"].device.type == moved["b"][0].device.type == moved["b"][1]["c"].device.type == "meta"
    assert (moved["text"], moved["number"]) == ("x", 3)
    assert batch["a"].device.type == "cpu"


class Nodes:
    """Samples that are rows of something whole, as nodes of a graph are."""

    def __init__(self, whole, targets):
        self.whole, self.targets = whole, targets

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, part):
        return Nodes(self.whole, self.targets[part])

    def to(self, device, *, non_blocking=False):
        return Nodes(self.whole.to(device), self.targets.to(device))

    def finite(self):
        return self.whole[self.targets].isfinite().all(1)


def test_batches_that_are_no_tensors():
    whole = torch.randn(10, 3)
    whole[4, 1] = torch.nan
    nodes = Nodes(whole, torch.tensor([1, 4, 7, 2, 9]))
    assert isinstance(nodes, Rows)
    assert not isinstance(torch.zeros(2), Rows)
    assert not isinstance([1, 2], Rows)
    batch = {
        "views": [nodes, {"a": torch.arange(5), "b": [torch.zeros(5, 2)]}],
        "index": torch.arange(5),
        "progress": 0,
    }
    assert to_device(batch, torch.device("meta"))["views"][0].whole.device.type == "meta"
    part = take(batch, slice(1, 3), 5)
    assert part["views"][0].targets.tolist() == [4, 7]
    assert part["views"][1]["a"].tolist() == [1, 2]
    assert part["views"][1]["b"][0].shape == (2, 2)
    assert part["progress"] == 0
    pieces = split_batch(batch, 2)
    assert [piece["views"][0].targets.tolist() for piece in pieces] == [[1], [4, 7], [2, 9]]
    assert finite_rows(batch["views"], 5) == [True, False, True, True, True]


def test_what_does_not_count_samples_is_not_cut():
    kept = {"table": torch.zeros(7, 2), "scalar": torch.tensor(3.0), "nodes": Nodes(torch.zeros(9, 1), torch.arange(7))}
    assert take(kept, slice(2), 5) == kept
