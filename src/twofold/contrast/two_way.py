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
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from twofold.contrast.autograd import tiled_backward
from twofold.contrast.directions import Matched, Rows, sides
from twofold.contrast.pairs import AllBut
from twofold.contrast.products import add_product, add_transposed, total_of
from twofold.contrast.tiles import (
    KEPT_NUMBERS,
    LARGEST_DIRECT,
    ROW_TILE,
    Buffer,
    How,
    dtype_for,
    kept_tile,
    largest_logit,
    leave_out,
    row_tile,
    spans,
    turned,
)

COLUMNS, REDUCED_COLUMNS = 2048, 4096
"""Most columns of a tile, and of one in bfloat16, which takes as much memory."""
FORCE_ROWS = 16
"""Rows of a tile that are turned into W at a time on CPUs: what that takes is then small beside the tile."""


def direct_bound(
    anchors: Tensor, candidates: Tensor, scale: Tensor, largest: float | None = None, *, normalize: bool = False
) -> float | None:
    """The largest logit, if these functions apply: it is small, and a scale that is learned is one number other than 0.

    None where they do not; on accelerators also where ``largest``, that bound, is not known already.
    """
    largest = largest_logit(anchors, candidates, scale, normalize=normalize) if largest is None else largest
    if not largest <= LARGEST_DIRECT:
        return None
    if not scale.requires_grad:  # asked first: reading a scale back would stall an accelerator
        return largest
    return largest if scale.ndim == 0 and bool(scale != 0) else None


class Symmetric(torch.autograd.Function):
    """(rows, scale, mutual rule, largest logit, tile, matched, normalize) → log Σ_j w_ij exp(k_i r_i · r_j), ``(n,)``.

    With ``matched``, the shift of each row's own candidate, less k_i times the similarity to that; with ``normalize``,
    r are the directions of the rows.
    """

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        scale: Tensor,
        rule: AllBut | None,
        largest: float,
        tile: int | None,
        matched: int | None,
        normalize: bool,
    ) -> Tensor:
        kept = len(rows) ** 2 <= 2 * KEPT_NUMBERS
        how = How(min(tile or ROW_TILE, len(rows)), True, dtype_for(rows, rule, largest), kept)
        tiles, powers = _Tiles(rows, rows, scale, rule, how, normalize), []
        totals = rows.new_zeros(len(rows))
        for tile_of in tiles:
            own, others = tiles.powers(tile_of)
            totals[tile_of.rows] += total_of(own, 1, totals.dtype)
            below, right = _off_diagonal(tile_of)
            if right.start < own.shape[1]:
                totals[below] += total_of(others[:, right], 0, totals.dtype)
            powers += [own, others] if kept else []
            del own, others  # before the next tile takes memory
        ctx.save_for_backward(rows, scale, totals, *powers)
        ctx.rule, ctx.how, ctx.matched, ctx.normalize = rule, how, matched, normalize
        values = totals.log()
        return values if matched is None else values - scale * tiles.matched(matched).similarity()

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        rows, scale, totals, *kept = ctx.saved_tensors
        tiles = _Tiles(rows, rows, scale, ctx.rule, ctx.how, ctx.normalize)
        gradient = torch.zeros_like(rows)
        force = (grads[0] * scale / totals).masked_fill(totals == 0, 0.0)
        for number, tile in enumerate(tiles):
            own, others = kept_tile(kept, number) or tiles.powers(tile)
            pull = _pull(own, others, force[tile.rows], force[tile.columns], tiles.forces, in_place=not kept)
            add_product(gradient[tile.rows], pull, tile.turned)
            below, right = _off_diagonal(tile)
            if right.start < pull.shape[1]:
                add_transposed(gradient[below], pull[:, right], tiles.anchors[tile.rows])
            del own, others, pull
        if ctx.matched is not None:
            tiles.matched(ctx.matched).pull(gradient, gradient, grads[0] * scale)
        # Σ_ij W_ij s_ij counts each anchor's share in both of its roles.
        of_scale = tiles.anchors.dot(gradient).sum() / (2 * scale) if ctx.needs_input_grad[1] else None
        tiles.anchors.to_given(gradient)
        return gradient, of_scale, None, None, None, None, None


class BothWays(torch.autograd.Function):
    """log Σ_j exp(k_i s_ij) and log Σ_i exp(k_j s_ij), ``(n,)``.

    Takes (anchors, candidates, scale, largest logit, tile, matched, normalize): with ``matched``, k_i s_ii is
    subtracted from both; with ``normalize``, rows are compared by their directions.
    """

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        candidates: Tensor,
        scale: Tensor,
        largest: float,
        tile: int | None,
        matched: bool,
        normalize: bool,
    ) -> tuple[Tensor, Tensor]:
        dtype, kept = dtype_for(anchors, None, largest), len(anchors) ** 2 <= KEPT_NUMBERS
        how = How(min(tile or row_tile(dtype, like=anchors), len(anchors)), True, dtype, kept)
        tiles = _Tiles(anchors, candidates, scale, None, how, normalize)
        along_rows, along_columns = anchors.new_zeros(len(anchors)), anchors.new_zeros(len(candidates))
        powers: list[Tensor] = []
        for tile_of in tiles:
            own, others = tiles.powers(tile_of)
            along_rows[tile_of.rows] += total_of(own, 1, anchors.dtype)
            along_columns[tile_of.columns] += total_of(others, 0, anchors.dtype)
            powers += [own, others] if kept else []
            del own, others  # before the next tile takes memory
        ctx.save_for_backward(anchors, candidates, scale, along_rows, along_columns, *powers)
        ctx.how, ctx.matched, ctx.normalize = how, matched, normalize
        forth, back = along_rows.log(), along_columns.log()
        if matched:
            similarity = scale * tiles.matched(0).similarity()
            forth -= similarity
            back -= similarity
        return forth, back

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates, scale, along_rows, along_columns, *kept = ctx.saved_tensors
        tiles = _Tiles(anchors, candidates, scale, None, ctx.how, ctx.normalize)
        force, counterforce = grads[0] * scale / along_rows, grads[1] * scale / along_columns
        of_anchors, of_candidates = torch.zeros_like(anchors), torch.zeros_like(candidates)
        for number, tile in enumerate(tiles):
            own, others = kept_tile(kept, number) or tiles.powers(tile)
            pull = _pull(own, others, force[tile.rows], counterforce[tile.columns], tiles.forces, in_place=not kept)
            add_product(of_anchors[tile.rows], pull, tile.turned)
            add_transposed(of_candidates[tile.columns], pull, tiles.anchors[tile.rows])
            del own, others, pull
        if ctx.matched:
            tiles.matched(0).pull(of_anchors, of_candidates, (grads[0] + grads[1]) * scale)
        of_scale = tiles.anchors.dot(of_anchors).sum() / scale if ctx.needs_input_grad[2] else None
        tiles.anchors.to_given(of_anchors)
        tiles.candidates.to_given(of_candidates)
        return of_anchors, of_candidates, of_scale, None, None, None, None


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


class _Block:
    """Some candidates, multiplied with one tile of anchors after the other."""

    def __init__(self, candidates: Rows, columns: slice, step: int) -> None:
        self._candidates, self.columns, self._step = candidates, columns, step

    @cached_property
    def rows(self) -> Tensor:
        """``(columns, d)``."""
        return self._candidates[self.columns]

    @cached_property
    def turned(self) -> Tensor:
        """``(d, columns)``."""
        return turned(self.rows, self._step)


class _Tile(NamedTuple):
    """One tile: some anchors with some candidates."""

    rows: slice
    columns: slice
    block: _Block

    @property
    def candidates(self) -> Tensor:
        """``(columns, d)``."""
        return self.block.rows[self.columns.start - self.block.columns.start :]

    @property
    def turned(self) -> Tensor:
        """``(d, columns)``, for the product with the tile."""
        return self.block.turned[:, self.columns.start - self.block.columns.start :]


def _off_diagonal(tile: _Tile) -> tuple[slice, slice]:
    """Of the columns of a tile those that stand for a tile below the diagonal too: as rows, and within the tile."""
    below = slice(max(tile.columns.start, tile.rows.stop), tile.columns.stop)
    return below, slice(below.start - tile.columns.start, None)


class _Tiles:
    """Tiles of all anchors with a block of candidates, then with the next: so a block is made ready once.

    Of rows with themselves (the same tensor twice) those on and above the diagonal.
    """

    def __init__(
        self, anchors: Tensor, candidates: Tensor, scale: Tensor, rule: AllBut | None, how: How, normalize: bool
    ) -> None:
        self.how, self.rule, self.scale, self.uniform = how, rule, scale, scale.ndim == 0
        self._above = candidates is anchors
        most = COLUMNS if how.dtype == candidates.dtype else REDUCED_COLUMNS
        self._columns = min(max(most, how.step), len(candidates))
        self.anchors, self.candidates = sides(anchors, candidates, dtype=how.dtype, normalize=normalize, hold=False)
        like, numbers = candidates.new_empty(0, dtype=how.dtype), how.step * self._columns
        self._buffer, self._second = (Buffer(like, numbers, fresh=how.kept) for _ in range(2))
        a_few = like.device.type == "cpu" and not how.kept
        self.forces = Buffer(like, min(FORCE_ROWS, how.step) * self._columns if a_few else numbers, fresh=False)
        """Memory for what powers are multiplied by."""

    def __iter__(self) -> Iterator[_Tile]:
        for columns in spans(len(self.candidates), self._columns):
            block = _Block(self.candidates, columns, self.how.step)
            for rows in spans(len(self.anchors), self.how.step):
                first = max(columns.start, rows.start) if self._above else columns.start
                if first < columns.stop:
                    yield _Tile(rows, slice(first, columns.stop), block)

    def matched(self, shift: int) -> Matched:
        """Anchors with their own candidates."""
        return Matched(self.anchors, self.candidates, shift)

    def powers(self, tile: _Tile) -> tuple[Tensor, Tensor]:
        """w_ij exp(k_i s_ij) and w_ij exp(k_j s_ij), ``(rows, columns)``: the same tensor if k is the same for all."""
        if self.uniform:
            scaled = self.anchors.times(tile.rows, self.scale).to(self.how.dtype)
            powers = self._leave_out(self._buffer.product(scaled, tile.candidates).exp_(), tile)
            return powers, powers
        scale = self.scale.to(self.how.dtype)
        similarity = self._buffer.product(self.anchors[tile.rows].to(self.how.dtype), tile.candidates)
        own = self._second.times(similarity, scale[tile.rows, None]).exp_()
        others = similarity.mul_(scale[tile.columns]).exp_()
        return self._leave_out(own, tile), self._leave_out(others, tile)

    def _leave_out(self, powers: Tensor, tile: _Tile) -> Tensor:
        if self.rule is None:
            return powers
        if self.rule.itself:
            powers.diagonal(tile.rows.start - tile.columns.start).zero_()
            return powers
        leave_out(powers, self.rule.positions[tile.rows] - tile.columns.start)
        return powers
