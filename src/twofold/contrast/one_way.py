"""log Σ_j w_ij exp(k_i s_ij) for each anchor, tile by tile.

With p_ij the softmax of a row, ∂/∂a_i = k_i Σ_j p_ij b_j, ∂/∂b_j = Σ_i k_i p_ij a_i and ∂/∂k_i = a_i · Σ_j p_ij b_j,
each times the gradient g_i that the value of anchor i receives. Rows of length d are normalized rather than tiles: so
all work on a tile is one exponential, one sum and the products of matrices.

:class:`LogSumExp` gives all values, and computes each tile again in the backward pass: four products.
:class:`SummedLogSumExp` gives their sum, for which all g_i are equal; so it forms the gradient while a tile is there:
three products, the fewest that are possible.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from twofold.contrast.autograd import tiled_backward, times
from twofold.contrast.directions import Matched
from twofold.contrast.pairs import Rule
from twofold.contrast.products import add_product, add_transposed, product, total_of
from twofold.contrast.tiles import RowTiles, kept_tile


class LogSumExp(torch.autograd.Function):
    """(anchors, candidates, scale, rule, largest logit or None, tile, matched, normalize) → ``(n,)``.

    The scale is ``(n,)`` or 0-d. With ``matched``, the shift of an anchor's own candidate, less k_i times the
    similarity to that; with ``normalize``, rows are compared by their directions.
    """

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        scale: Tensor,
        rule: Rule | None,
        largest: float | None,
        tile: int | None,
        matched: int | None,
        normalize: bool,
    ) -> Tensor:
        tiles = RowTiles(anchors, candidates, scale, rule, tile, largest=largest, normalize=normalize)
        log_sum, powers = _values(tiles)
        if tiles.doubtful(log_sum.exp()):
            tiles.how = tiles.how._replace(direct=False)
            log_sum, powers = _values(tiles)
        ctx.save_for_backward(anchors, candidates, scale, log_sum, *powers)
        ctx.rule, ctx.how, ctx.matched, ctx.normalize = rule, tiles.how, matched, normalize
        if matched is None:
            return log_sum
        return log_sum - scale * Matched(tiles.anchors, tiles.candidates, matched).similarity()

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates, scale, log_sum, *kept = ctx.saved_tensors
        tiles = RowTiles(anchors, candidates, scale, ctx.rule, how=ctx.how, normalize=ctx.normalize)
        gradients = _Gradients(ctx, anchors, candidates, scale)
        for number, rows in enumerate(tiles):
            if known := kept_tile(kept, number):
                powers, origin = [known[0]], known[1]
            else:
                powers, origin = tiles.powers(rows, origin=log_sum[rows])
            share = (origin - log_sum[rows]).exp()
            share = share.masked_fill(log_sum[rows].isneginf(), 0.0)  # no candidates
            gradients.add(tiles, rows, powers, grads[0][rows] * share)
            del powers  # before the next tile takes memory
        if ctx.matched is not None:
            gradients.match(tiles, ctx.matched, grads[0])
        gradients.to_given(tiles)
        return *gradients.total(scale), None, None, None, None, None


class SummedLogSumExp(torch.autograd.Function):
    """The sum of the values of :class:`LogSumExp` times ``share``, 0-d; takes ``share`` after what that takes."""

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        scale: Tensor,
        rule: Rule | None,
        largest: float | None,
        tile: int | None,
        matched: int | None,
        normalize: bool,
        share: float,
    ) -> Tensor:
        tiles = RowTiles(anchors, candidates, scale, rule, tile, largest=largest, keep=False, normalize=normalize)
        gradients = _Gradients(ctx, anchors, candidates, scale)
        total = _with_gradients(tiles, gradients, share)
        if total is None:
            tiles.how = tiles.how._replace(direct=False)
            gradients = _Gradients(ctx, anchors, candidates, scale)
            total = _with_gradients(tiles, gradients, share)
            assert total is not None
        if matched is not None:
            total -= gradients.match(tiles, matched, share)
        gradients.to_given(tiles)
        ctx.save_for_backward(*gradients.total(scale))
        return total

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        return *times(ctx.saved_tensors, grads[0]), None, None, None, None, None, None


def _values(tiles: RowTiles) -> tuple[Tensor, list[Tensor]]:
    """The values, and each tile's powers and what was subtracted from their logits, if tiles are kept."""
    log_sum, kept = tiles.scale.new_empty(len(tiles.scale)), []
    for rows in tiles:
        powers, origin = tiles.powers(rows)
        log_sum[rows] = origin + _totals(powers, log_sum.dtype).log()
        kept += [*powers, origin] if tiles.how.kept else []
    return log_sum, kept


def _with_gradients(tiles: RowTiles, gradients: _Gradients, share: float) -> Tensor | None:
    """The sum of the values times share, with its gradient added to ``gradients``; None if it cannot be trusted."""
    values = tiles.scale.new_empty(len(tiles.scale))
    for rows in tiles:
        powers, origin = tiles.powers(rows)
        totals = _totals(powers, values.dtype)
        if tiles.doubtful(totals):
            return None
        torch.add(origin, totals.log(), out=values[rows])
        factor = share / totals
        gradients.add(tiles, rows, powers, factor if tiles.rule is None else factor.masked_fill_(totals == 0, 0.0))
        del powers  # before the next tile takes memory
    return values.sum() * share


def _totals(blocks: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Sums over all columns of a tile's blocks."""
    first, *others = (total_of(block, 1, dtype) for block in blocks)
    for other in others:
        first += other
    return first


def _towards(tiles: RowTiles, powers: list[Tensor]) -> Tensor:
    """A tile's powers times candidates, ``(rows, d)``."""
    total = product(powers[0], tiles.turned_block(tiles.blocks[0])).to(tiles.scale.dtype)
    for columns, block in zip(tiles.blocks[1:], powers[1:], strict=True):
        add_product(total, block, tiles.turned_block(columns))
    return total


class _Gradients:
    """Gradients as far as they are needed, gathered over tiles."""

    def __init__(self, ctx: Any, anchors: Tensor, candidates: Tensor, scale: Tensor) -> None:
        of_anchors, of_candidates, of_scale = ctx.needs_input_grad[:3]
        self.anchors = torch.empty_like(anchors) if of_anchors else None
        self.candidates = torch.zeros_like(candidates) if of_candidates else None
        self.scale = anchors.new_empty(len(anchors)) if of_scale else None

    def add(self, tiles: RowTiles, rows: slice, powers: list[Tensor], factor: Tensor) -> None:
        """Those of a tile, whose softmax times g is ``factor`` times ``powers``."""
        strength = (factor * tiles.scale[rows])[:, None]
        if self.anchors is not None or self.scale is not None:
            towards = _towards(tiles, powers)
            if self.scale is not None:
                self.scale[rows] = factor * (towards * tiles.anchors[rows]).sum(1)
            if self.anchors is not None:
                torch.mul(towards, strength, out=self.anchors[rows])
            del towards  # before the next product takes memory
        if self.candidates is not None:
            own = tiles.anchors.times(rows, strength)
            for columns, block in zip(tiles.blocks, powers, strict=True):
                add_transposed(self.candidates[columns], block, own)

    def match(self, tiles: RowTiles, shift: int, share: float | Tensor) -> Tensor:
        """Each anchor's k_i s_ij with its own candidate, times share, summed; its gradient is subtracted.

        Args:
            tiles: Has the rows.
            shift: Of an anchor's own candidate.
            share: One number, or one for each anchor.
        """
        pairs, force = Matched(tiles.anchors, tiles.candidates, shift), tiles.scale * share
        similarity = pairs.similarity()
        pairs.pull(self.anchors, self.candidates, force)
        if self.scale is not None:
            self.scale -= similarity * share
        return torch.dot(force, similarity)

    def to_given(self, tiles: RowTiles) -> None:
        """Make gradients of rows as multiplied those of rows as given."""
        for side, gradient in ((tiles.anchors, self.anchors), (tiles.candidates, self.candidates)):
            if gradient is not None:
                side.to_given(gradient)

    def total(self, scale: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """In the shapes of the inputs."""
        of_scale = self.scale.sum() if self.scale is not None and scale.ndim == 0 else self.scale
        return self.anchors, self.candidates, of_scale
