"""Reductions over all anchor-candidate pairs in O(n·d) memory: what nearly every objective of the field is made of.

With s_ij = a_i · b_j, a scale k_i (usually 1/τ) and weights w_ij that a pair rule gives:

- :func:`logsumexp`      log Σ_j w_ij exp(k_i s_ij)                who repels
- :func:`softmax_mean`   Σ_j p_ij s_ij,  p_i = softmax_j(k_i s_ij)  forces that depend on distance
- :func:`weighted_sum`   Σ_j w_ij s_ij                              who attracts, and by how much
- :func:`softplus_sum`   Σ_j w_ij log(1 + exp(k_i s_ij + b))        pairwise logistic losses

Small problems are computed densely with plain torch: that is the definition. Larger ones go tile by tile, so that no
pass keeps an n × m matrix, in as few products of matrices as the problem allows (:mod:`twofold.contrast.one_way`,
:mod:`twofold.contrast.two_way`, :mod:`twofold.contrast.tiled_sums`), and some in between all at once
(:mod:`twofold.contrast.at_once`). All paths give the same numbers and gradients, in anchors, candidates, scale and
bias. Rows are taken as they are; objectives normalize them, or ask the first of these to do so tile by tile. A row
whose candidates are all left out gives −inf from :func:`logsumexp`, 0 from the others, and no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from twofold.contrast import at_once
from twofold.contrast.autograd import full_precision
from twofold.contrast.checks import check_reduction, raise_precision, reduce_anchors
from twofold.contrast.directions import unit
from twofold.contrast.one_way import LogSumExp, SummedLogSumExp
from twofold.contrast.pairs import Rule, is_mutual
from twofold.contrast.tiled_sums import RuledSum, SoftmaxMean, SoftplusSum, softplus
from twofold.contrast.tiles import logits_of, may_be_held
from twofold.contrast.two_way import BothWays, Symmetric, direct_bound

Scale = float | Tensor

DENSE_PAIRS = 1 << 16
"""Up to this many pairs the dense path is taken, unless :mod:`twofold.contrast.at_once` is: nothing is to be saved."""


class SoftmaxReduction(NamedTuple):
    """What :func:`softmax_reduce` gives, each ``(n,)``."""

    logsumexp: Tensor
    mean: Tensor


class WeightedSum(NamedTuple):
    """What :func:`weighted_sum` gives, each ``(n,)``; ``weight`` = Σ_j w_ij carries no gradient."""

    sum: Tensor
    weight: Tensor


def logsumexp(
    anchors: Tensor,
    candidates: Tensor,
    *,
    scale: Scale = 1.0,
    rule: Rule | None = None,
    reduction: str = "none",
    largest: float | None = None,
    matched: int | None = None,
    normalize: bool = False,
    tile: int | None = None,
) -> Tensor:
    """log Σ_j w_ij exp(scale_i · s_ij), one value per anchor.

    Args:
        anchors: ``(n, d)``.
        candidates: ``(m, d)``. Where each row is compared with all others, give the very tensor of the anchors: then
            each similarity is computed once for both rows.
        scale: A number, a 0-d tensor or ``(n,)``; usually 1/temperature. Differentiable.
        rule: The pair rule that gives w_ij; all ones without it.
        reduction: ``"none"`` (``(n,)``), ``"mean"`` or ``"sum"`` over anchors; these take fewer products of matrices.
        largest: What no |scale_i · s_ij| is above, if that is known: 1/temperature for directions. Otherwise it is
            found from the lengths of rows, on the CPU; on accelerators, which that would stall, the row's maximum is
            subtracted, which takes longer. With too small a value exponentials may overflow.
        matched: Candidate j = (i + matched) mod n is anchor i's own, and scale_i · s_ij is subtracted: the cross
            entropy of finding it, which the rule must not leave out.
        normalize: Compare rows by their directions, as if they were scaled to unit length first; large problems then
            hold no copy of them.
        tile: Rows to a tile; None chooses by size, 0 forces the dense path.

    Raises:
        ValueError: On rows or scales of other shapes, another word for the reduction, or ``matched`` without a
            candidate for each anchor or beyond them.
    """
    anchors, candidates = _check(anchors, candidates)
    check_reduction(reduction)
    _check_matched(matched, len(anchors), len(candidates))
    with full_precision(anchors):
        scale = _as_scale(scale, anchors)
        summed = reduction != "none" and torch.is_grad_enabled()  # then a gradient can be formed early
        if summed and tile is None and at_once.applies(anchors, candidates, rule):
            rows = _directions(anchors, candidates, normalize)
            if direct_bound(*rows, scale, largest) is not None:
                total = at_once.SummedAtOnce.apply(*rows, scale, rule, matched)
                return total / len(anchors) if reduction == "mean" else total
        if not _is_dense(anchors, candidates, tile):
            return _tiled_logsumexp(anchors, candidates, scale, rule, reduction, largest, matched, normalize, tile)
        anchors, candidates = _directions(anchors, candidates, normalize)
        repulsion = reduce_anchors(_dense_logsumexp(anchors, candidates, scale, rule), reduction)
        if matched is None:
            return repulsion
        return repulsion - _own_similarity(anchors, candidates, scale, reduction, matched)


def paired_similarity(anchors: Tensor, positives: Tensor, scale: Tensor, reduction: str) -> Tensor:
    """scale_i a_i · p_i, reduced; in fewer operations where all anchors have the same scale: batches may be small.

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``.
        scale: 0-d or ``(n,)``.
        reduction: As in :func:`logsumexp`.

    Raises:
        ValueError: On another word for the reduction.
    """
    if scale.ndim or reduction == "none":
        return reduce_anchors(scale * (anchors * positives).sum(1), reduction)
    total = scale * (anchors * positives).sum()
    return total / len(anchors) if reduction == "mean" else total


def logsumexp_both_ways(
    anchors: Tensor,
    candidates: Tensor,
    *,
    scale: Scale = 1.0,
    largest: float | None = None,
    matched: bool = False,
    normalize: bool = False,
    tile: int | None = None,
) -> tuple[Tensor, Tensor]:
    """log Σ_j exp(scale_i · s_ij) for each anchor i, and log Σ_i exp(scale_j · s_ij) for each candidate j.

    Args:
        anchors: ``(n, d)``.
        candidates: ``(n, d)``.
        scale: A number, a 0-d tensor or ``(n,)``: pair i's, for anchor i and candidate i alike. Differentiable.
        largest: As in :func:`logsumexp`.
        matched: Subtract scale_i · s_ii from both values of pair i.
        normalize: As in :func:`logsumexp`.
        tile: As in :func:`logsumexp`.

    Raises:
        ValueError: On other shapes.
    """
    anchors, candidates = _check(anchors, candidates)
    if anchors.shape != candidates.shape:
        raise ValueError(f"both sides need equally many rows, got {len(anchors)} and {len(candidates)}.")
    with full_precision(anchors):
        scale = _as_scale(scale, anchors)
        dense = _is_dense(anchors, candidates, tile)
        if not dense:
            bound = direct_bound(anchors, candidates, scale, largest, normalize=normalize)
            if bound is not None:
                forth, back = BothWays.apply(anchors, candidates, scale, bound, tile, matched, normalize)
                return forth, back
            both, shift = ((anchors, candidates), (candidates, anchors)), 0 if matched else None
            forth, back = (LogSumExp.apply(*pair, scale, None, largest, tile, shift, normalize) for pair in both)
            return forth, back
        anchors, candidates = _directions(anchors, candidates, normalize)
        similarity = anchors @ candidates.T
        forth, back = (scale[..., None] * similarity).logsumexp(1), (scale * similarity).logsumexp(0)
        if not matched:
            return forth, back
        own = _own_similarity(anchors, candidates, scale, "none", 0)
        return forth - own, back - own


def softmax_mean(
    anchors: Tensor,
    candidates: Tensor,
    *,
    scale: Scale = 1.0,
    rule: Rule | None = None,
    detach_weights: bool = False,
    tile: int | None = None,
) -> Tensor:
    """Σ_j p_ij s_ij with p_ij ∝ w_ij exp(scale_i · s_ij): the similarity averaged by its own softmax, ``(n,)``.

    Args:
        anchors: ``(n, d)``.
        candidates: ``(m, d)``.
        scale: As in :func:`logsumexp`; negative values weigh the *least* similar most.
        rule: As in :func:`logsumexp`.
        detach_weights: Treat p as constants in the backward pass.
        tile: As in :func:`logsumexp`.
    """
    reduce = softmax_reduce(anchors, candidates, scale=scale, rule=rule, detach_weights=detach_weights, tile=tile)
    return reduce.mean


def softmax_reduce(
    anchors: Tensor,
    candidates: Tensor,
    *,
    scale: Scale = 1.0,
    rule: Rule | None = None,
    detach_weights: bool = False,
    tile: int | None = None,
) -> SoftmaxReduction:
    """:func:`logsumexp` and :func:`softmax_mean` in one pass. Arguments as there."""
    anchors, candidates = _check(anchors, candidates)
    with full_precision(anchors):
        scale = _per_anchor(scale, anchors)
        if _is_dense(anchors, candidates, tile):
            return _dense_softmax(anchors, candidates, scale, rule, detach_weights)
        return SoftmaxReduction(*SoftmaxMean.apply(anchors, candidates, scale, rule, detach_weights, tile))


def weighted_sum(anchors: Tensor, candidates: Tensor, *, rule: Rule, tile: int | None = None) -> WeightedSum:
    """Σ_j w_ij s_ij and Σ_j w_ij, each ``(n,)``. Arguments as in :func:`logsumexp`."""
    anchors, candidates = _check(anchors, candidates)
    with full_precision(anchors):
        if _is_dense(anchors, candidates, tile):
            similarity = anchors @ candidates.T
            weight = rule(*_everything(anchors, candidates), similarity.detach()).to(similarity.dtype)
            return WeightedSum((weight * similarity).sum(1), weight.sum(1))
        return WeightedSum(*RuledSum.apply(anchors, candidates, rule, tile))


def softplus_sum(
    anchors: Tensor,
    candidates: Tensor,
    *,
    scale: Scale = 1.0,
    bias: Scale = 0.0,
    rule: Rule | None = None,
    tile: int | None = None,
) -> Tensor:
    """Σ_j w_ij log(1 + exp(scale_i · s_ij + bias_i)), ``(n,)``; ``bias`` like ``scale``, the rest as above."""
    anchors, candidates = _check(anchors, candidates)
    with full_precision(anchors):
        scale, bias = _per_anchor(scale, anchors), _per_anchor(bias, anchors, name="bias")
        if _is_dense(anchors, candidates, tile):
            similarity = anchors @ candidates.T
            losses = softplus(scale[:, None] * similarity + bias[:, None])
            if rule is not None:
                losses = losses * rule(*_everything(anchors, candidates), similarity.detach())
            return losses.sum(1)
        return SoftplusSum.apply(anchors, candidates, scale, bias, rule, tile)


def _check(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    for name, rows in (("anchors", anchors), ("candidates", candidates)):
        if rows.ndim != 2:
            raise ValueError(f"{name} must be (rows, d), got shape {tuple(rows.shape)}.")
    if anchors.shape[1] != candidates.shape[1]:
        raise ValueError(f"anchors have {anchors.shape[1]} dimensions and candidates {candidates.shape[1]}.")
    if candidates is anchors:
        (raised,) = raise_precision(anchors)
        return raised, raised
    anchors, candidates = raise_precision(anchors, candidates)
    return anchors, candidates


def _check_matched(matched: int | None, anchors: int, candidates: int) -> None:
    if matched is not None and anchors != candidates:
        raise ValueError(f"matched needs a candidate for each anchor, got {candidates} for {anchors}.")
    if matched is not None and not 0 <= matched < max(1, anchors):
        raise ValueError(f"matched counts candidates from an anchor's own number, 0 to {anchors - 1}: {matched}.")


def _as_scale(scale: Scale, anchors: Tensor, name: str = "scale") -> Tensor:
    """0-d or ``(n,)``."""
    scale = torch.as_tensor(scale, dtype=anchors.dtype, device=anchors.device)
    if scale.ndim > 1 or (scale.ndim == 1 and len(scale) != len(anchors)):
        raise ValueError(f"{name} must be a number or one per anchor ({len(anchors)}), got {tuple(scale.shape)}.")
    return scale


def _per_anchor(scale: Scale, anchors: Tensor, name: str = "scale") -> Tensor:
    return _as_scale(scale, anchors, name).expand(len(anchors))


def _is_dense(anchors: Tensor, candidates: Tensor, tile: int | None) -> bool:
    pairs = len(anchors) * len(candidates)
    return tile == 0 or pairs == 0 or (tile is None and pairs <= DENSE_PAIRS)


def _tiled_logsumexp(
    anchors: Tensor,
    candidates: Tensor,
    scale: Tensor,
    rule: Rule | None,
    reduction: str,
    largest: float | None,
    matched: int | None,
    normalize: bool,
    tile: int | None,
) -> Tensor:
    """:func:`logsumexp` of a large problem: in two products if it can be, else in three, else in four."""
    if candidates is anchors and is_mutual(rule):
        bound = direct_bound(anchors, anchors, scale, largest, normalize=normalize)
        if bound is not None:
            return reduce_anchors(Symmetric.apply(anchors, scale, rule, bound, tile, matched, normalize), reduction)
    if reduction != "none" and torch.is_grad_enabled():
        share = 1 / len(anchors) if reduction == "mean" else 1.0
        total: Tensor = SummedLogSumExp.apply(
            anchors, candidates, scale, rule, largest, tile, matched, normalize, share
        )
        return total
    if normalize and may_be_held(candidates):  # both passes need them
        (anchors, candidates), normalize = _directions(anchors, candidates, normalize), False
    values = LogSumExp.apply(anchors, candidates, scale, rule, largest, tile, matched, normalize)
    return reduce_anchors(values, reduction)


def _directions(anchors: Tensor, candidates: Tensor, normalize: bool) -> tuple[Tensor, Tensor]:
    """The rows as they are compared; the very same tensor where they were."""
    if candidates is anchors:
        (anchors,) = unit(anchors, normalize=normalize)
        return anchors, anchors
    anchors, candidates = unit(anchors, candidates, normalize=normalize)
    return anchors, candidates


def _own_similarity(anchors: Tensor, candidates: Tensor, scale: Tensor, reduction: str, matched: int) -> Tensor:
    """What ``matched`` of :func:`logsumexp` subtracts."""
    if candidates is anchors and 2 * matched == len(anchors) and scale.ndim == 0 and reduction != "none":
        first, second = anchors.unflatten(0, (2, matched)).unbind()  # each pair twice
        total = 2 * paired_similarity(first, second, scale, "sum")
        return total / len(anchors) if reduction == "mean" else total
    return paired_similarity(anchors, candidates.roll(-matched, 0) if matched else candidates, scale, reduction)


def _everything(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    device = anchors.device
    return torch.arange(len(anchors), device=device), torch.arange(len(candidates), device=device)


def _dense_logits(similarity: Tensor, scale: Tensor, rule: Rule | None, anchors: Tensor, candidates: Tensor) -> Tensor:
    weight = None if rule is None else rule(*_everything(anchors, candidates), similarity.detach())
    return logits_of(similarity, scale, weight)


def _dense_logsumexp(anchors: Tensor, candidates: Tensor, scale: Tensor, rule: Rule | None) -> Tensor:
    similarity = anchors @ candidates.T
    return _dense_logits(similarity, scale.expand(len(anchors)), rule, anchors, candidates).logsumexp(1)


def _dense_softmax(
    anchors: Tensor, candidates: Tensor, scale: Tensor, rule: Rule | None, detach_weights: bool
) -> SoftmaxReduction:
    similarity = anchors @ candidates.T
    logits = _dense_logits(similarity, scale, rule, anchors, candidates)
    log_sum = logits.logsumexp(1)
    # A row without candidates is all −inf: its softmax is set to 0 instead of NaN.
    weights = (logits - log_sum.masked_fill(log_sum.isneginf(), 0.0)[:, None]).exp()
    if detach_weights:
        weights = weights.detach()
    return SoftmaxReduction(log_sum, (weights * similarity).sum(1))
