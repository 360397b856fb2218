"""BPR, the logistic loss of the next item, and contrast within groups, against naive loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from twofold.contrast.objectives import bpr, info_nce, info_nce_within, sampled_logistic


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_bpr_is_its_formula():
    positive, negative = rows(6), rows(6, seed=1)
    expected = [-math.log(1 / (1 + math.exp(b - a))) for a, b in zip(positive.tolist(), negative.tolist(), strict=True)]
    assert torch.allclose(bpr(positive, negative, reduction="none"), torch.tensor(expected, dtype=torch.float64))
    assert float(bpr(positive, positive)) == pytest.approx(math.log(2))
    assert float(bpr(positive + 9, negative + 9)) == pytest.approx(float(bpr(positive, negative)))
    assert gradcheck(bpr, (positive.requires_grad_(), negative.requires_grad_()))
    with pytest.raises(ValueError, match="must have the same shape"):
        bpr(rows(3), rows(4))


def test_sampled_logistic_is_its_formula():
    positive, negative = rows(2, 3), rows(2, 3, 2, seed=1)
    counted = torch.tensor([[False, True, True], [False, False, True]])
    total = 0.0
    for i, t in counted.nonzero().tolist():
        total += math.log1p(math.exp(-positive[i, t])) + sum(math.log1p(math.exp(s)) for s in negative[i, t]) / 2
    assert float(sampled_logistic(positive, negative, counted)) == pytest.approx(total / 3)
    zeros = torch.zeros(2, 3)
    assert float(sampled_logistic(zeros, zeros[..., None], counted)) == pytest.approx(2 * math.log(2))
    assert float(sampled_logistic(zeros, zeros[..., None], counted & False)) == 0
    with pytest.raises(ValueError, match="negative must be"):
        sampled_logistic(zeros, torch.zeros(2, 4, 1), counted)
    with pytest.raises(ValueError, match="must have the same shape"):
        sampled_logistic(zeros, zeros[..., None], counted[:1])


@pytest.mark.parametrize("normalize", [True, False])
def test_contrast_within_groups_is_that_of_each_group(normalize):
    a, b, groups = rows(9, 4), rows(9, 4, seed=1), torch.tensor([0, 1, 0, 2, 1, 0, 1, 1, 0])
    ours = info_nce_within(a, b, groups, temperature=0.3, normalize=normalize, reduction="none")
    for group in (0, 1):
        own = groups == group
        alone = info_nce(a[own], b[own], temperature=0.3, normalize=normalize, reduction="none")
        assert torch.allclose(ours[own], alone)
    assert float(ours[3]) == pytest.approx(0, abs=1e-9)  # alone in its group: nothing to be told from
    one = info_nce_within(a, b, torch.zeros(9, dtype=torch.int64), temperature=0.3)
    assert torch.allclose(one, info_nce(a, b, temperature=0.3))


def test_groups_must_fit():
    with pytest.raises(ValueError, match=r"groups must be \(4,\), one for each anchor, got \(3,\)"):
        info_nce_within(rows(4, 2), rows(4, 2), torch.zeros(3, dtype=torch.int64), temperature=0.1)
    with pytest.raises(ValueError, match="temperature must be positive"):
        info_nce_within(rows(4, 2), rows(4, 2), torch.zeros(4, dtype=torch.int64), temperature=0.0)
