"""InfoNCE between two kinds of data, changed in one thing: softer targets, graded ones, further candidates, spread."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from twofold.contrast.attended import attended_similarity
from twofold.contrast.checks import Temperature, check_pairs, check_rows, check_temperature, reduce_anchors
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather, local_rows
from twofold.contrast.layout import inverse_temperature, logit_bound
from twofold.contrast.pairs import Rule, all_but_self
from twofold.contrast.reductions import logsumexp, weighted_sum


def smoothed_info_nce(
    anchors: Tensor,
    positives: Tensor,
    *,
    temperature: Temperature,
    smoothing: float = 0.1,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """InfoNCE with label smoothing over the candidates of the batch (ALIGN: Jia et al., ICML 2021).

    ℓ_i = log Σ_j exp(s(a_i, p_j)/τ) − (1 − ε) s(a_i, p_i)/τ − ε/N Σ_j s(a_i, p_j)/τ

    With ε = 0 it is :func:`info_nce`.

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
        temperature: τ > 0; a number, 0-d or ``(n,)``.
        smoothing: ε in [0, 1), the share of the target that is spread over all N candidates; the paper's 0.1.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On anything but two equal floating ``(n ≥ 2, d)`` tensors, τ ≤ 0, or ε out of range.
    """
    check_pairs(anchors, positives, temperature)
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be at least 0 and below 1, got {smoothing!r}.")
    anchors, positives = unit(anchors, positives, normalize=normalize)
    candidates = gather(positives)
    scale = inverse_temperature(temperature, anchors)
    own = (anchors * positives).sum(1)
    average = (anchors * candidates.mean(0)).sum(1)  # no product of matrices: autocast would lower its precision
    target = (1 - smoothing) * own + smoothing * average
    largest = logit_bound(temperature, normalize=normalize)
    repulsion = logsumexp(anchors, candidates, scale=scale, reduction=reduction, largest=largest)
    return repulsion - reduce_anchors(scale * target, reduction)


def graded_info_nce(
    anchors: Tensor,
    positives: Tensor,
    weights: Rule,
    *,
    temperature: Temperature,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """InfoNCE whose target is a distribution over candidates (CWCL: Srinivasa et al., NeurIPS 2023, eq. 4).

    ℓ_i = log Σ_j exp(s(a_i, p_j)/τ) − Σ_j w_ij s(a_i, p_j)/τ / Σ_j w_ij

    With w_ij = [i = j] it is :func:`info_nce`. Weights carry no gradient.

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
        weights: w, by positions of anchors here and of candidates on all processes, such as ``pairs.similar`` gives.
        temperature: τ > 0; a number, 0-d or ``(n,)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On anything but two equal floating ``(n ≥ 2, d)`` tensors, or τ ≤ 0.
    """
    check_pairs(anchors, positives, temperature)
    anchors, positives = unit(anchors, positives, normalize=normalize)
    candidates = gather(positives)
    scale = inverse_temperature(temperature, anchors)
    target = weighted_sum(anchors, candidates, rule=weights)
    largest = logit_bound(temperature, normalize=normalize)
    repulsion = logsumexp(anchors, candidates, scale=scale, reduction=reduction, largest=largest)
    return repulsion - reduce_anchors(scale * target.sum / target.weight, reduction)


def info_nce_with_distractors(
    anchors: Tensor,
    positives: Tensor,
    distractors: Tensor,
    present: Tensor,
    *,
    temperature: Temperature,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """InfoNCE with further candidates that belong to no anchor (NegCLIP: Yuksekgonul et al., ICLR 2023).

    ℓ_i = −s(a_i, p_i)/τ + log [ Σ_j exp(s(a_i, p_j)/τ) + Σ_k [present_k] exp(s(a_i, d_k)/τ) ]

    With none present it is :func:`info_nce`.

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
        distractors: ``(m, d)``, such as captions with two words swapped; every anchor sees all of them.
        present: bool ``(m,)``: which of them are there; the same m on every process.
        temperature: τ > 0; a number, 0-d or ``(n,)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On other shapes or types, or τ ≤ 0.
    """
    check_pairs(anchors, positives, temperature)
    check_rows("distractors", distractors, minimum=0)
    if distractors.shape[1:] != anchors.shape[1:] or present.shape != distractors.shape[:1]:
        shapes = f"{tuple(distractors.shape)} and {tuple(present.shape)}"
        raise ValueError(f"distractors and present must be (m, {anchors.shape[1]}) and (m,), got {shapes}.")
    anchors, positives, distractors = unit(anchors, positives, distractors, normalize=normalize)
    candidates = gather(positives)
    there = torch.cat([torch.ones(len(candidates), dtype=torch.bool, device=anchors.device), gather(present)])
    candidates = torch.cat([candidates, gather(distractors)])
    scale = inverse_temperature(temperature, anchors)
    repulsion = logsumexp(
        anchors, candidates, scale=scale, rule=lambda rows, columns, s: there[columns].expand(len(rows), -1)
    )
    return reduce_anchors(repulsion - scale * (anchors * positives).sum(1), reduction)


def cross_uniformity(first: Tensor, second: Tensor, *, t: float = 2.0, normalize: bool = True) -> Tensor:
    """log E exp(−t ‖x_i − y_j‖²) over i ≠ j: how evenly each side lies about the other (Fahim et al., 2024).

    Args:
        first: x, ``(n, d)``.
        second: y, ``(n, d)``; row i belongs to row i of the first.
        t: Width of the kernel, t > 0; the paper's 2.
        normalize: Scale the rows to unit length first; −t‖x − y‖² = 2t x·y − 2t holds for such only.

    Raises:
        TypeError, ValueError: On anything but two equal floating ``(n ≥ 2, d)`` tensors, or t ≤ 0.
    """
    check_pairs(first, second, t)
    first, second = (gather(rows) for rows in unit(first, second, normalize=normalize))
    n = len(first)
    others = all_but_self(torch.arange(n, device=first.device))
    return logsumexp(first, second, scale=2 * t, rule=others).logsumexp(0) - 2 * t - math.log(n * (n - 1))


def attended_info_nce(
    segments: Tensor,
    texts: Tensor,
    *,
    temperature: Temperature,
    attended: float = 0.5,
    reduction: str = "mean",
) -> Tensor:
    """InfoNCE both ways on ``attended_similarity`` of sequences and texts, the mean of the two directions.

    Args:
        segments: ``(n, s, d)``; row i belongs to text i.
        texts: ``(n, d)``.
        temperature: τ > 0; a number or 0-d.
        attended: α in [0, 1].
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).

    Raises:
        TypeError, ValueError: On other shapes or types, or τ ≤ 0.
    """
    check_rows("segments", segments, minimum=1)
    check_rows("texts", texts)
    check_temperature(temperature)
    if segments.ndim != 3 or segments.shape[::2] != texts.shape:
        raise ValueError(
            f"segments and texts must be (n, s, d) and (n, d), got {tuple(segments.shape)} and {tuple(texts.shape)}."
        )
    (segments, texts) = unit(segments, texts, normalize=False)
    scale = inverse_temperature(temperature, texts)
    own = local_rows(len(texts), device=texts.device)
    with torch.autocast(texts.device.type, enabled=False):
        to_texts = scale * attended_similarity(segments, gather(texts), attended=attended)  # (n, N)
        to_segments = scale * attended_similarity(gather(segments), texts, attended=attended).T
    losses = [logits.logsumexp(1) - logits.gather(1, own[:, None])[:, 0] for logits in (to_texts, to_segments)]
    return reduce_anchors((losses[0] + losses[1]) / 2, reduction)
