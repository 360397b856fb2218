"""InfoNCE where every sample brings a hard negative of its own, which the other samples see as well."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from twofold.contrast.checks import Temperature, check_rows, check_same_shape, check_temperature, reduce_anchors
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather, local_rows
from twofold.contrast.layout import inverse_temperature
from twofold.contrast.reductions import logsumexp


def info_nce_with_hard_negatives(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    temperature: Temperature,
    own_bonus: float = 0.0,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """Supervised SimCSE's loss: of 2N candidates find the positive (Gao et al., EMNLP 2021, eq. 5 and appendix).

    ℓ_i = −s(a_i, p_i)/τ + log Σ_j [ exp(s(a_i, p_j)/τ) + e^{β [i = j]} exp(s(a_i, n_j)/τ) ]

    Without negatives it is :func:`info_nce`, whose candidates are the positives of the batch alone.

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
        negatives: ``(n, d)``; row i is like anchor i, and yet another thing: a contradiction, a wrong answer.
        temperature: τ > 0; a number, 0-d or ``(n,)``.
        own_bonus: β, added to the logit of an anchor's own negative; 0 in the paper's runs.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On anything but three equal floating ``(n ≥ 2, d)`` tensors, τ ≤ 0, or β not finite.
    """
    for name, rows in (("anchors", anchors), ("positives", positives), ("negatives", negatives)):
        check_rows(name, rows)
        check_same_shape("anchors", anchors, name, rows)
    check_temperature(temperature)
    if not math.isfinite(own_bonus):
        raise ValueError(f"own_bonus must be a finite number, got {own_bonus!r}.")
    anchors, positives, negatives = unit(anchors, positives, negatives, normalize=normalize)
    scale = inverse_temperature(temperature, anchors)
    candidates = torch.cat([gather(positives), gather(negatives)])
    own = len(candidates) // 2 + local_rows(len(anchors), device=anchors.device)
    weight = math.exp(own_bonus)

    def raised(rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        return torch.where(columns == own[rows, None], weight, 1.0).to(similarity.dtype)

    repulsion = logsumexp(anchors, candidates, scale=scale, rule=raised if own_bonus else None)
    return reduce_anchors(repulsion - scale * (anchors * positives).sum(1), reduction)
