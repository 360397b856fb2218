"""Contrastive attraction and contrastive repulsion (CACR; Zheng et al., TMLR 2023)."""

from __future__ import annotations

import math
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from twofold.contrast.checks import check_views
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather, local_rows
from twofold.contrast.pairs import all_but_self
from twofold.contrast.reductions import softmax_mean


class AttractionRepulsion(NamedTuple):
    """The two scalars of :func:`attraction_repulsion`; the loss is their sum."""

    attraction: Tensor
    repulsion: Tensor


def attraction_repulsion(
    z: Tensor,
    *,
    attraction_scale: float = 1.0,
    repulsion_scale: float = 0.9,
    detach_weights: bool = False,
    normalize: bool = True,
) -> AttractionRepulsion:
    """Pull farther positives harder and push closer negatives harder, each among themselves.

    - attraction: Σ_b π⁺ ‖z_i^a − z_i^b‖² over the other views b, with π⁺ = softmax_b(t⁺ ‖z_i^a − z_i^b‖²);
      mean over samples and views a,
    - repulsion: −Σ_{j ≠ i} π⁻ ‖z_i^a − z_j^b‖² with π⁻ = softmax_j(−t⁻ ‖z_i^a − z_j^b‖²);
      mean over samples and pairs of views a < b.

    With t⁺ = t⁻ = 0 both weightings are uniform, and with two views there is one positive, so π⁺ = 1.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``; the paper uses 5 views at small scale.
        attraction_scale: t⁺ ≥ 0; 1 in the paper.
        repulsion_scale: t⁻ ≥ 0; 0.9 for CIFAR-10, 2 for CIFAR-100 and STL-10.
        detach_weights: Treat π⁺ and π⁻ as constants in the backward pass (the authors' ImageNet code does, their
            small-scale code does not).
        normalize: Scale the rows to unit length first; without it the repulsion has no lower bound.

    Raises:
        TypeError, ValueError: On other shapes or negative scales.
    """
    check_views("z", z)
    for name, value in (("attraction_scale", attraction_scale), ("repulsion_scale", repulsion_scale)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite, 0 or more, got {value!r}.")
    (z,) = unit(z, normalize=normalize)
    return AttractionRepulsion(
        _attraction(z, attraction_scale, detach_weights), _repulsion(z, repulsion_scale, detach_weights)
    )


def _attraction(z: Tensor, scale: float, detach_weights: bool) -> Tensor:
    cost = (z[:, None] - z[None, :]).pow(2).sum(-1)  # (V, V, n)
    self_pairs = torch.eye(z.shape[0], dtype=torch.bool, device=z.device)[..., None]
    weights = (scale * cost).masked_fill(self_pairs, float("-inf")).softmax(1)
    if detach_weights:
        weights = weights.detach()
    return (weights * cost).sum(1).mean()


def _repulsion(z: Tensor, scale: float, detach_weights: bool) -> Tensor:
    rule = all_but_self(local_rows(z.shape[1], device=z.device))
    # −‖a − b‖² = 2a·b − ‖a‖² − ‖b‖² as one dot product, of longer rows: right without unit length, too.
    length, one = z.pow(2).sum(-1, keepdim=True), torch.ones_like(z[..., :1])
    anchors, candidates = torch.cat([2 * z, -length, -one], -1), gather(torch.cat([z, one, length], -1), dim=1)
    pairs = [
        softmax_mean(anchors[a], candidates[b], scale=scale, rule=rule, detach_weights=detach_weights).mean()
        for a, b in combinations(range(z.shape[0]), 2)
    ]
    return torch.stack(pairs).mean()
