"""Which negatives count, and how much: hard, debiased, all alike, or only the hardest."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from twofold.contrast.checks import (
    Temperature,
    check_rows,
    check_same_shape,
    check_temperature,
    check_views,
    reduce_anchors,
)
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather, local_rows
from twofold.contrast.layout import FlatViews, flatten_views, inverse_temperature, positive_similarity
from twofold.contrast.pairs import Rule, at_least, both, different, hardest_threshold
from twofold.contrast.reductions import logsumexp, weighted_sum


def hard_reweighted(
    z: Tensor,
    *,
    temperature: Temperature,
    hardness: float = 1.0,
    class_prior: float = 0.1,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """NT-Xent with importance-weighted hard negatives, debiased (Robinson et al., ICLR 2021, eq. 4).

    With M negatives b of anchor a, weights ω_b ∝ exp(β s(a, b)/τ) of mean 1, and the chance τ⁺ that a negative
    shares the anchor's class:

    ℓ_a = −log e⁺ / (e⁺ + M g),  g = max{ [mean_b ω_b exp(s(a, b)/τ) − τ⁺ e⁺] / (1 − τ⁺),  exp(−1/τ) }

    where e⁺ = exp(s(a, p(a))/τ). β = 0 is :func:`debiased`; β = 0 and τ⁺ = 0 is :func:`nt_xent` of two views.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        temperature: τ > 0; 0.5 in the paper. A number, 0-d or ``(n,)``.
        hardness: β ≥ 0; 0.5 to 2 in the paper.
        class_prior: τ⁺ in [0, 1); 0.1 for ten balanced classes.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(views · n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On other shapes, τ ≤ 0, β < 0 or τ⁺ outside [0, 1).
    """
    check_views("z", z)
    check_temperature(temperature)
    _check_strengths(hardness, class_prior)
    (z,) = unit(z, normalize=normalize)
    flat = flatten_views(z)
    rule = flat.other_items()
    scale = inverse_temperature(temperature, z, views=z.shape[0])
    attraction = scale * positive_similarity(z)
    log_count = math.log(len(flat.candidates) - z.shape[0])
    negatives = _reweighted(flat.anchors, flat.candidates, scale, hardness, log_count, rule)
    if class_prior > 0:
        negatives = _debiased(negatives, attraction, scale, class_prior, log_count)
    return reduce_anchors(torch.logaddexp(attraction, negatives) - attraction, reduction)


def hard_info_nce(
    anchors: Tensor,
    positives: Tensor,
    *,
    temperature: Temperature,
    hardness: float = 1.0,
    class_prior: float = 0.1,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """InfoNCE across views with importance-weighted hard negatives, debiased (Robinson et al., ICLR 2021, eq. 4).

    :func:`hard_reweighted`, but an anchor's negatives are only the positives of the other samples: what is compared
    are two modalities, never rows of one. hardness = 0 and class_prior = 0 is :func:`info_nce`.

    Args:
        anchors: ``(n ≥ 2, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
        temperature: τ > 0. A number, 0-d or ``(n,)``.
        hardness: β ≥ 0.
        class_prior: τ⁺ in [0, 1), the chance that a negative shares the anchor's class.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On other shapes, τ ≤ 0, β < 0 or τ⁺ outside [0, 1).
    """
    check_rows("anchors", anchors)
    check_rows("positives", positives)
    check_same_shape("anchors", anchors, "positives", positives)
    check_temperature(temperature)
    _check_strengths(hardness, class_prior)
    anchors, positives = unit(anchors, positives, normalize=normalize)
    candidates = gather(positives)
    rule = different(
        local_rows(len(anchors), device=anchors.device), torch.arange(len(candidates), device=anchors.device)
    )
    scale = inverse_temperature(temperature, anchors)
    attraction = scale * (anchors * positives).sum(1)
    log_count = math.log(len(candidates) - 1)
    negatives = _reweighted(anchors, candidates, scale, hardness, log_count, rule)
    if class_prior > 0:
        negatives = _debiased(negatives, attraction, scale, class_prior, log_count)
    return reduce_anchors(torch.logaddexp(attraction, negatives) - attraction, reduction)


def debiased(
    z: Tensor,
    *,
    temperature: Temperature,
    class_prior: float = 0.1,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """NT-Xent corrected for negatives of the anchor's own class (Chuang et al., NeurIPS 2020, eq. 8).

    :func:`hard_reweighted` with uniform weights (β = 0). Arguments as there.
    """
    return hard_reweighted(
        z, temperature=temperature, hardness=0.0, class_prior=class_prior, reduction=reduction, normalize=normalize
    )


def simple(
    z: Tensor,
    *,
    negative_weight: float = 1.0,
    hardest: float | None = None,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """The contrastive loss in the limit of a large temperature: all negatives repel alike.

    ℓ_a = −s(a, p(a)) + λ mean_b s(a, b)   (Wang & Liu, CVPR 2021; with ``hardest``, their "hard simple")

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        negative_weight: λ.
        hardest: Keep only this share in (0, 1] of the negatives, the most similar ones; None keeps all.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(views · n,)``).
        normalize: Scale the rows to unit length first.
    """
    check_views("z", z)
    (z,) = unit(z, normalize=normalize)
    flat = flatten_views(z)
    negatives = weighted_sum(flat.anchors, flat.candidates, rule=_hardest(flat, z.shape[0], hardest))
    losses = negative_weight * negatives.sum / negatives.weight - positive_similarity(z)
    return reduce_anchors(losses, reduction)


def hard_contrastive(
    z: Tensor, *, temperature: Temperature, hardest: float, reduction: str = "mean", normalize: bool = True
) -> Tensor:
    """NT-Xent against only the most similar negatives, chosen explicitly (Wang & Liu, CVPR 2021, §3.3).

    ``hardest=1`` is :func:`nt_xent` of two views. The choice is made per anchor and carries no gradient.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        temperature: τ > 0; with an explicit choice a large one (1) works well.
        hardest: Share in (0, 1] of the negatives that is kept; 0.0819 for CIFAR-10 in the paper.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(views · n,)``).
        normalize: Scale the rows to unit length first.
    """
    check_views("z", z)
    check_temperature(temperature)
    (z,) = unit(z, normalize=normalize)
    flat = flatten_views(z)
    scale = inverse_temperature(temperature, z, views=z.shape[0])
    attraction = scale * positive_similarity(z)
    negatives = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=_hardest(flat, z.shape[0], hardest))
    return reduce_anchors(torch.logaddexp(attraction, negatives) - attraction, reduction)


def _hardest(flat: FlatViews, views: int, share: float | None) -> Rule:
    negatives = flat.other_items()
    if share is None or share == 1:
        return negatives
    if not 0 < share <= 1:
        raise ValueError(f"hardest must be a share above 0 and at most 1, got {share!r}.")
    count = max(1, round(share * (len(flat.candidates) - views)))
    thresholds = hardest_threshold(flat.anchors.detach(), flat.candidates.detach(), count=count, rule=negatives)
    return both(negatives, at_least(thresholds))


def _check_strengths(hardness: float, class_prior: float) -> None:
    if not 0 <= hardness < math.inf:
        raise ValueError(f"hardness must be finite, 0 or more, got {hardness!r}.")
    if not 0 <= class_prior < 1:
        raise ValueError(f"class_prior must be at least 0 and below 1, got {class_prior!r}.")


def _reweighted(
    anchors: Tensor, candidates: Tensor, scale: Tensor, hardness: float, log_count: float, rule: Rule
) -> Tensor:
    """log Σ_b ω_b exp(s(a, b)/τ) over the negatives, with weights ω_b ∝ exp(β s(a, b)/τ) of mean 1."""
    negatives = logsumexp(anchors, candidates, scale=(1 + hardness) * scale, rule=rule)
    if hardness > 0:
        negatives = negatives + log_count - logsumexp(anchors, candidates, scale=hardness * scale, rule=rule)
    return negatives


def _debiased(negatives: Tensor, attraction: Tensor, scale: Tensor, class_prior: float, log_count: float) -> Tensor:
    """log [(e^negatives − τ⁺ M e⁺) / (1 − τ⁺)], never below its least possible value log M − 1/τ."""
    floor = (log_count - scale).expand_as(negatives)
    gap = negatives - (math.log(class_prior) + log_count + attraction)
    positive = gap > 0
    safe = torch.where(positive, gap, torch.ones_like(gap))
    left = negatives + torch.log(-torch.expm1(-safe)) - math.log1p(-class_prior)
    return torch.where(positive, torch.maximum(left, floor), floor)
