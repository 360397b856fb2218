"""One tile of the similarity matrix after the other, in a buffer that is used again.

A tile of rows holds some anchors with all candidates, so that a row's softmax is known once its tile is. Where
products are convolutions (:mod:`twofold.contrast.convolved`) it may be in several blocks of columns. Its powers
w_ij exp(k_i s_ij) are formed *directly* where no logit can overflow: that spares two passes over the tile. This is
known from the caller, or from the lengths of the rows (|s_ij| ≤ |a_i| |b_j|), which are only looked at on the CPU,
since reading them back would stall an accelerator; without that knowledge, and beyond that bound, the row's maximum is
subtracted first.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from twofold.contrast import convolved
from twofold.contrast.directions import sides
from twofold.contrast.pairs import AllBut, Rule, parted
from twofold.contrast.products import LARGEST_LOGIT, product, product_dtype, product_into

ROW_TILE = 512
"""Most rows of a tile."""
REDUCED_ROW_TILE = 1024
"""The same in bfloat16: products take less time there, so what is done once a tile counts for more."""
TILE_NUMBERS = 1 << 24
"""Most numbers of a tile of rows (64 MB in float32), as long as it has ``FEWEST_ROWS``."""
FEWEST_ROWS = 256
"""Fewer rows make products of matrices slow."""
KEPT_NUMBERS = 15 << 20
"""Up to so many numbers (60 MB in float32) the powers of all tiles are kept for the backward pass."""
HELD_NUMBERS = 1 << 21
"""Up to so many numbers (8 MB in float32), or half as many as a tile has, a copy of candidates lasts for all tiles."""
BLOCK_NUMBERS = 1 << 19
"""Most numbers of candidates (2 MB in float32) of a block that is multiplied at a time, where blocks are."""
LARGEST_DIRECT = 60.0
"""exp(±60) and sums of millions of them are ordinary float32 numbers."""
_SMALLEST_TOTAL, _LARGEST_TOTAL = 1e-30, 1e37


class How(NamedTuple):
    """How tiles are computed; the backward pass does as the forward pass did."""

    step: int
    direct: bool
    dtype: torch.dtype
    kept: bool = False
    """Whether each tile has memory of its own, for the backward pass."""


class RowTiles:
    """Tiles of rows of one problem, ``w_ij exp(k_i s_ij)``.

    Args:
        anchors: ``(n, d)``.
        candidates: ``(m, d)``.
        scale: k, ``(n,)``, or 0-d if it is the same for all.
        rule: Gives w; all ones without it.
        tile: Most rows of a tile; None chooses.
        how: What another object for the same problem has found.
        largest: A bound of all logits that is known already.
        keep: Whether tiles may be kept, if they are few.
        normalize: Whether rows are compared by their directions.
    """

    def __init__(
        self,
        anchors: Tensor,
        candidates: Tensor,
        scale: Tensor,
        rule: Rule | None = None,
        tile: int | None = None,
        how: How | None = None,
        largest: float | None = None,
        keep: bool = True,
        normalize: bool = False,
    ) -> None:
        if how is None:
            if largest is None:
                largest = largest_logit(anchors, candidates, scale, normalize=normalize)
            dtype = dtype_for(anchors, rule, largest)
            step = _row_step(anchors, candidates, tile or row_tile(dtype, like=anchors))
            kept = keep and len(anchors) * len(candidates) <= KEPT_NUMBERS
            direct = largest <= LARGEST_DIRECT and (yes_or_no(rule) or can_be_read(anchors))
            how = How(step, direct=direct, dtype=dtype, kept=kept)
        self.how = how
        self.scale, self.rule = scale.expand(len(anchors)), rule
        self._left_out, self._asked = parted(rule)
        plain = how.direct and not how.kept and self._asked is None and how.dtype == candidates.dtype
        split = plain and convolved.pays((how.step, *candidates.shape), like=candidates)
        width = (
            min(convolved.COLUMNS, max(FEWEST_ROWS, BLOCK_NUMBERS // candidates.shape[1])) if split else len(candidates)
        )
        self.blocks = spans(len(candidates), max(1, width))
        """The columns of the blocks that a tile's powers come in."""
        one = len(self.blocks) == 1
        self.anchors, self.candidates = sides(anchors, candidates, dtype=how.dtype, normalize=normalize, hold=one)
        self._turned_once = one or may_be_held(candidates) or 2 * candidates.shape[1] <= how.step
        self._memory = candidates.new_empty(0 if one else width * candidates.shape[1])
        self.weighted = False
        """Whether the rule gave weights other than yes and no."""
        self.columns = torch.arange(len(candidates), device=anchors.device)
        numbers = how.step * len(candidates)
        self._buffer = Buffer(candidates.new_empty(0, dtype=how.dtype), numbers, fresh=how.kept)

    def __iter__(self) -> Iterator[slice]:
        return iter(spans(len(self.anchors), self.how.step))

    @cached_property
    def turned(self) -> Tensor:
        """All candidates, ``(d, m)``, for products of tiles with them."""
        held = self.candidates.held
        return self.candidates.across(slice(None)) if held is None else turned(held, self.how.step)

    def turned_block(self, columns: slice) -> Tensor:
        """``(d, columns)`` of :attr:`turned`, made for this block alone where all would take much memory."""
        return self.turned[:, columns] if self._turned_once else self.candidates.across(columns, self._memory)

    def similarity(self, rows: slice) -> Tensor:
        """s, ``(rows, m)``, overwritten by the next tile, unless tiles are kept."""
        return self._product(self.anchors[rows])

    def weight(self, rows: slice, similarity: Tensor) -> Tensor | None:
        """What the rule says of a tile, in memory of its own; None without a rule."""
        return self._weight(self.rule, rows, similarity)

    def powers(self, rows: slice, *, origin: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """w exp(k s − o), in blocks, and o, ``(rows,)``: 0 if formed directly, else given or the maximum."""
        if self.how.direct:
            return self._direct(rows), self.scale.new_zeros(rows.stop - rows.start)
        logits = self._logits(rows)
        if origin is None:
            origin = logits.amax(1)
        origin = origin.masked_fill(origin.isneginf(), 0.0)  # a row without candidates
        return [logits.sub_(origin[:, None]).exp_()], origin

    def doubtful(self, totals: Tensor) -> bool:
        """Whether weights may have driven direct sums out of range; they must then be formed anew, not directly."""
        return self.how.direct and self.weighted and not in_range(totals)

    def _direct(self, rows: slice) -> list[Tensor]:
        scale = self.scale[rows, None]
        if self._asked is None:
            scaled = self.anchors.times(rows, scale)
            if len(self.blocks) == 1:
                return [self._leave_out(self._product(scaled).exp_(), rows, 0.0)]
            return [self._block(scaled, rows, columns) for columns in self.blocks]
        similarity = self.similarity(rows)
        weight = self._weight(self._asked, rows, similarity)
        assert weight is not None
        if weight.dtype == torch.bool:
            weight = weight.view(torch.uint8)  # by which multiplying takes half as long
        else:
            self.weighted = True
        return [self._leave_out(similarity.mul_(scale).exp_().mul_(weight), rows, 0.0)]

    def _block(self, scaled: Tensor, rows: slice, columns: slice) -> Tensor:
        powers = product(scaled, self._candidates(columns)).exp_()
        if self._left_out is not None:
            leave_out(powers, self._left_out.positions[rows] - columns.start)
        return powers

    def _logits(self, rows: slice) -> Tensor:
        similarity, scale = self.similarity(rows), self.scale[rows, None]
        weight = self._weight(self._asked, rows, similarity)
        logits = similarity.mul_(scale)
        if weight is not None and weight.dtype == torch.bool:
            logits.masked_fill_(~weight, float("-inf"))
        elif weight is not None:
            logits.add_(weight.to(logits.dtype).log_())
        return self._leave_out(logits, rows, float("-inf"))

    def _weight(self, rule: Rule | None, rows: slice, similarity: Tensor) -> Tensor | None:
        if rule is None:
            return None
        numbers = torch.arange(rows.start, rows.stop, device=similarity.device)
        return weight_of(rule, numbers, self.columns, similarity)

    def _candidates(self, columns: slice) -> Tensor:
        """Those of one block, until others are asked for, or they are turned."""
        held = self.candidates.held
        return self.candidates.into(self._memory, columns) if held is None else held[columns]

    @property
    def _whole(self) -> Tensor:
        assert self.candidates.held is not None
        return self.candidates.held

    def _product(self, own: Tensor) -> Tensor:
        return self._buffer.product(own.to(self.how.dtype), self._whole)

    def _leave_out(self, tile: Tensor, rows: slice, value: float) -> Tensor:
        if self._left_out is not None:
            tile.scatter_(1, self._left_out.positions[rows], value)
        return tile


class Buffer:
    """Memory for one tile after the other, taken when the first one comes.

    Args:
        like: Gives type and device.
        numbers: Of the largest tile.
        fresh: Give each tile memory of its own instead.
    """

    def __init__(self, like: Tensor, numbers: int, *, fresh: bool) -> None:
        self._like, self._numbers, self._fresh = like, numbers, fresh
        self._memory: Tensor | None = None

    def rows(self, columns: int) -> int:
        """How many rows of so many columns there is memory for."""
        return max(1, self._numbers // columns)

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """``left @ right.T``."""
        if len(right) <= convolved.COLUMNS and convolved.pays((*left.shape, len(right)), like=left):
            return convolved.product(left, right)  # which takes its own memory
        return product_into(self._tile(len(left), len(right)), left, right)

    def times(self, tile: Tensor, factor: Tensor | float) -> Tensor:
        """``tile * factor``, in the type of ``tile``."""
        return torch.mul(tile, factor, out=self._tile(*tile.shape))

    def sums(self, rows: Tensor, columns: Tensor) -> Tensor:
        """``rows[:, None] + columns``, both of the type of the memory."""
        return torch.add(rows[:, None], columns, out=self._tile(len(rows), len(columns)))

    def _tile(self, rows: int, columns: int) -> Tensor:
        if self._fresh:
            return self._like.new_empty(rows, columns)
        if self._memory is None:
            self._memory = self._like.new_empty(self._numbers)
        return self._memory[: rows * columns].view(rows, columns)


def may_be_held(rows: Tensor) -> bool:
    """Whether a copy of the rows is small beside what else is held."""
    return rows.numel() <= HELD_NUMBERS


def turned(rows: Tensor, step: int) -> Tensor:
    """``rows.T``, for :func:`twofold.contrast.products.product` of tiles of so many rows; copied if that is faster."""
    return rows.T.contiguous() if convolved.pays((step, *rows.shape), like=rows) else rows.T


def leave_out(powers: Tensor, positions: Tensor) -> None:
    """Set to 0, in place, what stands at some positions of each row; those beyond the block are of other blocks.

    Args:
        powers: ``(n, m)``, none negative.
        positions: int64 ``(n, k)``, counted from the block's first column.
    """
    there = (positions >= 0) & (positions < powers.shape[1])
    # Through the minimum, since what is clamped into the block must not be changed; nothing is read back.
    limits = torch.where(there, 0.0, float("inf")).to(powers.dtype)
    powers.scatter_reduce_(1, positions.clamp(0, powers.shape[1] - 1), limits, "amin")


def kept_tile(kept: list[Tensor], number: int) -> tuple[Tensor, Tensor] | None:
    """What was kept of a tile, two tensors; None if nothing was."""
    return (kept[2 * number], kept[2 * number + 1]) if kept else None


def exact_tiles(anchors: Tensor, candidates: Tensor, rule: Rule | None, tile: int | None) -> RowTiles:
    """Tiles for those who want similarities and weights, and no powers; never of reduced precision."""
    how = How(_row_step(anchors, candidates, tile or ROW_TILE), direct=False, dtype=anchors.dtype)
    return RowTiles(anchors, candidates, anchors.new_ones(()), rule, how=how)


def row_tile(dtype: torch.dtype, *, like: Tensor) -> int:
    """Most rows of a tile that is computed in ``dtype``."""
    return ROW_TILE if dtype == like.dtype else REDUCED_ROW_TILE


def _row_step(anchors: Tensor, candidates: Tensor, most: int) -> int:
    fitting = max(FEWEST_ROWS, TILE_NUMBERS // max(1, len(candidates)))
    return max(1, min(most, fitting, len(anchors)))


def dtype_for(anchors: Tensor, rule: Rule | None, largest: float) -> torch.dtype:
    """What a problem is multiplied in; a rule that looks at similarities must see exact ones."""
    small = largest <= LARGEST_LOGIT and yes_or_no(rule)
    return product_dtype(anchors) if small else anchors.dtype


def yes_or_no(rule: Rule | None) -> bool:
    """Whether a rule is known to leave pairs out, or none, and to do so without a look at them."""
    return rule is None or isinstance(rule, AllBut)


def can_be_read(tensor: Tensor) -> bool:
    """Whether looking at values costs nothing; it would stall an accelerator."""
    return tensor.device.type == "cpu"


def spans(total: int, step: int) -> list[slice]:
    """Slices of at most ``step`` that cover ``total``."""
    return [slice(start, min(start + step, total)) for start in range(0, total, step)]


def in_range(totals: Tensor) -> bool:
    """Whether sums of direct powers are far from the ends of float32. Reads them back: not for accelerators."""
    return bool(((totals > _SMALLEST_TOTAL) & (totals < _LARGEST_TOTAL)).all())


def weight_of(rule: Rule, rows: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
    """A rule's weights, copied if they share memory with the similarities, which are overwritten."""
    weight = rule(rows, columns, similarity)
    shared = weight.untyped_storage().data_ptr() == similarity.untyped_storage().data_ptr()
    return weight.clone() if shared else weight


def largest_logit(anchors: Tensor, candidates: Tensor, scale: Tensor, *, normalize: bool = False) -> float:
    """No |k_i s_ij| is above this, as far as the lengths of rows tell; infinity where looking would stall a device."""
    if not can_be_read(anchors) or 0 in (anchors.numel(), candidates.numel()):
        return float("inf")
    most = scale.detach().abs().max()
    if normalize:
        return float(most)
    longest = torch.linalg.vector_norm(anchors.detach(), dim=1).max()
    other = longest if candidates is anchors else torch.linalg.vector_norm(candidates.detach(), dim=1).max()
    return float(longest * other * most)


def logits_of(similarity: Tensor, scale: Tensor, weight: Tensor | None) -> Tensor:
    """k s + log w, −∞ where left out, as a new tensor that gradients flow through.

    Args:
        similarity: ``(n, m)``.
        scale: ``(n,)``.
        weight: ``(n, m)`` bool or weights; None: all ones.
    """
    logits = scale[:, None] * similarity
    if weight is None:
        return logits
    if weight.dtype == torch.bool:
        return logits.masked_fill(~weight, float("-inf"))
    left_out = weight == 0
    # Masked last, so that the backward pass of a row without candidates meets no −inf − (−inf).
    return (logits + weight.to(logits.dtype).masked_fill(left_out, 1.0).log()).masked_fill(left_out, float("-inf"))
