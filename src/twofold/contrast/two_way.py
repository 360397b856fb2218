"""log Σ exp along the rows and the columns of one matrix of similarities, whose tiles are computed once for both.

Only where powers can be formed directly (see :mod:`twofold.contrast.tiles`), since a running maximum both ways would
cost more than it saves. With u_i = g_i k_i / Σ_j exp(k_i s_ij) of a row, and v_j likewise of a column, the gradient of
a similarity is W_ij = exp(k s_ij)(u_i + v_j), and those of anchors and candidates are W b and Wᵀ a.

:class:`Symmetric` has the same rows as anchors and candidates (NT-Xent): columns are rows, and tiles above the diagonal
stand for those below, so both passes together take as long as two full products. :class:`BothWays` (CLIP) takes four
where two one-way reductions take six.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from twofold.contrast.autograd import tiled_backward
from twofold.contrast.pairs import AllBut
from twofold.contrast.products import add_product, add_transposed, total_of
from twofold.contrast.tiles import (
    KEPT_NUMBERS,
    LARGEST_DIRECT,
    Buffer,
    How,
    RowTiles,
    dtype_for,
    kept_tile,
    largest_logit,
    leave_out,
    spans,
    turned,
)

STRIP_ROWS, STRIP_COLUMNS = 512, 2048
"""Most rows and columns of a tile of a symmetric matrix."""
FORCE_ROWS = 16
"""Rows of a tile that are turned into W at a time on CPUs: what that takes is then small beside the tile."""


def direct_bound(anchors: Tensor, candidates: Tensor, scale: Tensor, largest: float | None = None) -> float | None:
    """The largest logit, if these functions apply: it is small, and a scale that is learned is one number other than 0.

    None where they do not; on accelerators also where ``largest``, that bound, is not known already.
    """
    largest = largest_logit(anchors, candidates, scale) if largest is None else largest
    if not largest <= LARGEST_DIRECT:
        return None
    if not scale.requires_grad:  # asked first: reading a scale back would stall an accelerator
        return largest
    return largest if scale.ndim == 0 and bool(scale != 0) else None


class Symmetric(torch.autograd.Function):
    """(rows, scale, mutual rule, largest logit, tile) → log Σ_j w_ij exp(k_i r_i · r_j), ``(n,)``."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, scale: Tensor, rule: AllBut | None, largest: float, tile: int | None) -> Tensor:
        kept = len(rows) ** 2 <= 2 * KEPT_NUMBERS
        how = How(min(tile or STRIP_ROWS, len(rows)), True, dtype_for(rows, rule, largest), kept)
        strips, powers = _Strips(rows, scale, rule, how), []
        totals = rows.new_zeros(len(rows))
        for upper, lower in strips:
            own, others = strips.powers(upper, lower)
            totals[upper] += total_of(own, 1, totals.dtype)
            below, right = _off_diagonal(upper, lower)
            if right.start < own.shape[1]:
                totals[below] += total_of(others[:, right], 0, totals.dtype)
            powers += [own, others] if kept else []
        ctx.save_for_backward(rows, scale, totals, *powers)
        ctx.rule, ctx.how = rule, how
        return totals.log()

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        rows, scale, totals, *kept = ctx.saved_tensors
        strips, gradient = _Strips(rows, scale, ctx.rule, ctx.how), torch.zeros_like(rows)
        force = (grads[0] * scale / totals).masked_fill(totals == 0, 0.0)
        for number, (upper, lower) in enumerate(strips):
            own, others = kept_tile(kept, number) or strips.powers(upper, lower)
            pull = _pull(own, others, force[upper], force[lower], strips.forces, in_place=not kept)
            add_product(gradient[upper], pull, strips.turned[:, lower])
            below, right = _off_diagonal(upper, lower)
            if right.start < pull.shape[1]:
                add_transposed(gradient[below], pull[:, right], strips.cast[upper])
        # Σ_ij W_ij s_ij counts each anchor's share in both of its roles.
        of_scale = (rows * gradient).sum() / (2 * scale) if ctx.needs_input_grad[1] else None
        return gradient, of_scale, None, None, None


class BothWays(torch.autograd.Function):
    """(anchors, candidates, scale, largest logit, tile) → log Σ_j exp(k_i s_ij) and log Σ_i exp(k_j s_ij), ``(n,)``."""

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, candidates: Tensor, scale: Tensor, largest: float, tile: int | None
    ) -> tuple[Tensor, Tensor]:
        tiles = RowTiles(anchors, candidates, scale, None, tile, largest=largest, two_at_once=True)
        along_rows, along_columns = anchors.new_zeros(len(anchors)), anchors.new_zeros(len(candidates))
        powers: list[Tensor] = []
        for rows in tiles:
            for columns in tiles.blocks:
                own, others = _both_powers(tiles, rows, columns, scale)
                along_rows[rows] += total_of(own, 1, anchors.dtype)
                along_columns[columns] += total_of(others, 0, anchors.dtype)
                powers += [own, others] if tiles.how.kept else []
        ctx.save_for_backward(anchors, candidates, scale, along_rows, along_columns, *powers)
        ctx.how = tiles.how
        return along_rows.log(), along_columns.log()

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates, scale, along_rows, along_columns, *kept = ctx.saved_tensors
        tiles = RowTiles(anchors, candidates, scale, how=ctx.how)
        force, counterforce = grads[0] * scale / along_rows, grads[1] * scale / along_columns
        forces = _forces(tiles.candidates, tiles.how, len(candidates))
        of_anchors, of_candidates = torch.zeros_like(anchors), torch.zeros_like(candidates)
        for number, rows in enumerate(tiles):
            for columns in tiles.blocks:
                own, others = kept_tile(kept, number) or _both_powers(tiles, rows, columns, scale)
                pull = _pull(own, others, force[rows], counterforce[columns], forces, in_place=not kept)
                add_product(of_anchors[rows], pull, tiles.turned[:, columns])
                add_transposed(of_candidates[columns], pull, anchors[rows])
        of_scale = (anchors * of_anchors).sum() / scale if ctx.needs_input_grad[2] else None
        return of_anchors, of_candidates, of_scale, None, None


def _both_powers(tiles: RowTiles, rows: slice, columns: slice, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Powers of a block for the softmax along rows and along columns: the same tensor if k is the same for all."""
    if scale.ndim == 0:
        powers = tiles.block(rows, columns)
        return powers, powers
    similarity, scale = tiles.similarity(rows, columns), scale.to(tiles.how.dtype)
    own = tiles.second.times(similarity, scale[rows, None]).exp_()
    return own, similarity.mul_(scale[columns]).exp_()


def _forces(like: Tensor, how: How, columns: int) -> Buffer:
    """Memory for :func:`_pull`."""
    a_few = like.device.type == "cpu" and not how.kept
    return Buffer(like, min(FORCE_ROWS, how.step) * columns if a_few else how.step * columns, fresh=False)


def _pull(
    own: Tensor, others: Tensor, force: Tensor, counterforce: Tensor, forces: Buffer, *, in_place: bool
) -> Tensor:
    """W of a tile: in its place, or if that must last, in memory of its own or of ``forces``, until the next tile."""
    force, counterforce = force.to(own.dtype), counterforce.to(own.dtype)
    if own.data_ptr() != others.data_ptr():
        own = own.mul_(force[:, None]) if in_place else own * force[:, None]
        return own.addcmul_(others, counterforce.expand_as(others))
    if not in_place:
        return forces.sums(force, counterforce).mul_(own)
    rows = forces.rows(len(counterforce))
    for part, strength in zip(own.split(rows), force.split(rows), strict=True):
        part.mul_(forces.sums(strength, counterforce))
    return own


def _off_diagonal(upper: slice, lower: slice) -> tuple[slice, slice]:
    """Of the columns of a tile those that stand for a tile below the diagonal too: as rows, and within the tile."""
    below = slice(max(lower.start, upper.stop), lower.stop)
    return below, slice(below.start - lower.start, None)


class _Strips:
    """Tiles of rows with themselves, each strip of rows from its square on the diagonal to the right."""

    def __init__(self, rows: Tensor, scale: Tensor, rule: AllBut | None, how: How) -> None:
        self.how, self.rule, self.uniform = how, rule, scale.ndim == 0
        self.cast = rows.to(self.how.dtype)
        self.rows, self.scale = rows, scale
        self.turned = turned(self.cast, how.step)
        numbers = how.step * min(len(rows), max(STRIP_COLUMNS, how.step))
        self._buffer, self._second = (Buffer(self.cast, numbers, fresh=how.kept) for _ in range(2))
        self.forces = _forces(self.cast, how, numbers // how.step)

    def __iter__(self) -> Iterator[tuple[slice, slice]]:
        total = len(self.cast)
        for upper in spans(total, self.how.step):
            for lower in spans(total - upper.start, max(STRIP_COLUMNS, self.how.step)):
                yield upper, slice(upper.start + lower.start, upper.start + lower.stop)

    def powers(self, upper: slice, lower: slice) -> tuple[Tensor, Tensor]:
        """w_ij exp(k_i s_ij) and w_ij exp(k_j s_ij), ``(upper, lower)``: the same tensor if k is the same for all."""
        if self.uniform:
            scaled = (self.rows[upper] * self.scale).to(self.how.dtype)
            powers = self._leave_out(self._buffer.product(scaled, self.cast[lower]).exp_(), upper, lower)
            return powers, powers
        similarity, scale = self._buffer.product(self.cast[upper], self.cast[lower]), self.scale.to(self.how.dtype)
        own = self._second.times(similarity, scale[upper, None]).exp_()
        others = similarity.mul_(scale[lower]).exp_()
        return self._leave_out(own, upper, lower), self._leave_out(others, upper, lower)

    def _leave_out(self, powers: Tensor, upper: slice, lower: slice) -> Tensor:
        if self.rule is None:
            return powers
        if self.rule.itself:
            powers.diagonal(upper.start - lower.start).zero_()
            return powers
        leave_out(powers, self.rule.positions[upper] - lower.start)
        return powers
