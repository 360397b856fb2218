"""Σ_i log Σ_j w_ij exp(k_i s_ij) of a small matrix, all of it at once, in few operations: starting them is what costs.

Only where powers can be formed directly and pairs are left out by their positions alone (see
:mod:`twofold.contrast.tiles`). The gradient is formed while the powers are there. Of rows with themselves the matrix of
softmaxes plus its transpose is formed in place, so that one product gives the gradients of both roles.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from twofold.contrast.autograd import tiled_backward, times
from twofold.contrast.pairs import AllBut, Rule, is_mutual
from twofold.contrast.products import product, transposed_product
from twofold.contrast.tiles import yes_or_no

TINY_PAIRS, AT_ONCE_PAIRS = 1 << 12, 1 << 18
"""Between so many pairs (1 MB in float32) this way is the fastest."""


def applies(anchors: Tensor, candidates: Tensor, rule: Rule | None) -> bool:
    """Whether :class:`SummedAtOnce` is for this problem, if its powers can be formed directly."""
    return yes_or_no(rule) and TINY_PAIRS < len(anchors) * len(candidates) <= AT_ONCE_PAIRS


class SummedAtOnce(torch.autograd.Function):
    """(anchors, candidates, scale, left out or None, matched or None) → Σ_i log Σ_j w_ij exp(k_i s_ij), 0-d.

    A scale of which a gradient is wanted must be 0-d and not 0. With ``matched``, the similarities k_i s_ij of all i
    with j = (i + matched) mod n are subtracted, and their gradients in the matrix of powers: so they take no backward
    pass of their own.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, candidates: Tensor, scale: Tensor, left_out: AllBut | None, matched: int | None
    ) -> Tensor:
        symmetric = candidates is anchors and scale.ndim == 0 and is_mutual(left_out)
        k = scale[:, None] if scale.ndim else scale
        powers = product(anchors * k, candidates).exp_()
        if left_out is not None:
            powers.scatter_(1, left_out.positions, 0.0)
        totals = powers.sum(1)
        force = scale / totals
        if left_out is not None:
            force.masked_fill_(totals == 0, 0.0)
        own = _diagonals(powers, matched)
        values = totals / torch.cat([part for _, part in own]) if own else totals
        of_anchors, of_candidates = None, None
        if symmetric:
            powers.mul_(force[:, None] + force)
            for _, part in own + _diagonals(powers.T, matched):
                part.sub_(scale)
            of_anchors = product(powers, anchors.T)
        else:
            for rows, part in own:
                part.sub_(totals[rows])
            if ctx.needs_input_grad[0] or ctx.needs_input_grad[2]:
                of_anchors = product(powers, candidates.T).mul_(force[:, None])
            if ctx.needs_input_grad[1]:
                of_candidates = transposed_product(powers, anchors * force[:, None])
        of_scale = None
        if ctx.needs_input_grad[2]:
            assert of_anchors is not None
            of_scale = (anchors * of_anchors).sum() / (2 * scale if symmetric else scale)
        ctx.save_for_backward(of_anchors, of_candidates, of_scale)
        return values.log_().sum()

    @staticmethod
    @tiled_backward
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        return *times(ctx.saved_tensors, grads[0]), None, None


def _diagonals(square: Tensor, shift: int | None) -> list[tuple[slice, Tensor]]:
    """What stands at (i, (i + shift) mod n): for the first rows, and for the others, as views; nothing for None."""
    if shift is None:
        return []
    first = len(square) - shift
    parts = [(slice(0, first), square.diagonal(shift))]
    return parts if shift == 0 else [*parts, (slice(first, None), square.diagonal(-first))]
