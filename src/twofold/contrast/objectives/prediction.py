"""Regression of one view's embedding from another's, without negatives: BYOL and SimSiam.

What keeps these objectives from collapsing is outside them (a predictor, a stop-gradient, a teacher). A loss near its
minimum is therefore no sign of success: watch :func:`twofold.contrast.objectives.geometry.standard_deviation`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from twofold.contrast.checks import check_rows, check_same_shape, check_views, reduce_anchors
from twofold.contrast.directions import unit


def negative_cosine(predictions: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    """SimSiam's D: −cos(p_i, sg[t_i]), row by row.

    No gradient reaches ``targets``: the function detaches them. SimSiam's whole loss is the mean of this over both
    directions; BYOL's distance is 2 + 2 D (see :func:`prediction`).

    Args:
        predictions: ``(..., n, d)``, outputs of the predictor; normalised inside.
        targets: The same shape; row i is what row i of ``predictions`` should point to.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for one value a row, ``(..., n)``.

    Raises:
        TypeError: If an argument is no floating tensor.
        ValueError: If the shapes differ, or ``reduction`` is another word.

    Source: Chen & He, CVPR 2021, eq. 1.
    """
    check_rows("predictions", predictions, minimum=1)
    check_rows("targets", targets, minimum=1)
    check_same_shape("predictions", predictions, "targets", targets)
    p, t = unit(predictions, targets.detach())
    return reduce_anchors(-(p * t).sum(dim=-1), reduction)


def prediction(predictions: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    """BYOL's distance 2 − 2 cos(p_v, sg[t_w]), averaged over all pairs of different views v ≠ w.

    With two views these are the two swapped directions; the paper *sums* them, so its loss is twice this one. More
    prediction views than target views (local crops that predict global ones) are fine: view v of ``predictions`` and
    view v of ``targets`` must be the same view. No gradient reaches ``targets``: the function detaches them.

    Args:
        predictions: ``(V, n, d)``, the predictor's outputs; normalised inside.
        targets: ``(W, n, d)``, the teacher's projections of the first W views (for SimSiam: the own projections).
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for one value a sample, ``(n,)``.

    Raises:
        TypeError: If an argument is no floating tensor.
        ValueError: If rows do not correspond, there is no pair of different views, or ``reduction`` is another word.

    Source: Grill et al., NeurIPS 2020, eq. 2.
    """
    check_views("predictions", predictions, minimum=1, samples=1)
    check_views("targets", targets, minimum=1, samples=1)
    check_same_shape("one view of predictions", predictions[0], "one view of targets", targets[0])
    p, t = unit(predictions, targets.detach())
    pairs = [(v, w) for v in range(len(p)) for w in range(len(t)) if v != w]
    if not pairs:
        raise ValueError("predictions and targets hold one and the same view; a view predicts another one, bring two.")
    cosine = torch.stack([(p[v] * t[w]).sum(dim=-1) for v, w in pairs]).mean(dim=0)
    return reduce_anchors(2 - 2 * cosine, reduction)
