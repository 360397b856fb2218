"""Contrast of steps at every scale, against loops over series, steps and scales."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from twofold.contrast.objectives import hierarchical, hierarchical_contrast
from twofold.contrast.objectives.hierarchical import paired_contrast


def features(n=3, t=6, d=4, *, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2, n, t, d, generator=draw, dtype=torch.float64)


def instance_loss(a, b, i, t):
    """Of series i at step t in view a, whose other view is b."""
    across = [exp(float(a[i, t] @ b[j, t])) for j in range(len(a))]
    within = [exp(float(a[i, t] @ a[j, t])) for j in range(len(a)) if j != i]
    return log(sum(across) + sum(within)) - float(a[i, t] @ b[i, t])


def temporal_loss(a, b, i, t):
    steps = range(a.shape[1])
    across = [exp(float(a[i, t] @ b[i, u])) for u in steps]
    within = [exp(float(a[i, t] @ a[i, u])) for u in steps if u != t]
    return log(sum(across) + sum(within)) - float(a[i, t] @ b[i, t])


def mean_over_steps(loss, z):
    n, t = z.shape[1:3]
    return sum(loss(a, b, i, u) for a, b in ((z[0], z[1]), (z[1], z[0])) for i in range(n) for u in range(t)) / (
        2 * n * t
    )


def by_definition(z, weight):
    total, scales = 0.0, 0
    while True:
        total += weight * mean_over_steps(instance_loss, z) if weight else 0.0
        steps = z.shape[2]
        if steps > 1:
            total += (1 - weight) * mean_over_steps(temporal_loss, z)
        scales += 1
        if steps == 1:
            return total / scales
        even = steps // 2 * 2
        z = torch.maximum(z[:, :, 0:even:2], z[:, :, 1:even:2])


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
@pytest.mark.parametrize("weight", [0.0, 0.5, 0.8, 1.0])
def test_by_definition(steps, weight):
    z = features(t=steps)
    assert float(hierarchical_contrast(*z, instance_weight=weight)) == pytest.approx(by_definition(z, weight))


def test_one_series_has_no_instances_to_be_told_from():
    z = features(n=1)
    assert float(hierarchical_contrast(*z, instance_weight=1.0)) == 0
    assert float(hierarchical_contrast(*z, instance_weight=0.5)) > 0


def test_equal_features_sit_at_chance():
    z = torch.ones(2, 5, 1, 3)
    assert float(hierarchical_contrast(*z, instance_weight=1.0)) == pytest.approx(log(9))


def test_the_order_of_the_views_does_not_matter():
    first, second = features()
    torch.testing.assert_close(hierarchical_contrast(first, second), hierarchical_contrast(second, first))


def test_pieces_give_the_values_and_gradients_of_the_whole(monkeypatch):
    z = features(n=4, t=9)
    whole = z.clone().requires_grad_()
    hierarchical_contrast(*whole).backward()
    monkeypatch.setattr(hierarchical, "PAIRS_AT_A_TIME", 100)
    pieces = z.clone().requires_grad_()
    loss = hierarchical_contrast(*pieces)
    loss.backward()
    torch.testing.assert_close(loss, hierarchical_contrast(*z))
    torch.testing.assert_close(pieces.grad, whole.grad)


def test_gradients():
    z = features(n=2, t=3, d=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: hierarchical_contrast(*x), (z,))


def test_under_autocast_it_computes_in_single_precision():
    z = features().float()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(hierarchical_contrast(*z), hierarchical_contrast(*z))
        inside = hierarchical_contrast(*z)
    torch.testing.assert_close(inside, hierarchical_contrast(*z))
    assert hierarchical_contrast(*z.bfloat16()).dtype == torch.float32


def test_groups_do_not_see_one_another():
    z = features(n=4, t=3)
    alone = [float(paired_contrast(z[0][i : i + 1], z[1][i : i + 1])) for i in range(4)]
    assert float(paired_contrast(*z)) == pytest.approx(sum(alone) / 4)


def test_bad_input_is_named():
    first, second = features()
    with pytest.raises(ValueError, match=r"first must be \(n, steps, d\), got shape \(3, 4\)"):
        hierarchical_contrast(first[:, 0], second)
    with pytest.raises(ValueError, match="must have the same shape"):
        hierarchical_contrast(first, second[:, :2])
    with pytest.raises(TypeError, match=r"second must be a floating tensor, got torch\.int64"):
        hierarchical_contrast(first, second.long())
    with pytest.raises(ValueError, match=r"instance_weight must lie between 0 and 1, got 1\.5"):
        hierarchical_contrast(first, second, instance_weight=1.5)
