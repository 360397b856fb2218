from __future__ import annotations

from math import log

import pytest
import torch
from naive import assert_values, each_anchor, log_sum_exp, similarity_of
from objective_cases import random_views

from twofold.contrast.objectives import nt_xent, supervised, supervised_inside

TAU = 0.4
LABELS = torch.tensor([1, 0, 1, -1, 1, -1, 2])
BOTH = pytest.mark.parametrize("objective", [supervised, supervised_inside])


@pytest.mark.parametrize("views", [2, 3])
def test_both_forms_by_definition(views: int) -> None:
    z = random_views(views, 7, 4)
    s = similarity_of(z)
    outside, inside = [], []
    for v, i in each_anchor(z):
        everyone = log_sum_exp([s(v, i, w, j) / TAU for w, j in each_anchor(z) if (w, j) != (v, i)])
        positives = [
            s(v, i, w, j) / TAU
            for w, j in each_anchor(z)
            if (w, j) != (v, i) and (j == i or LABELS[i] == LABELS[j] >= 0)
        ]
        outside.append(everyone - sum(positives) / len(positives))
        inside.append(everyone - log_sum_exp(positives) + log(len(positives)))
    assert_values(supervised(z, LABELS, temperature=TAU, reduction="none"), outside)
    assert_values(supervised_inside(z, LABELS, temperature=TAU, reduction="none"), inside)


@BOTH
@pytest.mark.parametrize("labels", [[3, 1, 4, 2], [-1, -1, -1, -1], [-2, 0, -2, 5]])
def test_without_a_shared_label_it_is_nt_xent(objective, labels: list[int]) -> None:
    z = random_views(2, 4, 3)
    actual = objective(z, torch.tensor(labels), temperature=TAU, reduction="none")
    torch.testing.assert_close(actual, nt_xent(z, temperature=TAU, reduction="none"))


def test_distinct_labels_are_nt_xent_of_three_views() -> None:
    z = random_views(3, 4, 3)
    actual = supervised(z, torch.arange(4), temperature=TAU, reduction="none")
    torch.testing.assert_close(actual, nt_xent(z, temperature=TAU, reduction="none"))


def test_inside_is_at_most_outside() -> None:
    z = random_views(2, 7, 4)
    inside, outside = (f(z, LABELS, temperature=TAU, reduction="none") for f in (supervised_inside, supervised))
    assert (inside <= outside + 1e-12).all()
    assert (inside < outside - 0.01).any()


@BOTH
def test_labels_matter_only_up_to_their_names(objective) -> None:
    z = random_views(2, 7, 4)
    expected = objective(z, LABELS, temperature=TAU)
    renamed = torch.where(LABELS < 0, LABELS - 5, 9 - 2 * LABELS)
    for labels in (renamed, renamed.int()):
        torch.testing.assert_close(objective(z, labels, temperature=TAU), expected)
    assert (objective(z, LABELS.roll(1), temperature=TAU) - expected).abs() > 1e-3


@BOTH
def test_base_temperature(objective) -> None:
    z = random_views(2, 7, 4)
    each = torch.linspace(0.1, 0.7, 7)
    for temperature, factor in ((TAU, TAU / 0.07), (each, each.repeat(2) / 0.07)):
        plain = objective(z, LABELS, temperature=temperature, reduction="none")
        scaled = objective(z, LABELS, temperature=temperature, base_temperature=0.07, reduction="none")
        torch.testing.assert_close(scaled, plain * factor)


@BOTH
def test_bad_input(objective) -> None:
    z = random_views(2, 3, 4)
    with pytest.raises(ValueError, match=r"labels must be one integer a sample, \(3,\), got torch.int64 \(2,\)"):
        objective(z, torch.tensor([0, 1]), temperature=TAU)
    with pytest.raises(ValueError, match=r"labels must be one integer a sample, \(3,\), got torch.float32 \(3,\)"):
        objective(z, torch.ones(3), temperature=TAU)
    with pytest.raises(TypeError, match="labels must be an integer tensor, got list"):
        objective(z, [0, 1, 2], temperature=TAU)
    with pytest.raises(ValueError, match=r"base_temperature must be positive and finite, got 0\.0"):
        objective(z, torch.arange(3), temperature=TAU, base_temperature=0.0)
