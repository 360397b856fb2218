"""The linear probes on nodes: what they are fitted on, what chooses, what is scored."""

import math

import pytest
import torch

from twofold.errors import DataError
from twofold.evaluation.node_probe import GRID, LAYER_STEPS, layer_probe, node_probe


def groups(noise, count=300, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = torch.eye(3, 8)
    return centres[labels] + noise * torch.randn(count, 8, generator=draw), labels


def thirds(count=300):
    part = torch.arange(count) // 3 % 3
    return [part == i for i in range(3)]


@pytest.mark.parametrize("probe", [node_probe, layer_probe])
def test_it_finds_groups_and_nothing_in_noise(probe):
    x, labels = groups(0.1)
    found = probe(x, labels, *thirds())
    assert found.accuracy == found.macro_f1 == found.validation == 1.0
    assert found.tested == 99
    assert found.correct.all()
    noise = probe(torch.randn(300, 8, generator=torch.Generator().manual_seed(1)), labels, *thirds())
    assert abs(noise.accuracy - 1 / 3) < 0.15


@pytest.mark.parametrize("probe", [node_probe, layer_probe])
def test_test_labels_play_no_part_in_the_choice(probe):
    x, labels = groups(1.0)
    train, val, test = thirds()
    honest = probe(x, labels, train, val, test)
    turned = torch.where(test, (labels + 1) % 3, labels)
    other = probe(x, turned, train, val, test)
    assert (other.chosen, other.validation) == (honest.chosen, honest.validation)
    assert not (other.correct & honest.correct).any()


def test_the_smallest_best_strength_is_chosen_on_validation_nodes():
    x, labels = groups(1.0)
    train, val, test = thirds()
    best = node_probe(x, labels, train, val, test)
    each = {power: node_probe(x, labels, train, val, test, grid=[power]).validation for power in GRID}
    assert best.validation == max(each.values())
    assert best.chosen["log2_c"] == min(power for power, value in each.items() if value == best.validation)


def test_without_validation_nodes_c_is_one():
    x, labels = groups(0.5)
    train, val, test = thirds()
    found = node_probe(x, labels, train, val & False, test)
    assert found.chosen == {"log2_c": 0}
    assert math.isnan(found.validation)


def test_scale_of_rows_does_not_matter_and_unlabelled_nodes_are_left_out():
    x, labels = groups(0.5)
    parts = thirds()
    scaled = x * torch.rand(300, 1, generator=torch.Generator().manual_seed(0)).add(0.1)
    assert torch.equal(node_probe(scaled, labels, *parts).correct, node_probe(x, labels, *parts).correct)
    labels[-9:] = -1
    assert node_probe(x, labels, *parts).tested == 96


def test_a_layer_is_scored_after_the_last_of_its_best_steps():
    x, labels = groups(1.0)
    parts = thirds()
    found = layer_probe(x, labels, *parts, decays=[0.0])
    each = [layer_probe(x, labels, *parts, decays=[0.0], steps=steps) for steps in (1, 2, LAYER_STEPS)]
    assert each[0].chosen == {"weight_decay": 0.0, "step": 1}
    assert found.validation == max(one.validation for one in each) == each[-1].validation
    again = layer_probe(x, labels, *parts, decays=[0.0], steps=int(found.chosen["step"]))
    assert torch.equal(again.correct, found.correct)
    assert again.chosen == found.chosen


def test_a_layer_takes_the_decay_that_validation_nodes_prefer():
    x, labels = groups(1.0)
    parts, decays = thirds(), (0.0, 0.1, 10.0)
    found = layer_probe(x, labels, *parts, decays=decays)
    each = {decay: layer_probe(x, labels, *parts, decays=[decay]).validation for decay in decays}
    assert each[found.chosen["weight_decay"]] == found.validation == max(each.values())


def test_a_layer_without_validation_nodes_takes_its_last_step_without_decay():
    x, labels = groups(0.5)
    train, val, test = thirds()
    found = layer_probe(x, labels, train, val & False, test, steps=7)
    assert found.chosen == {"weight_decay": 0.0, "step": 7}
    assert math.isnan(found.validation)


@pytest.mark.parametrize("probe", [node_probe, layer_probe])
def test_what_cannot_be_probed_is_refused(probe):
    x, labels = groups(0.5)
    train, val, test = thirds()
    with pytest.raises(DataError, match="two classes"):
        probe(x, torch.zeros_like(labels), train, val, test)
    with pytest.raises(DataError, match="test nodes"):
        probe(x, labels, train, val, test & False)
    with pytest.raises(DataError, match="rows of features"):
        probe(x[:-1], labels, train, val, test)
    x[3] = torch.nan
    with pytest.raises(DataError, match="NaN"):
        probe(x, labels, train, val, test)
