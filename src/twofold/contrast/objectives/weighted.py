"""InfoNCE whose positives and candidates carry weights: what most methods on graphs change about it.

Positives are listed and a pair rule says who repels, and how much; so nothing of the size of all pairs is stored.
"""

from __future__ import annotations

from torch import Tensor

from twofold.contrast.checks import Temperature, check_rows, check_same_shape, check_temperature, reduce_anchors
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather
from twofold.contrast.layout import inverse_temperature
from twofold.contrast.pairs import Rule
from twofold.contrast.reductions import logsumexp
from twofold.contrast.sparse_pairs import Pairs, pair_logsumexp, pair_similarity


def weighted_info_nce(
    anchors: Tensor,
    candidates: Tensor,
    *,
    temperature: Temperature,
    positives: Pairs | None = None,
    weights: Rule | None = None,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """Cross-view InfoNCE with several positives P_i and weighted candidates W.

    ℓ_i = −log Σ_{j ∈ P_i} exp(s(a_i, c_j)/τ) + log Σ_j W_ij exp(s(a_i, c_j)/τ)

    Without both it is :func:`twofold.contrast.objectives.info_nce`: P_i is i, W is 1. Several positives, summed inside
    the logarithm, are HeCo's loss (Wang et al., KDD 2021, eq. 9). With W_ij = 1 for j ≠ i alone it is GraphCL's, with
    no positive in the denominator (You et al., NeurIPS 2020, eq. 3). W from clusterings is MEOW's (Yu et al., SDM
    2023; see :func:`twofold.contrast.sparse_pairs.apart`).

    Args:
        anchors: ``(n, d)``.
        candidates: ``(n, d)``; row i shows the sample of anchor i. Those of all processes are compared with.
        temperature: τ > 0; a number, 0-d or ``(n,)``.
        positives: P, by positions of anchors here and of candidates on all processes, such as
            :class:`twofold.contrast.sparse_pairs.PairList` gives; without it, row i of anchor i.
        weights: W, by the same positions; without it all ones.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    An anchor without any positive, or with all candidates left out, has loss 0 and no gradient.

    Raises:
        TypeError, ValueError: On anything but two equal floating ``(n ≥ 2, d)`` tensors, or on τ ≤ 0.
    """
    check_rows("anchors", anchors)
    check_rows("candidates", candidates)
    check_same_shape("anchors", anchors, "candidates", candidates)
    check_temperature(temperature)
    anchors, candidates = unit(anchors, candidates, normalize=normalize)
    scale = inverse_temperature(temperature, anchors)
    everyone = gather(candidates)
    repulsion = logsumexp(anchors, everyone, scale=scale, rule=weights)
    if positives is None:
        attraction = scale * (anchors * candidates).sum(1)
    else:
        values = pair_similarity(anchors, everyone, positives)
        values = values * (scale if scale.ndim == 0 else scale[positives.anchors])
        attraction = pair_logsumexp(values, positives, len(anchors))
    nothing = repulsion.detach().isneginf() | attraction.detach().isneginf()
    return reduce_anchors((repulsion - attraction).masked_fill(nothing, 0.0), reduction)
