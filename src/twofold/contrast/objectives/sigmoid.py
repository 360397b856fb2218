"""Pairwise sigmoid loss: every pair is its own yes-or-no question (Zhai et al., ICCV 2023)."""

from __future__ import annotations

from torch import Tensor

from twofold.contrast.checks import Temperature, check_pairs, reduce_anchors
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather, local_rows
from twofold.contrast.layout import inverse_temperature
from twofold.contrast.pairs import all_but_self
from twofold.contrast.reductions import softplus_sum
from twofold.contrast.tiled_sums import softplus


def sigmoid(
    anchors: Tensor,
    positives: Tensor,
    *,
    temperature: Temperature,
    bias: float | Tensor = -10.0,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """SigLIP's loss: matching pairs should score high, all other pairs low, without a softmax over the batch.

    ℓ_i = −log σ(s_ii/τ + b) − Σ_{j ≠ i} log σ(−s_ij/τ − b), averaged over the n anchors (algorithm 1).

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
        temperature: τ > 0; the paper starts the learned 1/τ at 10.
        bias: b; the paper starts it at −10, since nearly all pairs are negatives. May be learned.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On anything but two equal floating ``(n ≥ 2, d)`` tensors, or on τ ≤ 0.
    """
    check_pairs(anchors, positives, temperature)
    anchors, positives = unit(anchors, positives, normalize=normalize)
    scale = inverse_temperature(temperature, anchors)
    rule = all_but_self(local_rows(len(anchors), device=anchors.device))
    repulsion = softplus_sum(anchors, gather(positives), scale=scale, bias=bias, rule=rule)
    attraction = softplus(-(scale * (anchors * positives).sum(1) + bias))
    return reduce_anchors(repulsion + attraction, reduction)
