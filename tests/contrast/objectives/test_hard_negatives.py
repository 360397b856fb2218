"""InfoNCE with a hard negative a sample, beside a loop."""

from __future__ import annotations

import pytest
import torch

from twofold.contrast.objectives import info_nce_with_hard_negatives, info_nce_with_negatives


def triplets(n=5, d=4):
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(n, d, generator=draw, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("bonus", [0.0, 0.7])
def test_it_is_the_loop(bonus):
    a, p, n = (torch.nn.functional.normalize(x, dim=1) for x in triplets())
    expected = []
    for i in range(5):
        logits = [float(a[i] @ p[j]) / 0.2 for j in range(5)]
        logits += [float(a[i] @ n[j]) / 0.2 + (bonus if i == j else 0.0) for j in range(5)]
        expected.append(torch.tensor(logits).logsumexp(0) - logits[i])
    found = info_nce_with_hard_negatives(*triplets(), temperature=0.2, own_bonus=bonus, reduction="none")
    torch.testing.assert_close(found, torch.stack(expected).double(), rtol=1e-5, atol=1e-5)


def test_a_bonus_of_minus_many_leaves_the_own_negative_out():
    a, p, n = triplets()
    without = info_nce_with_hard_negatives(a, p, n, temperature=0.2, own_bonus=-80.0, reduction="none")
    others = [torch.cat([p[[j for j in range(5) if j != i]], n[[j for j in range(5) if j != i]]]) for i in range(5)]
    expected = [info_nce_with_negatives(a[i : i + 1], p[i : i + 1], others[i], temperature=0.2) for i in range(5)]
    torch.testing.assert_close(without, torch.stack(expected))


@pytest.mark.parametrize(("change", "message"), [(2, "negatives"), (1, "positives")])
def test_shapes_must_agree(change, message):
    rows = triplets()
    rows[change] = rows[change][:4]
    with pytest.raises(ValueError, match=message):
        info_nce_with_hard_negatives(*rows, temperature=0.2)


def test_a_bonus_must_be_finite():
    with pytest.raises(ValueError, match="own_bonus"):
        info_nce_with_hard_negatives(*triplets(), temperature=0.2, own_bonus=float("inf"))
