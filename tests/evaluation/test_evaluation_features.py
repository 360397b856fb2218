from __future__ import annotations

import pytest
import torch

from twofold.errors import DataError
from twofold.evaluation import Features


def test_rows_are_taken_with_labels_and_keys() -> None:
    features = Features(torch.arange(8.0).reshape(4, 2), torch.tensor([0, -1, 2, 3]), list("abcd"))
    part = features.take(torch.tensor([3, 1]))
    assert part.x.tolist() == [[6.0, 7.0], [2.0, 3.0]]
    assert part.labelled.tolist() == [True, False]
    assert part.known_labels().tolist() == [3]
    assert part.keys == ["d", "b"]


def test_gradients_are_dropped_and_input_left_alone() -> None:
    x = torch.eye(3, requires_grad=True)
    assert not Features(x).x.requires_grad
    assert x.requires_grad


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(DataError, match=r"2 labels for 3 rows.*1 keys for 3 rows"):
        Features(torch.eye(3), torch.arange(2), ["a"])
    with pytest.raises(DataError, match=r"whole numbers.*float32"):
        Features(torch.eye(3), torch.zeros(3))
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        Features(torch.ones(3))
    with pytest.raises(DataError, match="int64"):
        Features(torch.ones(3, 3, dtype=torch.int64))
