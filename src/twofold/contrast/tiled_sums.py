"""Sums over all candidates of each anchor, tile by tile: :mod:`twofold.contrast.reductions` of large problems.

The forward passes keep the inputs and a number or two for each anchor; the backward passes compute each tile again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from twofold.contrast.autograd import tiled_backward
from twofold.contrast.pairs import Rule
from twofold.contrast.products import add_transposed, product_into
from twofold.contrast.tiles import RowTiles, exact_tiles, logits_of


class SoftmaxMean(torch.autograd.Function):
    """(anchors, candidates, scale, rule, detach, tile) → log Σ_j w exp(k s) and Σ_j p s, each ``(n,)``."""

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, candidates: Tensor, scale: Tensor, rule: Rule | None, detach: bool, tile: int | None
    ) -> tuple[Tensor, Tensor]:
        log_sum, mean = torch.empty_like(scale), torch.empty_like(scale)
        tiles = exact_tiles(anchors, candidates, rule, tile)
        for rows in tiles:
            similarity, logits = _logits(tiles, rows, scale)
            log_sum[rows] = logits.logsumexp(1)
            weights = logits.sub_(_finite(log_sum[rows])[:, None]).exp_()
            mean[rows] = weights.mul_(similarity).sum(1)
        ctx.save_for_backward(anchors, candidates, scale, log_sum, mean)
        ctx.rule, ctx.detach, ctx.tile = rule, detach, tile
        return log_sum, mean

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        grad_log_sum, grad_mean = grads
        anchors, candidates, scale, log_sum, mean = ctx.saved_tensors
        # ∂logsumexp/∂s_j = k p_j;  ∂mean/∂s_j = p_j (1 + k (s_j − mean)): together p_j (constant + slope · s_j).
        slope = torch.zeros_like(scale) if ctx.detach else grad_mean * scale
        constant = grad_log_sum * scale + grad_mean - slope * mean
        grad_anchors, grad_candidates = torch.empty_like(anchors), torch.zeros_like(candidates)
        second = torch.zeros_like(scale)
        tiles = exact_tiles(anchors, candidates, ctx.rule, ctx.tile)
        for rows in tiles:
            similarity, logits = _logits(tiles, rows, scale)
            weights = logits.sub_(_finite(log_sum[rows])[:, None]).exp_()
            if not ctx.detach:
                second[rows] = (weights * similarity * similarity).sum(1)
            force = weights.mul_(similarity.mul_(slope[rows, None]).add_(constant[rows, None]))
            product_into(grad_anchors[rows], force, tiles.turned)
            add_transposed(grad_candidates, force, anchors[rows])
        spread = torch.zeros_like(scale) if ctx.detach else second - mean**2
        return grad_anchors, grad_candidates, grad_log_sum * mean + grad_mean * spread, None, None, None


class RuledSum(torch.autograd.Function):
    """(anchors, candidates, rule, tile) → Σ_j w s and Σ_j w, each ``(n,)``."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, candidates: Tensor, rule: Rule, tile: int | None) -> tuple[Tensor, Tensor]:
        sums, totals = anchors.new_empty(len(anchors)), anchors.new_empty(len(anchors))
        tiles = exact_tiles(anchors, candidates, rule, tile)
        for rows in tiles:
            similarity = tiles.similarity(rows)
            weight = tiles.weight(rows, similarity)
            assert weight is not None
            totals[rows] = weight.sum(1, dtype=totals.dtype)
            sums[rows] = similarity.mul_(weight).sum(1)
        ctx.save_for_backward(anchors, candidates)
        ctx.rule, ctx.tile = rule, tile
        ctx.mark_non_differentiable(totals)
        return sums, totals

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates = ctx.saved_tensors
        grad_anchors, grad_candidates = torch.empty_like(anchors), torch.zeros_like(candidates)
        tiles = exact_tiles(anchors, candidates, ctx.rule, ctx.tile)
        for rows in tiles:
            weight = tiles.weight(rows, tiles.similarity(rows))
            assert weight is not None
            force = weight.to(anchors.dtype) * grads[0][rows, None]
            product_into(grad_anchors[rows], force, tiles.turned)
            add_transposed(grad_candidates, force, anchors[rows])
        return grad_anchors, grad_candidates, None, None


class SoftplusSum(torch.autograd.Function):
    """(anchors, candidates, scale, bias, rule, tile) → Σ_j w log(1 + exp(k s + b)), ``(n,)``."""

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        scale: Tensor,
        bias: Tensor,
        rule: Rule | None,
        tile: int | None,
    ) -> Tensor:
        sums = anchors.new_empty(len(anchors))
        tiles = exact_tiles(anchors, candidates, rule, tile)
        for rows in tiles:
            similarity = tiles.similarity(rows)
            weight = tiles.weight(rows, similarity)
            losses = softplus(similarity.mul_(scale[rows, None]).add_(bias[rows, None]))
            sums[rows] = (losses if weight is None else losses.mul_(weight)).sum(1)
        ctx.save_for_backward(anchors, candidates, scale, bias)
        ctx.rule, ctx.tile = rule, tile
        return sums

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates, scale, bias = ctx.saved_tensors
        grad_anchors, grad_candidates = torch.empty_like(anchors), torch.zeros_like(candidates)
        grad_scale, grad_bias = torch.empty_like(scale), torch.empty_like(scale)
        tiles = exact_tiles(anchors, candidates, ctx.rule, ctx.tile)
        for rows in tiles:
            similarity, k = tiles.similarity(rows), scale[rows, None]
            weight = tiles.weight(rows, similarity)
            force = torch.sigmoid(k * similarity + bias[rows, None]).mul_(grads[0][rows, None])
            if weight is not None:
                force.mul_(weight)
            grad_scale[rows] = similarity.mul_(force).sum(1)
            grad_bias[rows] = force.sum(1)
            force.mul_(k)
            product_into(grad_anchors[rows], force, tiles.turned)
            add_transposed(grad_candidates, force, anchors[rows])
        return grad_anchors, grad_candidates, grad_scale, grad_bias, None, None


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), exact everywhere; torch's own is cut to x above 20."""
    return -torch.nn.functional.logsigmoid(-x)


def _logits(tiles: RowTiles, rows: slice, scale: Tensor) -> tuple[Tensor, Tensor]:
    """s and k s + log w of a tile; both may be overwritten."""
    similarity = tiles.similarity(rows)
    return similarity, logits_of(similarity, scale[rows], tiles.weight(rows, similarity))


def _finite(log_sum: Tensor) -> Tensor:
    """0 for a row without candidates, whose logits are all −∞: its softmax is then 0 instead of NaN."""
    return log_sum.masked_fill(log_sum.isneginf(), 0.0)
