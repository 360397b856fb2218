"""BYOL's and SimSiam's regressions against numpy, and their stop-gradient."""

import numpy as np
import pytest
import torch

from twofold.contrast.objectives.prediction import negative_cosine, prediction


def rows(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_prediction_is_the_mean_over_pairs_of_different_views():
    p, t = rows(4, 5, 3), rows(2, 5, 3, seed=1)
    pairs = [2 - 2 * cosine(p[v].numpy(), t[w].numpy()) for v in range(4) for w in range(2) if v != w]
    assert len(pairs) == 6
    np.testing.assert_allclose(prediction(p, t, reduction="none").numpy(), np.mean(pairs, axis=0))
    assert prediction(p, t).item() == pytest.approx(np.mean(pairs))
    assert prediction(p, t, reduction="sum").item() == pytest.approx(5 * np.mean(pairs))


def test_prediction_is_twice_simsiam_plus_two():
    p, t = rows(2, 6, 4), rows(2, 6, 4, seed=1)
    simsiam = (negative_cosine(p[0], t[1]) + negative_cosine(p[1], t[0])) / 2
    assert prediction(p, t).item() == pytest.approx(2 + 2 * simsiam.item())


def test_negative_cosine_reaches_its_extremes():
    p = rows(7, 3)
    torch.testing.assert_close(negative_cosine(p, 3 * p, reduction="none"), -torch.ones(7, dtype=torch.float64))
    assert negative_cosine(p, -p).item() == pytest.approx(1.0)


def test_negative_cosine_takes_leading_dimensions():
    p, t = rows(2, 5, 3), rows(2, 5, 3, seed=1)
    values = negative_cosine(p, t, reduction="none")
    assert values.shape == (2, 5)
    torch.testing.assert_close(values[1], negative_cosine(p[1], t[1], reduction="none"))


@pytest.mark.parametrize("objective", [prediction, negative_cosine])
def test_targets_get_no_gradient(objective):
    p, t = rows(2, 5, 3).requires_grad_(), rows(2, 5, 3, seed=1).requires_grad_()
    objective(p, t).backward()
    assert t.grad is None
    assert p.grad.abs().sum() > 0


@pytest.mark.parametrize("objective", [prediction, negative_cosine])
def test_gradients(objective):
    p, t = rows(3, 4, 3).requires_grad_(), rows(3, 4, 3, seed=1)
    assert torch.autograd.gradcheck(lambda x: objective(x, t, reduction="none"), (p,))


@pytest.mark.parametrize("fill", [0.0, 1.0, 1e-30, 1e18])
def test_degenerate_rows_stay_finite(fill):
    p = torch.full((2, 4, 3), fill, requires_grad=True)
    loss = prediction(p, p)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(p.grad).all()


def test_half_precision_is_raised():
    p, t = rows(2, 5, 64, dtype=torch.float32).bfloat16(), rows(2, 5, 64, seed=1, dtype=torch.float32).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = prediction(p, t)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(prediction(p.double(), t.double()).item(), rel=1e-6)


def test_one_view_cannot_predict_itself():
    with pytest.raises(ValueError, match="one and the same view"):
        prediction(rows(1, 4, 3), rows(1, 4, 3))
    assert torch.isfinite(prediction(rows(1, 4, 3), rows(2, 4, 3)))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"predictions \(5, 3\) and targets \(4, 3\)"):
        negative_cosine(rows(5, 3), rows(4, 3))
    with pytest.raises(ValueError, match=r"one view of targets \(5, 2\)"):
        prediction(rows(2, 5, 3), rows(2, 5, 2))
    with pytest.raises(ValueError, match="views, n, d"):
        prediction(rows(5, 3), rows(5, 3))
    with pytest.raises(TypeError, match=r"targets must be a floating tensor.*int64"):
        prediction(rows(2, 5, 3), torch.ones(2, 5, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none'"):
        prediction(rows(2, 5, 3), rows(2, 5, 3), reduction="avg")
