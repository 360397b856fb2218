"""Reconstruction of what was hidden from the encoder, where direction matters and scale does not: GraphMAE."""

from __future__ import annotations

from torch import Tensor

from twofold.contrast.checks import check_rows, check_same_shape, reduce_anchors
from twofold.contrast.layout import unit


def scaled_cosine_error(predictions: Tensor, targets: Tensor, *, gamma: float = 2.0, reduction: str = "mean") -> Tensor:
    """(1 − cos(z_i, x_i))^γ, row by row (Hou et al., KDD 2022, eq. 2).

    The power makes rows that are reconstructed well already count for less; with γ = 1 it is one minus the cosine. A
    row of zeros has no direction: its error is 1, without gradient, so leave such rows out.

    Args:
        predictions: ``(..., n, d)``, normalized inside.
        targets: The same shape. The gradient reaches them too; data has none.
        gamma: γ ≥ 1; 1 to 3 in the paper.
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for one value a row, ``(..., n)``.

    Raises:
        TypeError: If an argument is no floating tensor.
        ValueError: If the shapes differ, γ is below 1, or ``reduction`` is another word.
    """
    check_rows("predictions", predictions, minimum=1)
    check_rows("targets", targets, minimum=1)
    check_same_shape("predictions", predictions, "targets", targets)
    if not gamma >= 1:
        raise ValueError(f"gamma must be at least 1, got {gamma!r}.")
    z, x = unit(predictions, targets)
    # Rounding takes the cosine above 1, and a negative number has no fractional power.
    error = (1 - (z * x).sum(dim=-1)).clamp(min=0) ** gamma
    return reduce_anchors(error, reduction)
