from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.errors import ConfigError, DataError
from twofold.evaluation import stratified_split


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_each_class_is_divided_seventy_to_thirty() -> None:
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 10)
    split = stratified_split(labels, generator=_generator())
    assert torch.bincount(labels[split.test]).tolist() == [30, 15, 3]
    assert torch.bincount(labels[split.train]).tolist() == [70, 35, 7]
    assert split.messages == []


@given(
    labels=st.lists(st.integers(-1, 4), min_size=12, max_size=60),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=50)
def test_sides_are_disjoint_complete_and_hold_every_class_of_two(labels: list[int], fraction: float, seed: int) -> None:
    y = torch.tensor(labels)
    split = stratified_split(y, generator=_generator(seed), test_fraction=fraction)
    assert torch.equal(torch.cat([split.train, split.test]).sort().values, torch.arange(len(y)))
    for label, count in zip(*y.unique(return_counts=True), strict=True):
        in_test = int((y[split.test] == label).sum())
        assert in_test == 0 if count == 1 else 1 <= in_test < count
        assert count < 2 or abs(in_test - fraction * count) <= max(1, fraction, 1 - fraction)


def test_the_generator_decides() -> None:
    labels = torch.arange(60) % 3
    first, same, other = (stratified_split(labels, generator=_generator(seed)).test for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@given(groups=st.lists(st.integers(0, 9), min_size=20, max_size=60), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=30)
def test_groups_stay_together(groups: list[int], seed: int) -> None:
    names = [f"clip {group}" for group in groups]
    if len(set(names)) < 2:
        return
    split = stratified_split(torch.full((len(groups),), -1), generator=_generator(seed), groups=names)
    train, test = ({names[i] for i in side.tolist()} for side in (split.train, split.test))
    assert train
    assert test
    assert not train & test


def test_groups_are_stratified_by_their_most_frequent_class() -> None:
    groups = torch.arange(40).repeat_interleave(3)
    labels = (groups % 2).clone()
    labels[::3] = 0  # one item in three strays from its group
    split = stratified_split(labels, generator=_generator(), groups=groups.tolist())
    assert torch.bincount(groups[split.test] % 2).tolist() == [18, 18]


def test_classes_of_one_are_named() -> None:
    labels = torch.tensor([0, 0, 0, 7, 1, 1, 9])
    split = stratified_split(labels, generator=_generator())
    assert {3, 6} <= set(split.train.tolist())
    assert split.messages == ["2 classes of one item (label 7, 9) are in the training side only and cannot be tested"]
    (message,) = stratified_split(
        torch.tensor([0, 0, 0, 3, 3]), generator=_generator(), groups=["a", "b", "c", "d", "d"]
    ).messages
    assert message.startswith("1 class of one group (label 3) is")


def test_bad_input_is_named() -> None:
    labels = torch.arange(6) % 2
    with pytest.raises(ConfigError, match=r"between 0 and 1, got 1\.0"):
        stratified_split(labels, generator=_generator(), test_fraction=1.0)
    with pytest.raises(DataError, match="5 groups for 6 labels"):
        stratified_split(labels, generator=_generator(), groups=list("abcde"))
    with pytest.raises(DataError, match="two groups; got 1"):
        stratified_split(labels, generator=_generator(), groups=["a"] * 6)
    with pytest.raises(DataError, match="nothing is left to test on"):
        stratified_split(torch.arange(6), generator=_generator())
