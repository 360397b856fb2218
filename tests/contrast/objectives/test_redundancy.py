"""Barlow Twins and VICReg against dense formulas in numpy, and both ways to sum a product's off-diagonal."""

import numpy as np
import pytest
import torch

from twofold.contrast.objectives.redundancy import barlow_twins, vicreg

SIZES = pytest.mark.parametrize(("n", "d"), [(12, 5), (6, 30), (2, 3)], ids=["tall", "wide", "two samples"])


def views(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def dense_barlow(a, b, weight):
    a = (a - a.mean(0)) / np.sqrt(a.var(0) + 1e-5)
    b = (b - b.mean(0)) / np.sqrt(b.var(0) + 1e-5)
    loss, n = 0.0, len(a)
    correlation = a.T @ b / n
    for i in range(a.shape[1]):
        for j in range(a.shape[1]):
            loss += (1 - correlation[i, i]) ** 2 if i == j else weight * correlation[i, j] ** 2
    return loss


def dense_vicreg(a, b):
    d = a.shape[1]
    invariance = ((a - b) ** 2).mean()
    variance = sum(np.maximum(0, 1 - np.sqrt(x.var(0, ddof=1) + 1e-4)).mean() for x in (a, b)) / 2
    covariance = sum((np.cov(x.T)[~np.eye(d, dtype=bool)] ** 2).sum() / d for x in (a, b))
    return invariance, variance, covariance


@SIZES
def test_barlow_equals_the_dense_formula(n, d):
    z = views(2, n, d) * 3 + 1
    expected = dense_barlow(*z.numpy(), 0.0051)
    assert barlow_twins(z).item() == pytest.approx(expected, rel=1e-9)


@SIZES
def test_vicreg_equals_the_dense_formula(n, d):
    z = views(2, n, d) * 0.9 + 1
    terms = vicreg(z)
    expected = dense_vicreg(*z.numpy())
    np.testing.assert_allclose([t.item() for t in terms[:3]], expected, rtol=1e-9)
    assert min(expected) > 0
    assert terms.total.item() == pytest.approx(25 * expected[0] + 25 * expected[1] + expected[2], rel=1e-9)


def test_more_views_are_the_mean_over_pairs():
    z = views(3, 8, 4)
    pairs = [z[[0, 1]], z[[0, 2]], z[[1, 2]]]
    assert barlow_twins(z).item() == pytest.approx(np.mean([barlow_twins(p).item() for p in pairs]))
    expected = np.mean([[t.item() for t in vicreg(p)] for p in pairs], axis=0)
    np.testing.assert_allclose([t.item() for t in vicreg(z)], expected)


def test_weights_and_order_of_views():
    z = views(2, 8, 4)
    assert vicreg(z, invariance=0, variance=0, covariance=0).total == 0
    assert vicreg(z, invariance=2, variance=0, covariance=0).total == 2 * vicreg(z).invariance
    assert barlow_twins(z.flip(0)).item() == pytest.approx(barlow_twins(z).item())
    assert barlow_twins(z, off_diagonal=1.0) > barlow_twins(z, off_diagonal=0.0)


def test_barlow_ignores_scale_and_offset_of_a_dimension():
    z = views(2, 16, 4) * 100
    changed = z * torch.tensor([1.0, 2.0, 3.0, 4.0]) - 7
    assert barlow_twins(changed).item() == pytest.approx(barlow_twins(z).item(), rel=1e-6)


@pytest.mark.parametrize("shape", [(2, 6, 3), (3, 2, 7)], ids=["tall", "wide"])
def test_gradients(shape):
    z = views(*shape).requires_grad_()
    assert torch.autograd.gradcheck(barlow_twins, (z,))
    assert torch.autograd.gradcheck(lambda x: vicreg(x).total, (z,))


@pytest.mark.parametrize("shape", [(2, 8, 3), (2, 3, 20)], ids=["tall", "wide"])
@pytest.mark.parametrize("fill", [0.0, 1.0, 1e-20])
def test_collapsed_rows_stay_finite(shape, fill):
    for objective in (barlow_twins, lambda x: vicreg(x).total):
        z = torch.full(shape, fill, requires_grad=True)
        loss = objective(z)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(z.grad).all()


def test_collapse_is_dear():
    assert barlow_twins(torch.ones(2, 8, 5)).item() == pytest.approx(5, rel=1e-3)
    assert vicreg(torch.ones(2, 8, 5)).variance.item() == pytest.approx(0.99, rel=1e-3)


def test_autocast_and_half_precision_are_raised():
    z = views(2, 16, 6, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for objective in (lambda x: barlow_twins(x, off_diagonal=1.0), lambda x: vicreg(x).covariance):
            assert objective(z).item() == pytest.approx(objective(z.double()).item(), rel=1e-5)
    assert barlow_twins(z.half()).dtype == vicreg(z.bfloat16()).total.dtype == torch.float32


@pytest.mark.parametrize("objective", [barlow_twins, vicreg])
def test_bad_input_is_named(objective):
    with pytest.raises(ValueError, match="views, n, d"):
        objective(views(8, 4))
    with pytest.raises(ValueError, match="1 view"):
        objective(views(1, 8, 4))
    with pytest.raises(ValueError, match="1 row"):
        objective(views(2, 1, 4))
    with pytest.raises(TypeError, match="int64"):
        objective(torch.ones(2, 8, 4, dtype=torch.int64))
