from __future__ import annotations

from math import exp, inf, log

import pytest
import torch
from naive import assert_values, similarity_of
from objective_cases import random_views
from torch import Tensor
from torch.nn import functional as F

from twofold.contrast.objectives import decoupled, global_contrastive

N = 5
TAUS = [0.2, 0.3, 0.4, 0.5, 0.9]
TEMPERATURES = torch.tensor(TAUS, dtype=torch.float64)
STORED = torch.tensor([0.3, -inf, 1.2, -0.5, -inf], dtype=torch.float64)


def pooled_decoupled(z: Tensor, temperature: Tensor | float) -> Tensor:
    """τ_i-weighted or plain decoupled loss whose denominator is the mean over the negatives of both views."""
    a, b = F.normalize(z, dim=-1)
    others = ~torch.eye(z.shape[1], dtype=torch.bool).repeat(1, 2)
    everyone = torch.cat([a, b])
    logs = []
    for view in (a, b):
        logits = view @ everyone.T / torch.as_tensor(temperature).reshape(-1, 1)
        logs.append(logits.masked_fill(~others, -inf).logsumexp(1))
    moment = torch.stack(logs).logsumexp(0) - log(4 * (z.shape[1] - 1))
    return moment - (a * b).sum(1) / temperature


@pytest.mark.parametrize("momentum", [0.3, 1.0])
def test_by_definition(momentum: float) -> None:
    z = random_views(2, N, 4)
    s = similarity_of(z)
    losses, moments, slopes = [], [], []
    for i in range(N):
        tau = TAUS[i]
        negatives = [[s(v, i, w, j) for w in range(2) for j in range(N) if j != i] for v in range(2)]
        means = [sum(exp(x / tau) for x in view) / len(view) for view in negatives]
        batch = sum(means) / 2
        stored = float(STORED[i])
        u = batch if stored == -inf else (1 - momentum) * exp(stored) + momentum * batch
        count = 2 * (N - 1)
        losses.append(sum(sum(exp(x / tau) / u * x for x in view) / count - s(0, i, 1, i) for view in negatives))
        pull = sum(sum(exp(x / tau) / u * x / tau for x in view) / count for view in negatives) / 2
        moments.append(log(u))
        slopes.append(log(u) + 0.4 - pull)
    actual = global_contrastive(z, STORED, temperature=TEMPERATURES, momentum=momentum, rho=0.4)
    assert_values(actual.loss[None], [sum(losses) / N])
    assert_values(actual.log_moment, moments)
    assert_values(actual.temperature_gradient, slopes)


def test_with_momentum_one_the_gradient_is_two_tau_times_that_of_the_pooled_decoupled_loss() -> None:
    tau = 0.3
    ours, theirs, unpooled = (random_views(2, N, 4).requires_grad_() for _ in range(3))
    global_contrastive(ours, STORED, temperature=tau, momentum=1).loss.backward()
    pooled_decoupled(theirs, tau).mean().mul(2 * tau).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    decoupled(unpooled, temperature=tau).mul(2 * tau).backward()
    torch.testing.assert_close(
        F.cosine_similarity(ours.grad.flatten(), unpooled.grad.flatten(), 0).item(), 1.0, atol=0.1, rtol=0
    )


def test_the_gradient_descends_the_robust_objective_in_each_temperature() -> None:
    rho = 0.4
    z = random_views(2, N, 4)
    t = TEMPERATURES.clone().requires_grad_()
    # τ log E exp(h/τ) + τρ with h = s − s⁺; the same for both views, whose negatives are pooled.
    objective = t * pooled_decoupled(z, t) + t * rho
    (expected,) = torch.autograd.grad(objective.sum(), t)
    # The shift by s⁺ leaves the derivative alone, so τ log E exp(s/τ) has the same.
    actual = global_contrastive(z, STORED, temperature=TEMPERATURES, momentum=1, rho=rho).temperature_gradient
    torch.testing.assert_close(actual, expected)


def test_a_sample_not_seen_before_takes_the_batch() -> None:
    z = random_views(2, N, 4)
    fresh, one = (
        global_contrastive(z, torch.full((N,), value), temperature=0.3, momentum=momentum).log_moment
        for value, momentum in ((-inf, 0.1), (7.0, 1.0))
    )
    torch.testing.assert_close(fresh, one)


def test_the_state_does_not_overflow_at_small_temperatures() -> None:
    z = random_views(2, N, 4, dtype=torch.float32).requires_grad_()
    result = global_contrastive(z, torch.full((N,), 900.0), temperature=1e-3, rho=0.4)
    result.loss.backward()
    assert result.loss.isfinite()
    assert z.grad.isfinite().all()
    assert result.log_moment.max() > 88  # exp of it would be infinite in float32
    assert result.temperature_gradient.isfinite().all()


def test_what_is_stored_carries_no_gradient() -> None:
    z = random_views(2, N, 4).requires_grad_()
    result = global_contrastive(z, STORED, temperature=TEMPERATURES.clone().requires_grad_())
    assert result.loss.requires_grad
    assert not result.log_moment.requires_grad
    assert not result.temperature_gradient.requires_grad


@pytest.mark.parametrize(
    ("views", "stored", "options", "message"),
    [
        (3, (N,), {}, "z must have 2 views, got 3"),
        (2, (N + 1,), {}, r"log_moment must be \(5,\), got \(6,\)"),
        (2, (N,), {"momentum": 0.0}, r"momentum must be above 0 and at most 1, got 0\.0"),
        (2, (N,), {"momentum": float("nan")}, "momentum must be above 0 and at most 1, got nan"),
        (2, (N,), {"rho": -1.0}, r"rho must be finite, 0 or more, got -1\.0"),
    ],
)
def test_bad_input(views: int, stored: tuple[int], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        global_contrastive(random_views(views, N, 4), torch.zeros(stored), temperature=0.3, **options)
