"""Supervised contrast: every sample of the anchor's class is a positive (Khosla et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twofold.contrast.checks import Temperature, check_temperature, check_views, reduce_anchors
from twofold.contrast.directions import Rows, are_few, sides, unit
from twofold.contrast.gather import gather
from twofold.contrast.layout import FlatViews, flatten_views, inverse_temperature, logit_bound
from twofold.contrast.pairs import both, same
from twofold.contrast.reductions import logsumexp
from twofold.contrast.tiles import can_be_read


def supervised(
    z: Tensor,
    labels: Tensor,
    *,
    temperature: Temperature,
    base_temperature: float | None = None,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """SupCon, the sum over positives outside the logarithm (L_out, eq. 2): the better of the paper's two forms.

    ℓ_a = −1/|P(a)| Σ_{p ∈ P(a)} [ s(a, p)/τ − log Σ_{b ≠ a} exp(s(a, b)/τ) ]

    With every label different it is :func:`nt_xent`. A label below 0 means unknown: such a sample is positive to
    its own other views only.

    Args:
        z: ``(views ≥ 2, n ≥ 2, d)``.
        labels: int64 ``(n,)``.
        temperature: τ > 0; a number, 0-d or ``(n,)``. 0.07 or 0.1 in the authors' code.
        base_temperature: Multiplies the loss by τ/base_temperature, which keeps the size of gradients when τ
            varies (0.07 in the authors' code); None leaves it alone.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(views · n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On other shapes, labels that are not one integer a sample, or a temperature ≤ 0.
    """
    flat, scale, largest, classes, normalize = _prepare(z, labels, temperature, base_temperature, normalize)
    rule = flat.not_self()
    repulsion = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=rule, largest=largest, normalize=normalize)
    losses = repulsion - scale * _mean_similarity(flat, classes, normalize)
    return reduce_anchors(_rescaled(losses, scale, base_temperature), reduction)


def supervised_inside(
    z: Tensor,
    labels: Tensor,
    *,
    temperature: Temperature,
    base_temperature: float | None = None,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """SupCon, the mean over positives inside the logarithm (L_in, eq. 3).

    ℓ_a = −log [ 1/|P(a)| Σ_{p ∈ P(a)} exp(s(a, p)/τ) / Σ_{b ≠ a} exp(s(a, b)/τ) ]

    At most :func:`supervised` (Jensen), and weaker in the paper, since easy positives hide hard ones. Arguments as
    there.
    """
    flat, scale, largest, classes, normalize = _prepare(z, labels, temperature, base_temperature, normalize)
    positives = both(flat.not_self(), same(classes[flat.positions], classes))
    repulsion, attraction = (
        logsumexp(flat.anchors, flat.candidates, scale=scale, rule=rule, largest=largest, normalize=normalize)
        for rule in (flat.not_self(), positives)
    )
    count = _positives(flat, classes).to(attraction.dtype)
    return reduce_anchors(_rescaled(repulsion - attraction + count.log(), scale, base_temperature), reduction)


def _prepare(
    z: Tensor, labels: Tensor, temperature: Temperature, base_temperature: float | None, normalize: bool
) -> tuple[FlatViews, Tensor, float | None, Tensor, bool]:
    """Checked views laid out flat, 1/τ, the bound of logits, each candidate's class, from 0, and whether rows of the
    views are still to be normalized."""
    check_views("z", z)
    check_temperature(temperature)
    if base_temperature is not None:
        check_temperature(base_temperature, "base_temperature")
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be an integer tensor, got {type(labels).__name__}.")
    if labels.shape != z.shape[1:2] or labels.is_floating_point():
        raise ValueError(
            f"labels must be one integer a sample, ({z.shape[1]},), got {labels.dtype} {tuple(labels.shape)}."
        )
    few = are_few(z)
    (z,) = unit(z, normalize=normalize and few)
    flat = flatten_views(z)
    views = z.shape[0]
    keys = _keys(gather(labels.to(z.device)))
    scale, largest = inverse_temperature(temperature, z, views=views), logit_bound(temperature, normalize=normalize)
    return flat, scale, largest, _numbered(keys.repeat(views)), normalize and not few


def _mean_similarity(flat: FlatViews, classes: Tensor, normalize: bool) -> Tensor:
    """Each anchor's mean similarity to the other candidates of its class, ``(V·n,)``."""
    total: Tensor = _ClassSimilarity.apply(flat.anchors, flat.candidates, classes, flat.positions, normalize)
    return total / _positives(flat, classes)


class _ClassSimilarity(torch.autograd.Function):
    """(anchors, candidates, classes of candidates, anchors' positions, normalize) → Σ_p s(a, p), p of a's class.

    The anchor itself is left out. Σ_p s(a, p) = a · Σ_p p: sums of classes take O(N·d), where all pairs would take
    O(N²·d). As one function, and a few
    rows at a time, so that nothing but the gradient and the sums of classes is held.
    """

    @staticmethod
    def forward(
        ctx: Any, anchors: Tensor, candidates: Tensor, classes: Tensor, positions: Tensor, normalize: bool
    ) -> Tensor:
        ctx.save_for_backward(anchors, candidates, classes, positions)
        ctx.normalize, ctx.alike = normalize, candidates is anchors
        own, others = sides(anchors, candidates, normalize=normalize)
        sums, found = _sums(others, classes), anchors.new_empty(len(anchors))
        for part in own.pieces():
            where, mine = positions[part], own.exact(part)
            itself = mine if ctx.alike else others.exact(where)
            found[part] = sums[classes[where]].sub_(itself).mul_(mine).sum(1)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates, classes, positions = ctx.saved_tensors
        own, others = sides(anchors, anchors if ctx.alike else candidates, normalize=ctx.normalize)
        labels = classes[positions]
        sums, pulls = _sums(others, classes), _sums(own, labels, grads[0], like=classes)
        of_anchors = torch.empty_like(anchors)
        if ctx.alike:
            for part in own.pieces():
                force = grads[0][part, None]
                pull = sums[labels[part]].sub_(own.exact(part), alpha=2).mul_(force)
                torch.add(pull, pulls[labels[part]], out=of_anchors[part])
            own.to_given(of_anchors)
            return of_anchors, None, None, None, None
        of_candidates = torch.empty_like(candidates)
        for part in others.pieces():
            of_candidates[part] = pulls[classes[part]]
        for part in own.pieces():
            where, force = positions[part], grads[0][part, None]
            of_candidates.index_add_(0, where, own.exact(part) * force, alpha=-1)
            torch.mul(sums[labels[part]].sub_(others.exact(where)), force, out=of_anchors[part])
        own.to_given(of_anchors)
        others.to_given(of_candidates)
        return of_anchors, of_candidates, None, None, None


def _sums(rows: Rows, classes: Tensor, weights: Tensor | None = None, *, like: Tensor | None = None) -> Tensor:
    """Of each class, ``(classes, d)``, of rows or of their weighted ones.

    Args:
        rows: n rows.
        classes: int64 ``(n,)``, numbered from 0.
        weights: ``(n,)``.
        like: Classes of which those may be a part.
    """
    everyone = classes if like is None else like
    # There are at most as many classes as rows; an accelerator would have to tell, so there it stays at that.
    count = int(everyone.max()) + 1 if can_be_read(everyone) else len(everyone)
    sums = rows.given.new_zeros(count, rows.given.shape[1])
    for part in rows.pieces():
        some = rows.exact(part)
        sums.index_add_(0, classes[part], some if weights is None else some * weights[part, None])
    return sums


def _positives(flat: FlatViews, classes: Tensor) -> Tensor:
    """|P(a)|: how many other candidates each anchor's class has, ``(V·n,)``, at least one."""
    return torch.zeros_like(classes).index_add(0, classes, torch.ones_like(classes))[classes[flat.positions]] - 1


def _numbered(keys: Tensor) -> Tensor:
    """The same classes, numbered from 0: int64 ``(N,)``.

    Without ``unique``, whose result has a size that an accelerator would have to tell first.
    """
    ascending, order = keys.sort()
    number = torch.zeros_like(keys)
    number[1:] = (ascending[1:] != ascending[:-1]).cumsum(0)
    return torch.empty_like(number).scatter(0, order, number)


def _keys(labels: Tensor) -> Tensor:
    """Labels, with a key of its own for each sample whose label is unknown."""
    own = -1 - torch.arange(len(labels), device=labels.device)
    return torch.where(labels >= 0, labels, own)


def _rescaled(losses: Tensor, scale: Tensor, base_temperature: float | None) -> Tensor:
    return losses if base_temperature is None else losses / (scale * base_temperature)
