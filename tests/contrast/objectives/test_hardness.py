from __future__ import annotations

from math import exp, log

import pytest
import torch
from naive import assert_values, each_anchor, similarity_of
from objective_cases import random_views
from torch import Tensor

from twofold.contrast.objectives import (
    debiased,
    decoupled,
    hard_contrastive,
    hard_reweighted,
    nt_xent,
    pairwise_average,
    simple,
    supervised,
)

TAU = 0.4


def parts(z: Tensor, v: int, i: int) -> tuple[float, list[float]]:
    """The mean similarity to the positives, and the similarities to the negatives, of one anchor."""
    s = similarity_of(z)
    views = len(z)
    positive = sum(s(v, i, w, i) for w in range(views) if w != v) / (views - 1)
    return positive, [s(v, i, w, j) for w, j in each_anchor(z) if j != i]


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize(("beta", "prior"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.1), (1.0, 0.1), (2.0, 0.02), (0.5, 0.9)])
def test_hard_reweighted_by_definition(views: int, beta: float, prior: float) -> None:
    z = random_views(views, 5, 4)
    expected, floors = [], 0
    for v, i in each_anchor(z):
        positive, negatives = parts(z, v, i)
        count, attraction = len(negatives), exp(positive / TAU)
        importance = [exp(beta * s / TAU) for s in negatives]
        mean = sum(importance) / count
        weighted = sum(w / mean * exp(s / TAU) for w, s in zip(importance, negatives, strict=True)) / count
        corrected = (weighted - prior * attraction) / (1 - prior)
        floors += corrected < exp(-1 / TAU)
        corrected = max(corrected, exp(-1 / TAU))
        expected.append(-log(attraction / (attraction + count * corrected)))
    if prior == 0.9:
        assert floors >= 9  # this case is about the floor
    elif prior == 0.02:
        assert floors == 0
    assert_values(
        hard_reweighted(z, temperature=TAU, hardness=beta, class_prior=prior, reduction="none"),
        expected,
    )


def test_neutral_parameters_give_nt_xent() -> None:
    z = random_views(2, 6, 4)
    expected = nt_xent(z, temperature=TAU, reduction="none")
    kin = {
        "hard_reweighted": hard_reweighted(z, temperature=TAU, hardness=0, class_prior=0, reduction="none"),
        "debiased": debiased(z, temperature=TAU, class_prior=0, reduction="none"),
        "hard_contrastive": hard_contrastive(z, temperature=TAU, hardest=1, reduction="none"),
        "supervised": supervised(z, torch.arange(6), temperature=TAU, reduction="none"),
    }
    for name, values in kin.items():
        torch.testing.assert_close(values, expected, msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(pairwise_average(z, temperature=TAU), expected.mean())


def test_debiased_is_hard_reweighted_with_uniform_weights() -> None:
    z = random_views(2, 6, 4)
    expected = hard_reweighted(z, temperature=TAU, hardness=0, class_prior=0.1, reduction="none")
    assert torch.equal(debiased(z, temperature=TAU, reduction="none"), expected)
    assert (hard_reweighted(z, temperature=TAU, reduction="none") - expected).abs().max() > 0.1


def test_the_floor_has_finite_gradients() -> None:
    z = random_views(2, 5, 4).requires_grad_()
    t = torch.tensor(TAU, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, t: hard_reweighted(z, temperature=t, class_prior=0.9), (z, t))


def hardest_of(values: list[float], share: float) -> list[float]:
    return sorted(values, reverse=True)[: max(1, round(share * len(values)))]


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.99])
def test_hardest_by_definition(share: float) -> None:
    z = random_views(2, 6, 4)
    contrastive, plain = [], []
    for v, i in each_anchor(z):
        positive, negatives = parts(z, v, i)
        kept = hardest_of(negatives, share)
        contrastive.append(log(exp(positive / TAU) + sum(exp(s / TAU) for s in kept)) - positive / TAU)
        plain.append(-positive + 0.7 * sum(kept) / len(kept))
    assert_values(hard_contrastive(z, temperature=TAU, hardest=share, reduction="none"), contrastive)
    assert_values(simple(z, negative_weight=0.7, hardest=share, reduction="none"), plain)


@pytest.mark.parametrize("views", [2, 3])
@pytest.mark.parametrize("hardest", [None, 1, 1.0])
def test_simple_by_definition(views: int, hardest: float | None) -> None:
    z = random_views(views, 5, 4)
    expected = []
    for v, i in each_anchor(z):
        positive, negatives = parts(z, v, i)
        expected.append(-positive + 2 * sum(negatives) / len(negatives))
    assert_values(simple(z, negative_weight=2, hardest=hardest, reduction="none"), expected)


def test_simple_is_the_limit_of_a_large_temperature() -> None:
    z = random_views(2, 6, 4)
    z_limit, z_simple = z.clone().requires_grad_(), z.clone().requires_grad_()
    tau = 1e5
    # τ (ℓ − log M) → −s⁺ + mean s⁻ for a sum over the M negatives alone.
    limit = tau * (decoupled(z_limit, temperature=tau, reduction="none") - log(10))
    expected = simple(z_simple, reduction="none")
    torch.testing.assert_close(limit, expected, rtol=1e-4, atol=1e-4)
    limit.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(z_limit.grad, z_simple.grad, rtol=1e-3, atol=1e-4)


def test_ties_are_all_kept() -> None:
    z = torch.eye(4).repeat(2, 1, 1)  # all six negatives have similarity 0
    kept = hard_contrastive(z, temperature=1.0, hardest=0.2, reduction="none")
    torch.testing.assert_close(kept, nt_xent(z, temperature=1.0, reduction="none"))


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_bad_share(share: float) -> None:
    z = random_views(2, 3, 4)
    message = f"hardest must be a share above 0 and at most 1, got {share}"
    with pytest.raises(ValueError, match=message):
        simple(z, hardest=share)
    with pytest.raises(ValueError, match=message):
        hard_contrastive(z, temperature=TAU, hardest=share)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hardness": -1}, "hardness must be finite, 0 or more, got -1"),
        ({"hardness": float("nan")}, "hardness must be finite, 0 or more, got nan"),
        ({"class_prior": 1.0}, r"class_prior must be at least 0 and below 1, got 1\.0"),
        ({"class_prior": -0.1}, r"class_prior must be at least 0 and below 1, got -0\.1"),
    ],
)
def test_bad_parameters(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hard_reweighted(random_views(2, 3, 4), temperature=TAU, **options)
