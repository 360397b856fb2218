"""Contrast of samples with a number as label: repulsion grows with the distance of labels, and pairs are mixed."""

from __future__ import annotations

import torch
from torch import Tensor

from twofold.contrast.checks import Temperature, check_temperature, check_views, reduce_anchors
from twofold.contrast.directions import unit
from twofold.contrast.layout import FlatViews, flatten_views, inverse_temperature
from twofold.contrast.ordinal_mixing import OrdinalMixtures, check_targets, labels_of
from twofold.contrast.pairs import Rule, both
from twofold.contrast.reductions import logsumexp, weighted_sum


def ordinal(
    z: Tensor,
    targets: Tensor,
    *,
    temperature: Temperature,
    mixtures: OrdinalMixtures | None = None,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """SupCon for numbers: every candidate repels by its distance in label, mixtures join in (Wu et al., 2023).

        ℓ_a = −1/|P(a)| Σ_{p ∈ P(a)} [ s(a, p)/τ − log Σ_{b ≠ a} (|y_a − y_b| + 1) exp(s(a, b)/τ) ]

    P(a) are the other views of a's sample, the samples of equal label, and the mixed positives; b runs over all
    candidates and both kinds of mixtures. Mixtures are not scaled to unit length, as in the authors' code. NaN is an
    unknown label: no other sample's positive, and at distance 0 from all; with nothing else it is :func:`nt_xent`.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        targets: Floating ``(n,)``, in the unit in which distances count.
        temperature: τ > 0; a number, 0-d or ``(n,)``. 0.3 in the authors' code.
        mixtures: What ``mix_ordinal`` of ``contrast/ordinal_mixing.py`` gives for the same rows; none leaves them out.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(views · n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On other shapes, targets that are not one number a sample, or a temperature ≤ 0.
    """
    check_views("z", z)
    check_temperature(temperature)
    check_targets(z, targets)
    (z,) = unit(z, normalize=normalize)
    flat = flatten_views(z)
    own, others = labels_of(flat, targets.to(z))
    scale = inverse_temperature(temperature, z, views=z.shape[0]).expand(len(flat.anchors))
    weights = both(flat.not_self(), _distance_weights(own, others))
    repulsion = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=weights)
    attraction = weighted_sum(flat.anchors, flat.candidates, rule=both(flat.not_self(), _positives(flat, own, others)))
    total, count = attraction.sum, attraction.weight
    if mixtures is not None:
        repulsion, total, count = _with_mixtures(flat.anchors, scale, mixtures, repulsion, total, count)
    return reduce_anchors(repulsion - scale * total / count, reduction)


def _with_mixtures(
    anchors: Tensor, scale: Tensor, mixtures: OrdinalMixtures, repulsion: Tensor, total: Tensor, count: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The log-sum, the sum over positives and their number, with the mixtures in them."""
    usable = mixtures.distances.isfinite()
    negatives = scale[:, None] * (anchors[:, None] * mixtures.negatives.to(anchors)).sum(-1)
    negatives = negatives + torch.where(usable, mixtures.distances, 0.0).log1p()
    similarity = (anchors[:, None] * mixtures.positives.to(anchors)).sum(-1)
    there = mixtures.has_positives[:, None]
    logits = [negatives.masked_fill(~usable, -torch.inf), (scale[:, None] * similarity).masked_fill(~there, -torch.inf)]
    everything = torch.cat([repulsion[:, None], *logits], 1).logsumexp(1)
    added = torch.where(there, similarity, 0.0).sum(1)
    return everything, total + added, count + there[:, 0] * similarity.shape[1]


def _distance_weights(own: Tensor, others: Tensor) -> Rule:
    """|y_a − y_b| + 1; 1 where one of the two is unknown."""
    return lambda rows, columns, similarity: (own[rows, None] - others[None, columns]).abs().nan_to_num(0.0) + 1


def _positives(flat: FlatViews, own: Tensor, others: Tensor) -> Rule:
    """Views of the same sample, and samples of equal label; NaN equals nothing."""
    return lambda rows, columns, similarity: (
        (flat.anchor_items[rows, None] == flat.candidate_items[None, columns])
        | (own[rows, None] == others[None, columns])
    )
