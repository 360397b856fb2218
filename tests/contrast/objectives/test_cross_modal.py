"""InfoNCE between two kinds of data, against torch's cross entropy and plain sums."""

from __future__ import annotations

import math

import pytest
import torch
from objective_cases import random_views
from torch.nn import functional as F

from twofold.contrast.objectives import (
    cross_uniformity,
    graded_info_nce,
    info_nce,
    info_nce_with_distractors,
    smoothed_info_nce,
)
from twofold.contrast.pairs import same, similar

TAU = 0.3
A, P, D = random_views(3, 6, 4)
X, Y, N = (F.normalize(rows, dim=1) for rows in (A, P, D))
OWN = torch.arange(6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_smoothing_is_that_of_torch(smoothing: float) -> None:
    expected = F.cross_entropy(X @ Y.T / TAU, OWN, label_smoothing=smoothing, reduction="none")
    found = smoothed_info_nce(A, P, temperature=TAU, smoothing=smoothing, reduction="none")
    torch.testing.assert_close(found, expected)


def test_graded_targets_are_torchs_soft_labels() -> None:
    weight = (1 + X @ X.T) / 2
    expected = F.cross_entropy(X @ Y.T / TAU, weight / weight.sum(1, keepdim=True), reduction="none")
    found = graded_info_nce(A, P, similar(X, X), temperature=TAU, reduction="none")
    torch.testing.assert_close(found, expected)


def test_graded_by_the_own_pair_alone_is_info_nce() -> None:
    found = graded_info_nce(A, P, same(OWN, OWN), temperature=TAU, reduction="none")
    torch.testing.assert_close(found, info_nce(A, P, temperature=TAU, reduction="none"))


def test_distractors_are_columns_without_a_row() -> None:
    present = torch.tensor([True, False, True, True, False, True])
    expected = F.cross_entropy(torch.cat([X @ Y.T, X @ N[present].T], 1) / TAU, OWN, reduction="none")
    found = info_nce_with_distractors(A, P, D, present, temperature=TAU, reduction="none")
    torch.testing.assert_close(found, expected)
    none = info_nce_with_distractors(A, P, D[:0], present[:0], temperature=TAU)
    torch.testing.assert_close(none, info_nce(A, P, temperature=TAU))


@pytest.mark.parametrize("t", [1.0, 2.0])
def test_cross_uniformity_by_definition(t: float) -> None:
    squared = torch.cdist(X, Y).square()
    expected = math.log(float(torch.exp(-t * squared)[~torch.eye(6, dtype=torch.bool)].mean()))
    assert float(cross_uniformity(A, P, t=t)) == pytest.approx(expected)


def test_a_kernel_of_ones_own() -> None:
    rule = similar(X, X, kernel=lambda cosine: (cosine > 0.5).double())
    found = rule(OWN, OWN, torch.zeros(6, 6, dtype=torch.float64))
    assert torch.equal(found, ((X @ X.T) > 0.5).double())
