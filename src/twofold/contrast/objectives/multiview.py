"""Objectives for more than two views of a sample (Koromilas et al., 2025)."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from twofold.contrast.checks import Temperature, check_temperature, check_views, reduce_anchors
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather, local_rows
from twofold.contrast.layout import flatten_views, inverse_temperature, logit_bound
from twofold.contrast.objectives.infonce import nt_xent
from twofold.contrast.pairs import Rule, all_but_self, both, different
from twofold.contrast.reductions import logsumexp


def pairwise_average(z: Tensor, *, temperature: Temperature, normalize: bool = True) -> Tensor:
    """The mean of :func:`nt_xent` over all pairs of views; with two views it *is* ``nt_xent``. A scalar.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        temperature: τ > 0; a number, 0-d or ``(n,)``.
        normalize: Scale the rows to unit length first.
    """
    check_views("z", z)
    pairs = [
        nt_xent(torch.stack([z[a], z[b]]), temperature=temperature, normalize=normalize)
        for a, b in combinations(range(z.shape[0]), 2)
    ]
    return torch.stack(pairs).mean()


def mv_info_nce(
    z: Tensor,
    *,
    temperature: Temperature,
    same_view_negatives: bool = True,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """MV-InfoNCE: one ratio a sample, all its view interactions in numerator and denominator.

    ℓ_i = −log [ Σ_{l ≠ l'} exp(s(z_i^l, z_i^l')/τ) / Σ_l Σ_{(j,m) ≠ (i,l)} exp(s(z_i^l, z_j^m)/τ) ]

    At two views this is a ratio of sums, not :func:`nt_xent`'s mean of log-ratios.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        temperature: τ > 0; a number, 0-d or ``(n,)``. 0.5 for CIFAR and 0.1 for ImageNet in the paper.
        same_view_negatives: Count negatives of the anchor's own view too (as the authors' code does; their formula
            reads m ≠ l, which is ``False``).
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.
    """
    check_views("z", z)
    check_temperature(temperature)
    (z,) = unit(z, normalize=normalize)
    views, n, _ = z.shape
    flat = flatten_views(z)
    scale = inverse_temperature(temperature, z, views=views)
    rule: Rule = flat.not_self()
    if not same_view_negatives:
        view = torch.arange(views, device=z.device)
        candidate_views = view.repeat_interleave(len(flat.candidates) // views)
        rule = both(rule, different(view.repeat_interleave(n), candidate_views))
    largest = logit_bound(temperature, normalize=normalize)
    sums = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=rule, largest=largest)
    repulsion = sums.reshape(views, n).logsumexp(0)
    log_two = torch.log(torch.tensor(2.0, dtype=z.dtype, device=z.device))  # ordered pairs: each pair twice
    return reduce_anchors(repulsion - _log_sum_of_pairs(z, temperature) - log_two, reduction)


def mv_dhel(z: Tensor, *, temperature: Temperature, reduction: str = "mean", normalize: bool = True) -> Tensor:
    """MV-DHEL: alignment over all pairs of views in one term, uniformity within each view, the two decoupled.

    ℓ_i = −log Σ_{l < l'} exp(s(z_i^l, z_i^l')/τ) + Σ_l log Σ_{j ≠ i} exp(s(z_i^l, z_j^l)/τ)

    With two views this is DHEL. The product of the views' kernel sums is kept as a sum of logarithms, which cannot
    overflow. Costs O(n² V) against O(n² V²) of the other multi-view forms. Arguments as in :func:`mv_info_nce`.
    """
    check_views("z", z)
    check_temperature(temperature)
    (z,) = unit(z, normalize=normalize)
    everyone = gather(z, dim=1)
    scale = inverse_temperature(temperature, z)
    rule = all_but_self(local_rows(z.shape[1], device=z.device))
    largest = logit_bound(temperature, normalize=normalize)
    uniform = [
        logsumexp(own, others, scale=scale, rule=rule, largest=largest) for own, others in zip(z, everyone, strict=True)
    ]
    return reduce_anchors(torch.stack(uniform).sum(0) - _log_sum_of_pairs(z, temperature), reduction)


def _log_sum_of_pairs(z: Tensor, temperature: Temperature) -> Tensor:
    """log Σ_{l < l'} exp(s(z_i^l, z_i^l')/τ), ``(n,)``."""
    scale = inverse_temperature(temperature, z)
    pairs = [(z[a] * z[b]).sum(-1) * scale for a, b in combinations(range(z.shape[0]), 2)]
    return torch.stack(pairs).logsumexp(0)
