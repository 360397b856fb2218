"""Agreement of local with global representations: deep graph infomax."""

from __future__ import annotations

import torch
from torch import Tensor

from twofold.contrast.checks import check_rows, check_same_shape, raise_precision, reduce_anchors
from twofold.contrast.gather import gather
from twofold.contrast.tiled_sums import softplus


def local_global(
    rows: Tensor, corrupted: Tensor, *, weight: Tensor, bias: float | Tensor = 0.0, reduction: str = "mean"
) -> Tensor:
    """Binary cross entropy of a bilinear critic that tells rows from corrupted ones by the summary of the rows.

    With s = σ(mean_i h_i) over all rows of all processes and d(h) = hᵀ W s + b, averaged over the n rows:

        ℓ_i = ( −log σ(d(h_i)) − log(1 − σ(d(h̃_i))) ) / 2

    Nothing is normalized; the gradient goes through the summary, too. A critic that says nothing has log 2.

    Args:
        rows: h, ``(n, d)``.
        corrupted: h̃, ``(n, d)``; row i need not belong to row i of ``rows``.
        weight: W, ``(d, d)``.
        bias: b, a number or 0-d.
        reduction: ``"mean"``, ``"sum"`` or ``"none"`` (``(n,)``).

    Raises:
        TypeError, ValueError: On anything but two equal floating ``(n, d)`` tensors and a fitting weight.

    Source: Veličković et al., ICLR 2019, eq. 1 and section 4.2.
    """
    check_rows("rows", rows, minimum=1)
    check_rows("corrupted", corrupted, minimum=1)
    check_same_shape("rows", rows, "corrupted", corrupted)
    dim = rows.shape[-1]
    if rows.ndim != 2 or weight.shape != (dim, dim):
        raise ValueError(f"rows {tuple(rows.shape)} must be (n, d), and weight {tuple(weight.shape)} (d, d).")
    rows, corrupted, weight = raise_precision(rows, corrupted, weight)
    with torch.autocast(rows.device.type, enabled=False):
        direction = weight @ gather(rows).mean(0).sigmoid()
        losses = (softplus(-(rows @ direction + bias)) + softplus(corrupted @ direction + bias)) / 2
    return reduce_anchors(losses, reduction)
