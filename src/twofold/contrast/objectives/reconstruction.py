"""Reconstruction of what was hidden from the encoder, where direction matters and scale does not: GraphMAE."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from twofold.contrast.checks import check_rows, check_same_shape, raise_precision, reduce_anchors
from twofold.contrast.directions import unit


def scaled_cosine_error(
    predictions: Tensor, targets: Tensor, *, gamma: float = 2.0, reduction: str = "mean", epsilon: float = 0.0
) -> Tensor:
    """(1 − cos(z_i, x_i))^γ, row by row (Hou et al., KDD 2022, eq. 2).

    The power makes rows that are reconstructed well already count for less; with γ = 1 it is one minus the cosine. A
    row of zeros has no direction: its error is 1, without gradient unless ``epsilon`` says otherwise, so leave such
    targets out.

    Args:
        predictions: ``(..., n, d)``, normalized inside.
        targets: The same shape. The gradient reaches them too; data has none.
        gamma: γ ≥ 1; 1 to 3 in the paper.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for one value a row, ``(..., n)``.
        epsilon: Predictions shorter than this are divided by it, not by their length: one of zeros then has a gradient
            of length 1/epsilon. 1e-12 in the authors' code.

    Raises:
        TypeError: If an argument is no floating tensor.
        ValueError: If the shapes differ, γ is below 1, epsilon below 0, or ``reduction`` is another word.
    """
    check_rows("predictions", predictions, minimum=1)
    check_rows("targets", targets, minimum=1)
    check_same_shape("predictions", predictions, "targets", targets)
    if not gamma >= 1:
        raise ValueError(f"gamma must be at least 1, got {gamma!r}.")
    if not epsilon >= 0:
        raise ValueError(f"epsilon must not be negative, got {epsilon!r}.")
    (x,), (raised,) = unit(targets), raise_precision(predictions)
    z = functional.normalize(raised, dim=-1, eps=epsilon) if epsilon else unit(raised)[0]
    # Rounding takes the cosine above 1, and a negative number has no fractional power.
    error = (1 - (z * x).sum(dim=-1)).clamp(min=0) ** gamma
    return reduce_anchors(error, reduction)
