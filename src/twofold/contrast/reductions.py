"""Reductions over all anchor-candidate pairs in O(n·d) memory: what nearly every objective of the field is made of.

With s_ij = a_i · b_j, a scale k_i (usually 1/τ) and weights w_ij that a pair rule gives:

- :func:`logsumexp`      log Σ_j w_ij exp(k_i s_ij)                who repels
- :func:`softmax_mean`   Σ_j p_ij s_ij,  p_i = softmax_j(k_i s_ij)  forces that depend on distance
- :func:`weighted_sum`   Σ_j w_ij s_ij                              who attracts, and by how much
- :func:`softplus_sum`   Σ_j w_ij log(1 + exp(k_i s_ij + b))        pairwise logistic losses

Small problems are computed densely with plain torch. Larger ones go tile by tile; the backward pass recomputes each
tile, so neither pass keeps an n × m matrix. Both paths give the same numbers and gradients, in anchors, candidates,
scale and bias. Nothing is normalized here; the objectives do that. A row whose candidates are all left out gives
−inf from :func:`logsumexp`, 0 from the others, and no gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twofold.contrast.checks import raise_precision
from twofold.contrast.pairs import Rule

Scale = float | Tensor
Backward = TypeVar("Backward", bound=Callable[..., Any])

DENSE_PAIRS = 1 << 20
"""Up to this many pairs (4 MB in float32) the dense path is taken: there is nothing to save."""
ROW_TILE, COLUMN_TILE = 512, 4096


class SoftmaxReduction(NamedTuple):
    """What :func:`softmax_reduce` gives, each ``(n,)``."""

    logsumexp: Tensor
    mean: Tensor


class WeightedSum(NamedTuple):
    """What :func:`weighted_sum` gives, each ``(n,)``; ``weight`` = Σ_j w_ij carries no gradient."""

    sum: Tensor
    weight: Tensor


def logsumexp(
    anchors: Tensor, candidates: Tensor, *, scale: Scale = 1.0, rule: Rule | None = None, tile: int | None = None
) -> Tensor:
    """log Σ_j w_ij exp(scale_i · s_ij), one value per anchor, ``(n,)``.

    Args:
        anchors: ``(n, d)``.
        candidates: ``(m, d)``.
        scale: A number, a 0-d tensor or ``(n,)``; usually 1/temperature. Differentiable.
        rule: The pair rule that gives w_ij; all ones without it.
        tile: Rows to a tile; None chooses by size, 0 forces the dense path.
    """
    return softmax_reduce(anchors, candidates, scale=scale, rule=rule, tile=tile).logsumexp


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
    with _full_precision(anchors):
        scale = _per_anchor(scale, anchors)
        if _is_dense(anchors, candidates, tile):
            return _dense_softmax(anchors, candidates, scale, rule, detach_weights)
        return SoftmaxReduction(*_Softmax.apply(anchors, candidates, scale, rule, detach_weights, tile or ROW_TILE))


def weighted_sum(anchors: Tensor, candidates: Tensor, *, rule: Rule, tile: int | None = None) -> WeightedSum:
    """Σ_j w_ij s_ij and Σ_j w_ij, each ``(n,)``. Arguments as in :func:`logsumexp`."""
    anchors, candidates = _check(anchors, candidates)
    with _full_precision(anchors):
        if _is_dense(anchors, candidates, tile):
            similarity = anchors @ candidates.T
            weight = rule(*_everything(anchors, candidates), similarity.detach()).to(similarity.dtype)
            return WeightedSum((weight * similarity).sum(1), weight.sum(1))
        return WeightedSum(*_Weighted.apply(anchors, candidates, rule, tile or ROW_TILE))


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
    with _full_precision(anchors):
        scale, bias = _per_anchor(scale, anchors), _per_anchor(bias, anchors, name="bias")
        if _is_dense(anchors, candidates, tile):
            similarity = anchors @ candidates.T
            losses = softplus(scale[:, None] * similarity + bias[:, None])
            if rule is not None:
                losses = losses * rule(*_everything(anchors, candidates), similarity.detach())
            return losses.sum(1)
        return _Softplus.apply(anchors, candidates, scale, bias, rule, tile or ROW_TILE)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), exact everywhere; torch's own is cut to x above 20."""
    return -torch.nn.functional.logsigmoid(-x)


def _check(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, ...]:
    for name, rows in (("anchors", anchors), ("candidates", candidates)):
        if rows.ndim != 2:
            raise ValueError(f"{name} must be (rows, d), got shape {tuple(rows.shape)}.")
    if anchors.shape[1] != candidates.shape[1]:
        raise ValueError(f"anchors have {anchors.shape[1]} dimensions and candidates {candidates.shape[1]}.")
    return raise_precision(anchors, candidates)


def _full_precision(anchors: Tensor) -> torch.autocast:
    return torch.autocast(anchors.device.type, enabled=False)


def _per_anchor(scale: Scale, anchors: Tensor, name: str = "scale") -> Tensor:
    scale = torch.as_tensor(scale, dtype=anchors.dtype, device=anchors.device)
    if scale.ndim > 1 or (scale.ndim == 1 and len(scale) != len(anchors)):
        raise ValueError(f"{name} must be a number or one per anchor ({len(anchors)}), got {tuple(scale.shape)}.")
    return scale.expand(len(anchors))


def _is_dense(anchors: Tensor, candidates: Tensor, tile: int | None) -> bool:
    pairs = len(anchors) * len(candidates)
    return tile == 0 or pairs == 0 or (tile is None and pairs <= DENSE_PAIRS)


def _everything(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    device = anchors.device
    return torch.arange(len(anchors), device=device), torch.arange(len(candidates), device=device)


def _row_tiles(anchors: Tensor, tile: int) -> Iterator[Tensor]:
    return iter(torch.arange(len(anchors), device=anchors.device).split(tile))


def _column_tiles(candidates: Tensor, tile: int) -> Iterator[Tensor]:
    return iter(torch.arange(len(candidates), device=candidates.device).split(max(tile, COLUMN_TILE)))


def _logits(similarity: Tensor, scale: Tensor, rule: Rule | None, rows: Tensor, columns: Tensor) -> Tensor:
    """scale · s + log w, −inf where left out."""
    logits = scale[:, None] * similarity
    if rule is None:
        return logits
    weight = rule(rows, columns, similarity.detach())
    if weight.dtype == torch.bool:
        return logits.masked_fill(~weight, float("-inf"))
    left_out = weight == 0
    # Masked last, so that the backward pass of a row without candidates meets no −inf − (−inf).
    return (logits + weight.to(logits.dtype).masked_fill(left_out, 1.0).log()).masked_fill(left_out, float("-inf"))


def _dense_softmax(
    anchors: Tensor, candidates: Tensor, scale: Tensor, rule: Rule | None, detach_weights: bool
) -> SoftmaxReduction:
    similarity = anchors @ candidates.T
    logits = _logits(similarity, scale, rule, *_everything(anchors, candidates))
    log_sum = logits.logsumexp(1)
    # A row without candidates is all −inf: its softmax is set to 0 instead of NaN.
    weights = (logits - log_sum.masked_fill(log_sum.isneginf(), 0.0)[:, None]).exp()
    if detach_weights:
        weights = weights.detach()
    return SoftmaxReduction(log_sum, (weights * similarity).sum(1))


def _without_autocast(backward: Backward) -> Backward:
    """Recompute the tiles as the forward pass did, also where ``loss.backward()`` is called under autocast."""

    @wraps(backward)
    def full_precision(ctx: Any, *grads: Tensor) -> Any:
        with _full_precision(grads[0]):
            return backward(ctx, *grads)

    return cast(Backward, full_precision)


class _Softmax(torch.autograd.Function):
    """Tiled :func:`softmax_reduce`, with a running maximum so that any scale is safe."""

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, candidates: Tensor, scale: Tensor, rule: Rule | None, detach: bool, tile: int
    ) -> tuple[Tensor, Tensor]:
        log_sum, mean = torch.empty_like(scale), torch.empty_like(scale)
        for rows in _row_tiles(anchors, tile):
            own, k = anchors[rows], scale[rows]
            top = torch.full_like(k, float("-inf"))
            total, moment = torch.zeros_like(k), torch.zeros_like(k)
            for columns in _column_tiles(candidates, tile):
                similarity = own @ candidates[columns].T
                logits = _logits(similarity, k, rule, rows, columns)
                new_top = torch.maximum(top, logits.amax(1))
                origin = new_top.masked_fill(new_top.isneginf(), 0.0)
                weights = (logits - origin[:, None]).exp_()
                kept = (top - origin).exp()
                total = total * kept + weights.sum(1)
                moment = moment * kept + (weights * similarity).sum(1)
                top = new_top
            log_sum[rows] = top + total.log()
            mean[rows] = moment / total.masked_fill(total == 0, 1.0)
        ctx.save_for_backward(anchors, candidates, scale, log_sum, mean)
        ctx.rule, ctx.detach, ctx.tile = rule, detach, tile
        return log_sum, mean

    @staticmethod
    @once_differentiable
    @_without_autocast
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        grad_log_sum, grad_mean = grads
        anchors, candidates, scale, log_sum, mean = ctx.saved_tensors
        # ∂logsumexp/∂s_j = k p_j;  ∂mean/∂s_j = p_j (1 + k (s_j − mean)): together p_j (constant + slope · s_j).
        slope = torch.zeros_like(scale) if ctx.detach else grad_mean * scale
        constant = grad_log_sum * scale + grad_mean - slope * mean
        origin = log_sum.masked_fill(log_sum.isneginf(), 0.0)
        grad_anchors, grad_candidates = torch.zeros_like(anchors), torch.zeros_like(candidates)
        second = torch.zeros_like(scale)
        for rows in _row_tiles(anchors, ctx.tile):
            own = anchors[rows]
            for columns in _column_tiles(candidates, ctx.tile):
                other = candidates[columns]
                similarity = own @ other.T
                weights = _logits(similarity, scale[rows], ctx.rule, rows, columns)
                weights = weights.sub_(origin[rows, None]).exp_()
                if not ctx.detach:
                    second[rows] += (weights * similarity * similarity).sum(1)
                force = weights.mul_(similarity.mul_(slope[rows, None]).add_(constant[rows, None]))
                grad_anchors[rows] += force @ other
                grad_candidates[columns] += force.T @ own
        spread = torch.zeros_like(scale) if ctx.detach else second - mean**2
        grad_scale = grad_log_sum * mean + grad_mean * spread
        return grad_anchors, grad_candidates, grad_scale, None, None, None


class _Weighted(torch.autograd.Function):
    """Tiled :func:`weighted_sum`."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, candidates: Tensor, rule: Rule, tile: int) -> tuple[Tensor, Tensor]:
        sums, weights = anchors.new_zeros(len(anchors)), anchors.new_zeros(len(anchors))
        for rows in _row_tiles(anchors, tile):
            for columns in _column_tiles(candidates, tile):
                similarity = anchors[rows] @ candidates[columns].T
                weight = rule(rows, columns, similarity).to(similarity.dtype)
                sums[rows] += (weight * similarity).sum(1)
                weights[rows] += weight.sum(1)
        ctx.save_for_backward(anchors, candidates)
        ctx.rule, ctx.tile = rule, tile
        ctx.mark_non_differentiable(weights)
        return sums, weights

    @staticmethod
    @once_differentiable
    @_without_autocast
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates = ctx.saved_tensors
        grad_anchors, grad_candidates = torch.zeros_like(anchors), torch.zeros_like(candidates)
        for rows in _row_tiles(anchors, ctx.tile):
            own = anchors[rows]
            for columns in _column_tiles(candidates, ctx.tile):
                other = candidates[columns]
                similarity = own @ other.T
                force = ctx.rule(rows, columns, similarity).to(similarity.dtype) * grads[0][rows, None]
                grad_anchors[rows] += force @ other
                grad_candidates[columns] += force.T @ own
        return grad_anchors, grad_candidates, None, None


class _Softplus(torch.autograd.Function):
    """Tiled :func:`softplus_sum`."""

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, candidates: Tensor, scale: Tensor, bias: Tensor, rule: Rule | None, tile: int
    ) -> Tensor:
        sums = anchors.new_zeros(len(anchors))
        for rows in _row_tiles(anchors, tile):
            for columns in _column_tiles(candidates, tile):
                similarity = anchors[rows] @ candidates[columns].T
                losses = softplus(scale[rows, None] * similarity + bias[rows, None])
                if rule is not None:
                    losses = losses * rule(rows, columns, similarity)
                sums[rows] += losses.sum(1)
        ctx.save_for_backward(anchors, candidates, scale, bias)
        ctx.rule, ctx.tile = rule, tile
        return sums

    @staticmethod
    @once_differentiable
    @_without_autocast
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates, scale, bias = ctx.saved_tensors
        grad_anchors, grad_candidates = torch.zeros_like(anchors), torch.zeros_like(candidates)
        grad_scale, grad_bias = torch.zeros_like(scale), torch.zeros_like(scale)
        for rows in _row_tiles(anchors, ctx.tile):
            own, k = anchors[rows], scale[rows, None]
            for columns in _column_tiles(candidates, ctx.tile):
                other = candidates[columns]
                similarity = own @ other.T
                force = torch.sigmoid(k * similarity + bias[rows, None]) * grads[0][rows, None]
                if ctx.rule is not None:
                    force = force * ctx.rule(rows, columns, similarity)
                grad_scale[rows] += (force * similarity).sum(1)
                grad_bias[rows] += force.sum(1)
                force = force * k
                grad_anchors[rows] += force @ other
                grad_candidates[columns] += force.T @ own
        return grad_anchors, grad_candidates, grad_scale, grad_bias, None, None
