import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import twofold.data
from twofold.errors import DataError


def test_the_whole_is_scikit_learns_set_in_its_order():
    everything, source = twofold.data.digits("all"), load_digits()
    assert everything.images.shape == (1797, 1, 8, 8)
    assert everything.images.dtype == torch.uint8
    np.testing.assert_array_equal(everything.labels.numpy(), source.target)
    np.testing.assert_allclose(everything.images[:, 0].numpy() * (16 / 255), source.images, atol=0.04)
    assert int(everything.images.max()) == 255
    assert everything.ids[17] == "digit 17"
    assert everything.class_names == list("0123456789")


def test_the_split_is_disjoint_complete_and_fixed():
    train, test, everything = (twofold.data.digits(split) for split in ("train", "test", "all"))
    assert (len(train), len(test)) == (1200, 597)
    assert sorted([*train.ids, *test.ids]) == sorted(everything.ids)
    for part in (train, test):
        rows = torch.tensor([everything.ids.index(name) for name in part.ids])
        assert torch.equal(part.images, everything.images[rows])
        assert torch.equal(part.labels, everything.labels[rows])
        assert part.ids == twofold.data.digits("train" if part is train else "test").ids


def test_the_split_is_stratified():
    train, test = twofold.data.digits("train"), twofold.data.digits("test")
    share = test.labels.bincount() / (test.labels.bincount() + train.labels.bincount())
    assert len(share) == 10
    assert (share - 597 / 1797).abs().max() < 0.01


def test_it_is_the_default_to_train_and_it_keeps_the_contract():
    train = twofold.data.digits()
    assert len(train) == 1200
    batch = train.fetch(torch.tensor([3, 1]))
    assert torch.equal(batch["inputs"], train.images[[3, 1]])
    assert torch.equal(batch["label"], train.labels[[3, 1]])
    assert train.spec["channels"] == 1
    assert train.spec["size"] == 8


def test_an_unknown_split_is_named():
    with pytest.raises(DataError, match="split must be one of 'train', 'test', 'all', got 'dev'"):
        twofold.data.digits("dev")
