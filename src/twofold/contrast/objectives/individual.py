"""The contrastive loss over the whole data set, with a temperature for each sample.

SogCLR (Yuan et al., ICML 2022) and iSogCLR (Qiu et al., ICML 2023).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from twofold.contrast.checks import Temperature, check_temperature, check_views
from twofold.contrast.directions import unit
from twofold.contrast.layout import flatten_views, inverse_temperature, positive_similarity
from twofold.contrast.reductions import logsumexp, softmax_mean


class GlobalContrast(NamedTuple):
    """What :func:`global_contrastive` gives."""

    loss: Tensor
    """Scalar whose *gradient* is the estimator; its value is not the loss of the paper."""
    log_moment: Tensor
    """``(n,)``, detached: the new log u_i to store."""
    temperature_gradient: Tensor
    """``(n,)``, detached: G_i, the derivative of the robust objective in τ_i."""


def global_contrastive(
    z: Tensor,
    log_moment: Tensor,
    *,
    temperature: Temperature,
    momentum: float = 0.8,
    rho: float = 0.0,
    normalize: bool = True,
) -> GlobalContrast:
    """The contrastive loss over the whole data set, estimated with a moving average u_i per sample.

    g_i = mean over the 2(N − 1) negatives and both views of exp(s/τ_i);  u_i ← (1 − γ) u_i + γ g_i;
    ℓ_i = Σ_views [ Σ_neg sg(exp(s/τ_i)/u_i) s / (2(N − 1)) − s_pos ]   (SogCLR, algorithm 1)
    G_i = log u_i + ρ − mean_neg sg(exp(s/τ_i)/u_i) s/τ_i               (iSogCLR)

    u is kept as its logarithm, so that small temperatures do not overflow. With γ = 1 the gradient is 2τ times that
    of :func:`decoupled` with u pooled over the two views: the views are summed here and averaged there.

    Args:
        z: ``(2, n ≥ 2, d)``.
        log_moment: ``(n,)`` log u_i as stored; −inf for a sample not seen before, which then takes g_i.
        temperature: τ > 0; a number or ``(n,)``.
        momentum: γ in (0, 1]: the weight of the new batch; 0.8 in the authors' CIFAR code, 0.9 in LibAUC.
        rho: ρ ≥ 0, the robustness budget; 0.4 there. Only G_i depends on it.
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On other shapes, τ ≤ 0, γ outside (0, 1] or ρ < 0.
    """
    check_views("z", z)
    check_temperature(temperature)
    if z.shape[0] != 2:
        raise ValueError(f"z must have 2 views, got {z.shape[0]}.")
    if log_moment.shape != z.shape[1:2]:
        raise ValueError(f"log_moment must be ({z.shape[1]},), got {tuple(log_moment.shape)}.")
    if not 0 < momentum <= 1:
        raise ValueError(f"momentum must be above 0 and at most 1, got {momentum!r}.")
    if not 0 <= rho < math.inf:
        raise ValueError(f"rho must be finite, 0 or more, got {rho!r}.")
    (z,) = unit(z, normalize=normalize)
    n = z.shape[1]
    flat = flatten_views(z)
    scale = inverse_temperature(temperature, z, views=2).detach()
    rule = flat.other_items()
    log_count = math.log(len(flat.candidates) - 2)
    with torch.no_grad():
        kernel = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=rule) - log_count  # log g, (2n,)
        pooled = kernel.reshape(2, n).logsumexp(0) - math.log(2)
        new_moment = _blend(log_moment.to(pooled), pooled, momentum)
        weight = (kernel - new_moment.repeat(2)).exp()
    similarity = softmax_mean(flat.anchors, flat.candidates, scale=scale, rule=rule, detach_weights=True)
    losses = weight * similarity - positive_similarity(z)
    with torch.no_grad():
        pull = (weight * similarity * scale).reshape(2, n).mean(0)
        gradient = new_moment + rho - pull
    return GlobalContrast(losses.reshape(2, n).sum(0).mean(), new_moment, gradient)


def _blend(old: Tensor, new: Tensor, momentum: float) -> Tensor:
    """log [(1 − γ) exp(old) + γ exp(new)]; where old is −inf, new."""
    if momentum == 1:
        return new
    blended = torch.logaddexp(old + math.log1p(-momentum), new + math.log(momentum))
    return torch.where(old.isneginf(), new, blended)
