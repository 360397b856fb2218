"""The logistic probe on nodes: what it is fitted on, what chooses, what is scored."""

import math

import pytest
import torch

from twofold.errors import DataError
from twofold.evaluation.node_probe import GRID, node_probe


def groups(noise, count=300, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = torch.eye(3, 8)
    return centres[labels] + noise * torch.randn(count, 8, generator=draw), labels


def thirds(count=300):
    part = torch.arange(count) // 3 % 3
    return [part == i for i in range(3)]


def test_it_finds_groups_and_nothing_in_noise():
    x, labels = groups(0.1)
    found = node_probe(x, labels, *thirds())
    assert found.accuracy == found.macro_f1 == found.validation == 1.0
    assert found.tested == 99
    assert found.correct.all()
    noise = node_probe(torch.randn(300, 8, generator=torch.Generator().manual_seed(1)), labels, *thirds())
    assert abs(noise.accuracy - 1 / 3) < 0.15


def test_test_labels_play_no_part_in_the_choice():
    x, labels = groups(1.0)
    train, val, test = thirds()
    honest = node_probe(x, labels, train, val, test)
    turned = torch.where(test, (labels + 1) % 3, labels)
    other = node_probe(x, turned, train, val, test)
    assert (other.log2_c, other.validation) == (honest.log2_c, honest.validation)
    assert not (other.correct & honest.correct).any()


def test_the_smallest_best_strength_is_chosen_on_validation_nodes():
    x, labels = groups(1.0)
    train, val, test = thirds()
    best = node_probe(x, labels, train, val, test)
    each = {power: node_probe(x, labels, train, val, test, grid=[power]).validation for power in GRID}
    assert best.validation == max(each.values())
    assert best.log2_c == min(power for power, value in each.items() if value == best.validation)


def test_without_validation_nodes_c_is_one():
    x, labels = groups(0.5)
    train, val, test = thirds()
    found = node_probe(x, labels, train, val & False, test)
    assert found.log2_c == 0
    assert math.isnan(found.validation)


def test_scale_of_rows_does_not_matter_and_unlabelled_nodes_are_left_out():
    x, labels = groups(0.5)
    parts = thirds()
    scaled = x * torch.rand(300, 1, generator=torch.Generator().manual_seed(0)).add(0.1)
    assert torch.equal(node_probe(scaled, labels, *parts).correct, node_probe(x, labels, *parts).correct)
    labels[-9:] = -1
    assert node_probe(x, labels, *parts).tested == 96


def test_what_cannot_be_probed_is_refused():
    x, labels = groups(0.5)
    train, val, test = thirds()
    with pytest.raises(DataError, match="two classes"):
        node_probe(x, torch.zeros_like(labels), train, val, test)
    with pytest.raises(DataError, match="test nodes"):
        node_probe(x, labels, train, val, test & False)
    with pytest.raises(DataError, match="rows of features"):
        node_probe(x[:-1], labels, train, val, test)
    x[3] = torch.nan
    with pytest.raises(DataError, match="NaN"):
        node_probe(x, labels, train, val, test)
