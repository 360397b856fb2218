"""Every objective at the edges: extreme temperatures, degenerate batches, half precision, and bad input."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from objective_cases import CASES, Case, random_views, small_tiles
from torch import Tensor

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
VIEWS = [case for case in CASES if not case.paired]
PAIRS = [case for case in CASES if case.paired and case.views == 2]
TRIPLES = [case for case in CASES if case.paired and case.views > 2]
N = 6


def ordinary(views: int) -> Tensor:
    return random_views(views, N, 4, dtype=torch.float32)


def duplicated_rows(views: int) -> Tensor:
    z = ordinary(views)
    z[:, 1] = z[:, 0]
    return z


def zero_rows(views: int) -> Tensor:
    z = ordinary(views)
    z[:, 0] = 0
    z[0, 1] = 0
    return z


def all_zero(views: int) -> Tensor:
    return torch.zeros(views, N, 4)


def identical(views: int) -> Tensor:
    return torch.ones(views, N, 4)


def opposite(views: int) -> Tensor:
    z = ordinary(views)
    z[1] = -z[0]
    return z


def perfect(views: int) -> Tensor:
    return torch.eye(N).expand(views, N, N).clone()


def huge_and_tiny(views: int) -> Tensor:
    lengths = torch.tensor([1e-15, 1e-8, 1e-3, 1e3, 1e8, 1e15])
    return ordinary(views) * lengths[:, None]


BATCHES = [ordinary, duplicated_rows, zero_rows, all_zero, identical, opposite, perfect, huge_and_tiny]


@EVERY
@pytest.mark.parametrize("tiled", [False, True])
def test_loss_and_gradients_stay_finite(case: Case, tiled: bool) -> None:
    index = torch.arange(N)
    for make in BATCHES:
        for value in (1e-3, 1e3) if tiled else (1e-3, 0.1, 1e3):
            z = make(case.views).requires_grad_()
            temperature = torch.tensor(value, requires_grad=True)
            with small_tiles(8, 10) if tiled else nullcontext():
                loss = case.loss(z, temperature, index)
                loss.backward()
            where = f"{make.__name__}, temperature {value:g}"
            assert loss.isfinite(), where
            assert z.grad.isfinite().all(), where
            assert temperature.grad is None or temperature.grad.isfinite(), where


@EVERY
def test_dead_rows_get_no_more_gradient_than_living_ones_could(case: Case) -> None:
    z = zero_rows(case.views).requires_grad_()
    case.loss(z, 0.5, torch.arange(N)).backward()
    assert z.grad.abs().max() < 20


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised(case: Case, dtype: torch.dtype) -> None:
    for make in (ordinary, zero_rows, identical):
        half = make(case.views).to(dtype).requires_grad_()
        loss = case.loss(half, 0.05, torch.arange(N))
        assert loss.dtype == torch.float32
        full = half.detach().float().requires_grad_()
        expected = case.loss(full, 0.05, torch.arange(N))
        torch.testing.assert_close(loss, expected)
        loss.backward()
        expected.backward()
        assert half.grad.dtype == dtype
        torch.testing.assert_close(half.grad.float(), full.grad, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("case", [case for case in CASES if case.has_temperature], ids=lambda case: case.name)
@pytest.mark.parametrize(
    ("temperature", "shown"),
    [
        (0, "0"),
        (0.0, r"0\.0"),
        (-1.0, r"-1\.0"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (torch.tensor(0.0), "a tensor with 0"),
        (torch.tensor([0.1] * 5 + [-2.5]), r"a tensor with -2\.5"),
        (torch.tensor([0.1] * 5 + [float("inf")]), "a tensor with inf"),
        (torch.tensor([float("nan")] + [0.1] * 5), "a tensor with nan"),
    ],
)
def test_bad_temperature(case: Case, temperature: float | Tensor, shown: str) -> None:
    with pytest.raises(ValueError, match=f"^temperature must be positive and finite.*, got {shown}\\.$"):
        case.loss(ordinary(case.views), temperature, torch.arange(N))


@pytest.mark.parametrize("case", [case for case in CASES if case.has_temperature], ids=lambda case: case.name)
def test_temperatures_that_are_not_one_per_sample(case: Case) -> None:
    with pytest.raises(ValueError, match=r"temperature must be a number, 0-d or \(6,\), got shape \(5,\)"):
        case.loss(ordinary(case.views), torch.full((5,), 0.1), torch.arange(N))


# Beside explicit negatives one anchor is enough.
@pytest.mark.parametrize("case", [case for case in CASES if case not in TRIPLES], ids=lambda case: case.name)
def test_too_few_samples(case: Case) -> None:
    with pytest.raises(ValueError, match=r"(z|anchors) has 1 row\(s\); this objective needs at least 2 samples"):
        case.loss(ordinary(case.views)[:, :1], 0.1, torch.arange(1))


@EVERY
def test_integers_are_no_embeddings(case: Case) -> None:
    with pytest.raises(TypeError, match=r"(z|anchors) must be a floating tensor of embeddings, got torch\.int64"):
        case.loss(ordinary(case.views).long(), 0.1, torch.arange(N))


@pytest.mark.parametrize("case", VIEWS, ids=lambda case: case.name)
def test_views_of_another_shape(case: Case) -> None:
    with pytest.raises(ValueError, match=r"z has 1 view\(s\); this objective needs at least 2"):
        case.loss(ordinary(1), 0.1, torch.arange(N))
    with pytest.raises(ValueError, match=r"z must be \(views, n, d\), got shape \(6, 4\); stack the views"):
        case.loss(ordinary(1)[0], 0.1, torch.arange(N))


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_pairs_that_do_not_belong_together(case: Case) -> None:
    a, p = ordinary(2)
    with pytest.raises(ValueError, match=r"(\w+) \(6, 4\) and (\w+) \(5, 4\) must have the same shape"):
        case.loss([a, p[:5]], 0.1, torch.arange(N))
    with pytest.raises(
        TypeError, match=r"(positives|candidates) must be a floating tensor of embeddings, got torch\.int64"
    ):
        case.loss([a, p.long()], 0.1, torch.arange(N))
    with pytest.raises(TypeError, match="anchors must be a floating tensor of embeddings, got list"):
        case.loss([a.tolist(), p], 0.1, torch.arange(N))
    with pytest.raises(ValueError, match=r"anchors must be \(n, d\) or \(views, n, d\), got shape \(4,\)"):
        case.loss([a[0], p], 0.1, torch.arange(N))
