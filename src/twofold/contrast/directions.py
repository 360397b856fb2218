"""Rows of unit length: all of them at once, or piece by piece where tiles need them, so that no copy of all is held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import threshold

from twofold.contrast.checks import raise_precision

PIECE_NUMBERS = 1 << 18
"""Numbers of rows (1 MB in float32) that are worked on at a time: what that takes is then small beside a tile."""


def unit(*rows: Tensor, normalize: bool = True) -> tuple[Tensor, ...]:
    """Rows in a safe precision, scaled to unit length unless told not; zero rows stay zero, with ordinary gradients."""
    raised = raise_precision(*rows)
    return tuple(_Unit.apply(x) for x in raised) if normalize else raised


def are_few(rows: Tensor) -> bool:
    """Whether a copy of the rows is nothing to be spared: then :func:`unit` takes the fewest operations."""
    return rows.numel() <= PIECE_NUMBERS


def lengths_of(rows: Tensor) -> Tensor:
    """``(..., 1)``: what :func:`unit` divides rows by, which is 1 for a row without a direction."""
    # F.normalize divides a zero row, and so its gradient, by 1e-12: one dead row then outweighs the whole batch.
    return threshold(torch.linalg.vector_norm(rows, dim=-1, keepdim=True), 1e-12, 1.0)


class _Unit(torch.autograd.Function):
    """Rows over their lengths, as one function: autograd's own chain of it takes three times as many passes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        lengths = lengths_of(rows)
        directions = rows / lengths
        ctx.save_for_backward(directions, lengths)
        return directions

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        directions, lengths = ctx.saved_tensors
        along = (grads[0] * directions).sum(-1, keepdim=True)
        return torch.addcmul(grads[0], directions, along, value=-1).div_(lengths)


class Rows:
    """Rows of one side of a problem, as tiles multiply them: as given, or divided by their lengths.

    Args:
        given: ``(n, d)``.
        lengths: ``(n, 1)``, of :func:`lengths_of`; None: rows are not divided.
        dtype: What they are multiplied in, if not in their own type: then a copy in that type is held.
        hold: Whether to hold a copy of divided rows, for those who need each piece often.
    """

    def __init__(
        self, given: Tensor, lengths: Tensor | None, *, dtype: torch.dtype | None = None, hold: bool = False
    ) -> None:
        self.given, self.lengths = given, lengths
        self.dtype = dtype or given.dtype
        self._held = given if lengths is None and self.dtype == given.dtype else None
        if self._held is None and (hold or self.dtype != given.dtype):
            self._held = self._copy()

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, part: slice) -> Tensor:
        """``(rows, d)``, in ``dtype``; not to be changed."""
        return self.exact(part) if self._held is None else self._held[part]

    @property
    def held(self) -> Tensor | None:
        """All rows, ``(n, d)``, if there is a copy, or no need of one."""
        return self._held

    def exact(self, part: slice | Tensor) -> Tensor:
        """``(rows, d)`` in the type in which rows were given; not to be changed."""
        return self.given[part] if self.lengths is None else self.given[part] / self.lengths[part]

    def into(self, memory: Tensor, part: slice) -> Tensor:
        """As :meth:`exact`, in memory that is used again: taking new memory from the system costs more than dividing.

        Args:
            memory: Flat, for at least as many numbers.
            part: Which rows.
        """
        given = self.given[part]
        if self.lengths is None:
            return given
        return torch.div(given, self.lengths[part], out=memory[: given.numel()].view(given.shape))

    def across(self, part: slice, memory: Tensor | None = None) -> Tensor:
        """``(d, rows)``, as :meth:`exact` and turned, in memory of its own or in some that is used again."""
        given = self.given[part].T
        memory = given.new_empty(given.numel()) if memory is None else memory
        turned = memory[: given.numel()].view(given.shape).copy_(given)
        return turned if self.lengths is None else turned.div_(self.lengths[part].T)

    def times(self, part: slice, factor: Tensor) -> Tensor:
        """``factor`` times the rows, in ``dtype``, as memory of its own.

        Args:
            part: Which rows.
            factor: ``(rows, 1)`` or 0-d.
        """
        own = self.given[part] * (factor if self.lengths is None else factor / self.lengths[part])
        return own.to(self.dtype)

    def _copy(self) -> Tensor:
        if self.dtype == self.given.dtype:
            return self.exact(slice(None))
        copy = torch.empty_like(self.given, dtype=self.dtype)
        for part in self.pieces():
            copy[part] = self.exact(part)
        return copy

    def pieces(self, begin: int = 0, end: int | None = None) -> Iterator[slice]:
        """Slices of few rows that cover those from ``begin`` to ``end``."""
        end, step = len(self.given) if end is None else end, max(1, PIECE_NUMBERS // max(1, self.given.shape[1]))
        return (slice(start, min(start + step, end)) for start in range(begin, end, step))

    def to_given(self, gradient: Tensor) -> None:
        """Turn the gradient of the rows as multiplied, ``(n, d)``, into that of the rows as given, in place."""
        if self.lengths is None:
            return
        for part in self.pieces():
            directions, some = self.exact(part), gradient[part]
            along = (some * directions).sum(1, keepdim=True)
            some.addcmul_(directions, along, value=-1).div_(self.lengths[part])

    def dot(self, others: Tensor) -> Tensor:
        """Each row times its own row of ``others``, summed, ``(n,)``."""
        found = others.new_empty(len(self.given))
        for part in self.pieces():
            found[part] = (self.exact(part) * others[part]).sum(1)
        return found


def sides(
    anchors: Tensor, candidates: Tensor, *, normalize: bool, dtype: torch.dtype | None = None, hold: bool = False
) -> tuple[Rows, Rows]:
    """Anchors, and candidates in the type and the way in which they are multiplied; arguments as of :class:`Rows`."""
    own = lengths_of(anchors) if normalize else None
    others = own if candidates is anchors or not normalize else lengths_of(candidates)
    return Rows(anchors, own), Rows(candidates, others, dtype=dtype, hold=hold)


class Matched:
    """Pairs of rows that belong together: anchor i and candidate (i + shift) mod n.

    Args:
        anchors: n rows.
        candidates: n rows.
        shift: 0 to n - 1.
    """

    def __init__(self, anchors: Rows, candidates: Rows, shift: int) -> None:
        self._anchors, self._candidates, self._shift = anchors, candidates, shift

    def similarity(self) -> Tensor:
        """Of each anchor to its own candidate, ``(n,)``."""
        found = self._anchors.given.new_empty(len(self._anchors))
        for rows, own in self._pieces():
            found[rows] = (self._anchors.exact(rows) * self._candidates.exact(own)).sum(1)
        return found

    def pull(self, of_anchors: Tensor | None, of_candidates: Tensor | None, force: Tensor) -> None:
        """Subtract the gradient of Σ force_i s_i from those given, ``(n, d)``, in place.

        Args:
            of_anchors: Gradient of the anchors; None if it is not wanted.
            of_candidates: Gradient of the candidates, which may be the same tensor.
            force: ``(n,)``.
        """
        for rows, own in self._pieces():
            strength = force[rows, None]
            if of_anchors is not None:
                of_anchors[rows].addcmul_(self._candidates.exact(own), strength, value=-1)
            if of_candidates is not None:
                of_candidates[own].addcmul_(self._anchors.exact(rows), strength, value=-1)

    def _pieces(self) -> Iterator[tuple[slice, slice]]:
        """Anchors and their candidates, a few at a time."""
        total = len(self._anchors)
        first = total - self._shift
        for begin, end, away in ((0, first, self._shift), (first, total, -first)):
            for rows in self._anchors.pieces(begin, end):
                yield rows, slice(rows.start + away, rows.stop + away)
