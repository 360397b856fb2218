"""Labels of all kinds of data: numbers, text, gaps, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from twofold.errors import DataError
from twofold.modalities.labels import checked_index, encode_labels, label_sentence


@pytest.mark.parametrize(
    ("values", "labels", "names"),
    [
        ([0, 2, -1], [0, 2, -1], None),
        (np.array([[1.0], [0.0], [np.nan]]), [1, 0, -1], None),
        (torch.tensor([3, 1, 3]), [3, 1, 3], None),
        (["b", "a", None], [1, 0, -1], ["a", "b"]),
        (np.array([True, False, True]), [1, 0, 1], ["False", "True"]),
        ([10**6, 7, 10**6], [1, 0, 1], ["7", "1000000"]),
        ([-5, 1, 1], [0, 1, 1], ["-5", "1"]),
        (["", "x", "\udc80"], [-1, 0, 1], ["x", "\\udc80"]),
    ],
)
def test_classes(values, labels, names):
    encoded, found = encode_labels(values, "labels", 3)
    assert encoded.dtype == torch.int64
    assert (encoded.tolist(), found) == (labels, names)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], "labels: 2 for 3 samples"),
        ([0.5, 1, 2], "hold 0.5: labels are classes"),
        ([[1], [2], [3]], "hold a list"),
        (np.zeros((3, 2)), r"have shape \(3, 2\)"),
        (np.array([None, 1, 2]), "Python objects"),
    ],
)
def test_what_is_no_class(values, message):
    with pytest.raises(DataError, match=message):
        encode_labels(values, "labels", 3)


def test_the_sentence_about_them():
    assert label_sentence(None, None, items="clouds") == "No labels."
    assert label_sentence(torch.tensor([-1, -1]), None, items="clouds") == "None of the clouds has a label."
    text = label_sentence(torch.tensor([0, 0, 2, -1]), ["a", "b", "c"], items="clouds")
    assert text == "2 classes (a, b, c); 1-2 clouds a class; 1 without a label."


def test_positions():
    assert checked_index(torch.tensor([1, 0], dtype=torch.int32), 2).dtype == torch.int64
    for wrong, message in ((torch.tensor([2]), "0..1"), (torch.tensor([0.0]), "int64 tensor"), ([0], "got list")):
        with pytest.raises(DataError, match=message):
            checked_index(wrong, 2)
