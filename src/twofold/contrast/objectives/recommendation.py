"""Objectives of recommender systems: what was chosen scores above what was not; contrast among nodes of one kind."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from twofold.contrast.checks import (
    Temperature,
    check_rows,
    check_same_shape,
    check_temperature,
    raise_precision,
    reduce_anchors,
)
from twofold.contrast.gather import gather, local_rows
from twofold.contrast.objectives.infonce import info_nce_with_negatives
from twofold.contrast.pairs import all_but_self, both, same


def bpr(positive: Tensor, negative: Tensor, *, reduction: str = "mean") -> Tensor:
    """Bayesian personalized ranking: the chosen item scores above another (Rendle et al., UAI 2009, section 4.1).

    ℓ_i = −log σ(s_i⁺ − s_i⁻), without the regularization, which is on parameters. log 2 where scores say nothing.

    Args:
        positive: Scores of chosen items, ``(n,)``.
        negative: Scores of others, one for each, ``(n,)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).

    Raises:
        ValueError: If the shapes differ.
    """
    check_same_shape("positive", positive, "negative", negative)
    positive, negative = raise_precision(positive, negative)
    return reduce_anchors(F.softplus(negative - positive), reduction)


def sampled_logistic(positive: Tensor, negative: Tensor, counted: Tensor) -> Tensor:
    """Logistic loss of one item that came next and of others that did not (SASRec: Kang & McAuley, ICDM 2018).

    ℓ_t = −log σ(s_t⁺) − mean_k log σ(−s_tk⁻), averaged over the places that count. With one negative for each place it
    is the paper's; there it is a sum. 2 log 2 where scores are 0.

    Args:
        positive: Scores of the items that came next, ``(n, places)``.
        negative: Scores of others, ``(n, places, k)``.
        counted: Which places count, bool ``(n, places)``; with none the loss is 0.

    Raises:
        ValueError: If the shapes do not fit together.
    """
    check_same_shape("positive", positive, "counted", counted)
    if negative.ndim != 3 or negative.shape[:2] != positive.shape or negative.shape[2] == 0:
        raise ValueError(f"negative must be {(*positive.shape, 'k')}, got {tuple(negative.shape)}.")
    positive, negative = raise_precision(positive, negative)
    losses = F.softplus(-positive) + F.softplus(negative).mean(2)
    return (losses * counted).sum() / counted.sum().clamp(min=1)


def info_nce_within(
    anchors: Tensor,
    positives: Tensor,
    groups: Tensor,
    *,
    temperature: Temperature,
    reduction: str = "mean",
    normalize: bool = True,
) -> Tensor:
    """InfoNCE among samples of one group, such as users with users and items with items (SGL: Wu et al., SIGIR 2021).

    ℓ_i = −s(a_i, p_i)/τ + log Σ_{j of i's group} exp(s(a_i, p_j)/τ). With a single group this is
    :func:`~twofold.contrast.objectives.infonce.info_nce`; a sample that is alone in its group adds 0.

    Args:
        anchors: ``(n, d)``.
        positives: ``(n, d)``; row i belongs to anchor i.
        groups: int64 ``(n,)``, the group of each sample.
        temperature: τ > 0; a number, 0-d or ``(n,)``.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On anything but two equal floating ``(n ≥ 2, d)`` tensors, or on τ ≤ 0.
    """
    check_rows("anchors", anchors)
    check_temperature(temperature)
    if groups.shape != anchors.shape[:1]:
        raise ValueError(f"groups must be ({len(anchors)},), one for each anchor, got {tuple(groups.shape)}.")
    others = both(same(groups, gather(groups)), all_but_self(local_rows(len(anchors), device=anchors.device)))
    return info_nce_with_negatives(
        anchors,
        positives,
        gather(positives),
        temperature=temperature,
        rule=others,
        reduction=reduction,
        normalize=normalize,
    )
