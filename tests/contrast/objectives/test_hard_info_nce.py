"""Hard negatives between two modalities: by definition, and what it is at neutral parameters."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from naive import assert_values, similarity_of
from objective_cases import random_views

from twofold.contrast.objectives import hard_info_nce, hard_reweighted, info_nce

TAU = 0.3


@pytest.mark.parametrize(("beta", "prior"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.2), (1.5, 0.1), (0.5, 0.9)])
def test_by_definition(beta, prior):
    z = random_views(2, 6, 4)
    s = similarity_of(z)
    expected, floors = [], 0
    for i in range(6):
        attraction = exp(s(0, i, 1, i) / TAU)
        negatives = [s(0, i, 1, j) for j in range(6) if j != i]
        importance = [exp(beta * x / TAU) for x in negatives]
        mean = sum(importance) / len(importance)
        weighted = sum(w / mean * exp(x / TAU) for w, x in zip(importance, negatives, strict=True))
        corrected = (weighted - len(negatives) * prior * attraction) / (1 - prior)
        floor = len(negatives) * exp(-1 / TAU)
        floors += corrected < floor
        expected.append(-log(attraction / (attraction + max(corrected, floor))))
    assert floors > 0 if prior == 0.9 else floors < 6
    assert_values(
        hard_info_nce(z[0], z[1], temperature=TAU, hardness=beta, class_prior=prior, reduction="none"), expected
    )


def test_neutral_parameters_give_info_nce():
    first, second = random_views(2, 7, 5)
    neutral = hard_info_nce(first, second, temperature=TAU, hardness=0.0, class_prior=0.0)
    torch.testing.assert_close(neutral, info_nce(first, second, temperature=TAU))


def test_rows_of_one_modality_are_no_negatives_of_one_another():
    z = random_views(2, 6, 4)
    across = hard_info_nce(z[0], z[1], temperature=TAU, class_prior=0.0)
    within = hard_reweighted(z, temperature=TAU, class_prior=0.0)
    assert float(within - across) > 0.1  # which has their terms in its sum


def test_harder_negatives_give_a_larger_loss():
    first, second = random_views(2, 8, 4)
    losses = [float(hard_info_nce(first, second, temperature=TAU, hardness=b, class_prior=0.0)) for b in (0, 1, 3)]
    assert losses == sorted(losses)
    assert losses[0] < losses[2]


def test_bad_input_is_named():
    first, second = random_views(2, 4, 3)
    with pytest.raises(ValueError, match="hardness must be finite, 0 or more, got -1"):
        hard_info_nce(first, second, temperature=TAU, hardness=-1)
    with pytest.raises(ValueError, match="class_prior must be at least 0 and below 1, got 1"):
        hard_info_nce(first, second, temperature=TAU, class_prior=1)
    with pytest.raises(ValueError, match="must have the same shape"):
        hard_info_nce(first, second[:3], temperature=TAU)
