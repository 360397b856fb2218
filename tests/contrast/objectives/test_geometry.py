"""Alignment, uniformity and the measures against pairwise numpy, and at known shapes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.contrast.objectives.geometry import alignment, effective_rank, standard_deviation, tolerance, uniformity


def rows(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.mark.parametrize("alpha", [1.0, 2.0, 3.5])
def test_alignment_equals_the_pairwise_formula(alpha):
    z = rows(3, 6, 4)
    a, b, c = unit(z.numpy())
    distances = [np.linalg.norm(x - y, axis=1) ** alpha for x, y in ((a, b), (a, c), (b, c))]
    assert alignment(z, alpha=alpha).item() == pytest.approx(np.mean(distances))


def test_alignment_at_its_ends():
    x = rows(5, 4)
    assert alignment(torch.stack([x, 3 * x])).item() == pytest.approx(0, abs=1e-12)
    assert alignment(torch.stack([x, -x])).item() == pytest.approx(4)


@pytest.mark.parametrize("t", [0.5, 2.0, 50.0])
def test_uniformity_equals_the_pairwise_formula(t):
    x = rows(9, 4)
    u = unit(x.numpy())
    kernel = [math.exp(-t * np.sum((u[i] - u[j]) ** 2)) for i in range(9) for j in range(9) if i != j]
    assert uniformity(x, t=t).item() == pytest.approx(math.log(np.mean(kernel)))


def test_uniformity_is_zero_at_collapse_and_falls_with_spread():
    assert uniformity(torch.ones(8, 3)).item() == pytest.approx(0, abs=1e-6)
    assert uniformity(rows(200, 16)) < uniformity(rows(200, 2)) < -0.5


def test_gradients():
    z = rows(3, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(alignment, (z,))
    assert torch.autograd.gradcheck(lambda x: alignment(x, alpha=3.0), (z,))
    assert torch.autograd.gradcheck(lambda x: uniformity(x.flatten(0, 1)), (z,))


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_degenerate_rows_stay_finite(fill):
    for objective in (lambda z: alignment(z, alpha=1.0), alignment, lambda z: uniformity(z[0], t=100.0)):
        z = torch.full((2, 5, 3), fill, requires_grad=True)
        value = objective(z)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(z.grad).all()
    x = torch.full((5, 3), fill)
    assert effective_rank(x) == 0
    assert standard_deviation(x) == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(tolerance(x, torch.zeros(5, dtype=torch.int64)))


@given(st.integers(2, 12), st.integers(1, 8), st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_measures_stay_in_range_and_ignore_rotation_and_scale(n, d, seed):
    x = rows(n, d, seed=seed)
    turned = x @ torch.linalg.qr(rows(d, d, seed=seed + 1))[0] * 7
    rank = effective_rank(x)
    assert 1 - 1e-9 <= rank <= min(n - 1, d) + 1e-9
    assert effective_rank(turned).item() == pytest.approx(rank.item())
    assert 0 <= standard_deviation(x) <= 1 + 1e-9
    assert -4 * 2 - 1e-9 <= uniformity(x) <= 1e-9
    assert uniformity(turned).item() == pytest.approx(uniformity(x).item(), abs=1e-9)


def test_effective_rank_counts_equal_directions():
    corners = torch.cat([torch.eye(6), -torch.eye(6)])
    assert effective_rank(corners).item() == pytest.approx(6, rel=1e-5)
    assert effective_rank(corners + 100).item() == pytest.approx(6, rel=1e-3)
    assert effective_rank(corners * torch.tensor([1.0, 1, 0, 0, 0, 0])).item() == pytest.approx(2, rel=1e-5)


def test_effective_rank_equals_numpy():
    x = rows(40, 7).numpy() * np.arange(1, 8)
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)
    share = singular / singular.sum()
    assert effective_rank(torch.from_numpy(x)).item() == pytest.approx(math.exp(-(share * np.log(share)).sum()))


def test_rounding_noise_of_equal_rows_is_no_rank():
    x = rows(1, 64, dtype=torch.float32).expand(300, 64) * 1000
    assert effective_rank(x.contiguous()) == 0


def test_tolerance_equals_the_pairwise_formula():
    x = rows(12, 4)
    labels = torch.tensor([0, 0, 0, 1, 1, 5, 5, 5, 5, 7, -1, -1])
    u = unit(x.numpy())
    same = [u[i] @ u[j] for i in range(10) for j in range(10) if i != j and labels[i] == labels[j]]
    assert tolerance(x, labels).item() == pytest.approx(np.mean(same))


def test_standard_deviation_of_an_even_cloud_is_near_one():
    assert standard_deviation(rows(5000, 32)).item() == pytest.approx(1, abs=0.02)


def test_measures_have_no_gradient():
    x = rows(6, 3).requires_grad_()
    labels = torch.zeros(6, dtype=torch.int64)
    assert not any(value.requires_grad for value in (effective_rank(x), tolerance(x, labels), standard_deviation(x)))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"alpha must be at least 1, got 0\.5"):
        alignment(rows(2, 4, 3), alpha=0.5)
    with pytest.raises(ValueError, match="t must be positive"):
        uniformity(rows(4, 3), t=0.0)
    for measure in (uniformity, effective_rank, standard_deviation):
        with pytest.raises(ValueError, match=r"x must be \(n, d\)"):
            measure(rows(2, 4, 3))
        with pytest.raises(ValueError, match="1 row"):
            measure(rows(1, 3))
    with pytest.raises(ValueError, match=r"labels must be \(4,\)"):
        tolerance(rows(4, 3), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="no two rows with the same label"):
        tolerance(rows(4, 3), torch.tensor([0, 1, -1, -1]))
