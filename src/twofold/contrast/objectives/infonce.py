"""InfoNCE and its closest kin: one positive against many negatives in a softmax.

Every function normalizes its inputs, takes a temperature (a number, a 0-d tensor that may be learned, or one per
sample) and returns a mean over anchors, or the anchors' values with ``reduction="none"``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from twofold.contrast.checks import (
    Temperature,
    check_pairs,
    check_rows,
    check_same_shape,
    check_temperature,
    check_views,
    raise_precision,
    reduce_anchors,
)
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather, local_rows, world_size
from twofold.contrast.layout import flatten_views, inverse_temperature, logit_bound, positive_similarity
from twofold.contrast.pairs import Rule
from twofold.contrast.reductions import logsumexp, logsumexp_both_ways, paired_similarity


def info_nce(
    anchors: Tensor, positives: Tensor, *, temperature: Temperature, reduction: str = "mean", normalize: bool = True
) -> Tensor:
    """Cross-view InfoNCE: each anchor must find its positive among the positives of the whole batch.

    ℓ_i = −s(a_i, p_i)/τ + log Σ_j exp(s(a_i, p_j)/τ), with N − 1 negatives (van den Oord et al., 2018, eq. 4).

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
        temperature: τ > 0; a number, 0-d or ``(n,)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On anything but two equal floating ``(n ≥ 2, d)`` tensors, or on τ ≤ 0.
    """
    check_pairs(anchors, positives, temperature)
    alone = world_size() == 1
    anchors, positives = unit(anchors, positives, normalize=normalize and not alone)
    scale = inverse_temperature(temperature, anchors)
    largest = logit_bound(temperature, normalize=normalize)
    if alone:
        return logsumexp(
            anchors, positives, scale=scale, reduction=reduction, largest=largest, matched=0, normalize=normalize
        )
    repulsion = logsumexp(anchors, gather(positives), scale=scale, reduction=reduction, largest=largest)
    return repulsion - paired_similarity(anchors, positives, scale, reduction)


def symmetric_info_nce(
    first: Tensor, second: Tensor, *, temperature: Temperature, reduction: str = "mean", normalize: bool = True
) -> Tensor:
    """:func:`info_nce` in both directions, averaged: the loss of CLIP (Radford et al., ICML 2021, fig. 3)."""
    if world_size() > 1:  # each direction sees other parts of the matrix: its own anchors with everybody's candidates
        forward = info_nce(first, second, temperature=temperature, reduction=reduction, normalize=normalize)
        backward = info_nce(second, first, temperature=temperature, reduction=reduction, normalize=normalize)
        return (forward + backward) / 2
    check_pairs(first, second, temperature)
    first, second = raise_precision(first, second)
    scale = inverse_temperature(temperature, first)
    largest = logit_bound(temperature, normalize=normalize)
    forth, back = logsumexp_both_ways(first, second, scale=scale, largest=largest, matched=True, normalize=normalize)
    return reduce_anchors((forth + back) / 2, reduction)


def info_nce_with_negatives(
    anchors: Tensor,
    positives: Tensor,
    negatives: Tensor,
    *,
    temperature: Temperature,
    rule: Rule | None = None,
    own_negatives: Tensor | None = None,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """InfoNCE against explicit negatives, such as a queue of keys (He et al., CVPR 2020, eq. 1).

    ℓ_i = −s(a_i, p_i)/τ + log [ exp(s(a_i, p_i)/τ) + Σ_j exp(s(a_i, q_j)/τ) + Σ_k exp(s(a_i, h_ik)/τ) ]

    Unlike in :func:`info_nce` the other positives of the batch are no negatives.

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``.
        negatives: ``(m, d)``, shared by all anchors (q); m may be 0.
        temperature: As in :func:`info_nce`.
        rule: Leaves some of the shared negatives out, such as an anchor's own old keys.
        own_negatives: ``(n, k, d)``, each anchor's own further negatives (h), such as synthetic ones.
        reduction: As in :func:`info_nce`.
        normalize: As in :func:`info_nce`.

    Raises:
        TypeError, ValueError: On tensors of other shapes, integers, or τ ≤ 0.
    """
    check_pairs(anchors, positives, temperature, minimum=1)
    check_rows("negatives", negatives, minimum=0)
    given, negatives = raise_precision(anchors, negatives)
    anchors, positives = unit(anchors, positives, normalize=normalize)
    scale = inverse_temperature(temperature, anchors)
    attraction = scale * (anchors * positives).sum(1)
    largest = logit_bound(temperature, normalize=normalize)
    shared = logsumexp(given, negatives, scale=scale, rule=rule, largest=largest, normalize=normalize)
    repulsion = torch.logaddexp(attraction, shared)
    if own_negatives is not None:
        check_rows("own_negatives", own_negatives, minimum=0)
        if own_negatives.ndim != 3 or own_negatives.shape[::2] != anchors.shape:
            n, d = anchors.shape
            raise ValueError(f"own_negatives must be ({n}, k, {d}), got {tuple(own_negatives.shape)}.")
        (own_negatives,) = unit(own_negatives, normalize=normalize)
        own = (own_negatives * anchors[:, None]).sum(2)  # no matrix product, which autocast would round
        repulsion = torch.logaddexp(repulsion, (own * scale.reshape(-1, 1)).logsumexp(1))
    return reduce_anchors(repulsion - attraction, reduction)


def nt_xent(z: Tensor, *, temperature: Temperature, reduction: str = "mean", normalize: bool = True) -> Tensor:
    """NT-Xent of SimCLR: negatives come from both views (Chen et al., ICML 2020, eq. 1).

    ℓ_a = −s(a, p(a))/τ + log Σ_{b ≠ a} exp(s(a, b)/τ) over the 2N views: the positive and 2(N − 1) negatives.
    With more than two views, the positive term is the mean over the other views of the sample.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        temperature: τ > 0; a number, 0-d or ``(n,)``. 0.1 to 0.5 in the paper.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(views · n,)``, view after view).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On other shapes, integers, or τ ≤ 0.
    """
    check_views("z", z)
    check_temperature(temperature)
    circle = len(z) == 2 and world_size() == 1  # the other view of a row stands n further, in a circle
    (z,) = unit(z, normalize=normalize and not circle)
    flat = flatten_views(z)
    scale = inverse_temperature(temperature, z, views=z.shape[0])
    rule, largest = flat.not_self(), logit_bound(temperature, normalize=normalize)
    repulsion = logsumexp(
        flat.anchors,
        flat.candidates,
        scale=scale,
        rule=rule,
        reduction=reduction,
        largest=largest,
        matched=z.shape[1] if circle else None,
        normalize=normalize and circle,
    )
    return repulsion if circle else repulsion - reduce_anchors(scale * positive_similarity(z), reduction)


def decoupled(z: Tensor, *, temperature: Temperature, reduction: str = "mean", normalize: bool = True) -> Tensor:
    """Decoupled contrastive loss: :func:`nt_xent` without the positive in the denominator.

    ℓ_a = −s(a, p(a))/τ + log Σ_{b of other samples} exp(s(a, b)/τ)   (Yeh et al., ECCV 2022, eq. 6)

    The factor 1 − p(positive), which starves the gradient when the batch is small, is gone. The value may be
    negative. Arguments as in :func:`nt_xent`.
    """
    return _decoupled(z, temperature, reduction, normalize, sigma=None)


def decoupled_weighted(
    z: Tensor, *, temperature: Temperature, sigma: float = 0.5, reduction: str = "mean", normalize: bool = True
) -> Tensor:
    """:func:`decoupled` with harder positives weighing more: DCLW (Yeh et al., ECCV 2022, eq. 7).

    The positive term of sample i is multiplied by w_i = 2 − N · softmax_i(s_i/σ), a constant with mean 1, taken over
    the N samples of each view, on all processes. As σ grows this becomes :func:`decoupled`.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        temperature: As in :func:`nt_xent`.
        sigma: σ > 0, 0.5 in the paper.
        reduction: As in :func:`nt_xent`.
        normalize: As in :func:`nt_xent`.
    """
    check_temperature(sigma, "sigma")
    return _decoupled(z, temperature, reduction, normalize, sigma=sigma)


def _decoupled(z: Tensor, temperature: Temperature, reduction: str, normalize: bool, sigma: float | None) -> Tensor:
    check_views("z", z)
    check_temperature(temperature)
    (z,) = unit(z, normalize=normalize)
    flat = flatten_views(z)
    scale = inverse_temperature(temperature, z, views=z.shape[0])
    attraction = positive_similarity(z)
    if sigma is not None:
        closeness = attraction.detach().reshape(z.shape[:2]) / sigma
        everyone = gather(closeness, dim=1)
        share = (closeness - everyone.logsumexp(1, keepdim=True)).exp()
        attraction = attraction * (2 - everyone.shape[1] * share).flatten()
    rule, largest = flat.other_items(), logit_bound(temperature, normalize=normalize)
    repulsion = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=rule, reduction=reduction, largest=largest)
    return repulsion - reduce_anchors(scale * attraction, reduction)


def positive_rank(anchors: Tensor, positives: Tensor) -> Tensor:
    """How many candidates are more similar to each anchor than its own positive, int64 ``(n,)``; 0 is a hit.

    The proxy task's accuracy is ``(positive_rank(a, p) == 0).float().mean()``. No gradient.

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
    """
    check_rows("anchors", anchors, minimum=1)
    check_rows("positives", positives, minimum=1)
    check_same_shape("anchors", anchors, "positives", positives)
    with torch.no_grad(), torch.autocast(anchors.device.type, enabled=False):
        anchors, positives = unit(anchors, positives)
        similarity = anchors @ gather(positives).T
        columns = local_rows(len(anchors), device=anchors.device)
        # Taken from the same product, so that a duplicate of the positive rounds alike and is no better.
        own = similarity.gather(1, columns[:, None])
        return (similarity > own).sum(1)
