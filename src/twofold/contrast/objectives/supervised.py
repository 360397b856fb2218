"""Supervised contrast: every sample of the anchor's class is a positive (Khosla et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twofold.contrast.checks import Temperature, check_temperature, check_views, reduce_anchors
from twofold.contrast.gather import gather
from twofold.contrast.layout import FlatViews, flatten_views, inverse_temperature, logit_bound, unit
from twofold.contrast.pairs import both, same
from twofold.contrast.reductions import logsumexp


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
    flat, scale, largest, classes = _prepare(z, labels, temperature, base_temperature, normalize)
    repulsion = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=flat.not_self(), largest=largest)
    losses = repulsion - scale * _mean_similarity(flat, classes)
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
    flat, scale, largest, classes = _prepare(z, labels, temperature, base_temperature, normalize)
    positives = both(flat.not_self(), same(classes[flat.positions], classes))
    repulsion = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=flat.not_self(), largest=largest)
    attraction = logsumexp(flat.anchors, flat.candidates, scale=scale, rule=positives, largest=largest)
    count = _positives(flat, classes).to(attraction.dtype)
    return reduce_anchors(_rescaled(repulsion - attraction + count.log(), scale, base_temperature), reduction)


def _prepare(
    z: Tensor, labels: Tensor, temperature: Temperature, base_temperature: float | None, normalize: bool
) -> tuple[FlatViews, Tensor, float | None, Tensor]:
    """Checked and normalized views laid out flat, 1/τ, the bound of logits, and each candidate's class, from 0."""
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
    (z,) = unit(z, normalize=normalize)
    flat = flatten_views(z)
    views = z.shape[0]
    keys = _keys(gather(labels.to(z.device)))
    scale, largest = inverse_temperature(temperature, z, views=views), logit_bound(temperature, normalize=normalize)
    return flat, scale, largest, _numbered(keys.repeat(views))


def _mean_similarity(flat: FlatViews, classes: Tensor) -> Tensor:
    """Each anchor's mean similarity to the other candidates of its class, ``(V·n,)``."""
    total: Tensor = _ClassSimilarity.apply(flat.anchors, flat.candidates, classes, flat.positions)
    return total / _positives(flat, classes)


class _ClassSimilarity(torch.autograd.Function):
    """(anchors, candidates, classes of candidates, anchors' positions) → Σ_p s(a, p) over the others of a's class.

    Σ_p s(a, p) = a · Σ_p p: sums of classes take O(N·d), where all pairs would take O(N²·d). As one function, so that
    none of the sums is held until the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, candidates: Tensor, classes: Tensor, positions: Tensor) -> Tensor:
        ctx.save_for_backward(anchors, candidates, classes, positions)
        others = _sums(candidates, classes)[classes[positions]].sub_(candidates[positions])
        return others.mul_(anchors).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        anchors, candidates, classes, positions = ctx.saved_tensors
        force, own = grads[0][:, None], classes[positions]
        of_anchors = _sums(candidates, classes)[own].sub_(candidates[positions]).mul_(force)
        pull = force * anchors
        sums = torch.zeros_like(candidates).index_add_(0, own, pull)
        return of_anchors, sums[classes].index_add_(0, positions, pull.neg_()), None, None


def _sums(rows: Tensor, classes: Tensor) -> Tensor:
    """Of each class, ``(N, d)``: there are at most as many classes as rows."""
    return torch.zeros_like(rows).index_add_(0, classes, rows)


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
