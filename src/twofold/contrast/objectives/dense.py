"""Contrast of parts of samples, such as points of clouds: pairs of rows of which some may be left out."""

from __future__ import annotations

from torch import Tensor

from twofold.contrast.checks import Temperature, check_temperature
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather
from twofold.contrast.layout import inverse_temperature
from twofold.contrast.reductions import logsumexp


def dense_info_nce(
    anchors: Tensor, positives: Tensor, valid: Tensor, *, temperature: Temperature, normalize: bool = True
) -> Tensor:
    """InfoNCE over all matched parts of all samples: PointInfoNCE (Xie et al., ECCV 2020, eq. 2).

    With V the set of valid pairs, of all samples together,

        L = mean_{i ∈ V} [ −s(a_i, p_i)/τ + log Σ_{j ∈ V} exp(s(a_i, p_j)/τ) ]

    so negatives are the partners of other pairs only. If all pairs are valid, this is
    :func:`~twofold.contrast.objectives.info_nce` of the flattened rows. Across processes each takes the mean over its
    own valid pairs. Without any the loss is 0.

    Args:
        anchors: ``(n, m, d)``: m parts of each sample.
        positives: ``(n, m, d)``; part j belongs to anchor j of the same sample.
        valid: bool ``(n, m)``: which pairs there are.
        temperature: τ > 0; a number or 0-d. 0.07 in the paper's code.
        normalize: Scale the rows to unit length first.

    Raises:
        TypeError, ValueError: On other shapes and types, or τ ≤ 0.
    """
    if anchors.ndim != 3 or anchors.shape != positives.shape or valid.shape != anchors.shape[:2]:
        raise ValueError(
            "anchors and positives must be (n, m, d) and valid (n, m), got "
            f"{tuple(anchors.shape)}, {tuple(positives.shape)} and {tuple(valid.shape)}."
        )
    if not (anchors.is_floating_point() and positives.is_floating_point()):
        raise TypeError(f"anchors and positives must be floating, got {anchors.dtype} and {positives.dtype}.")
    check_temperature(temperature)
    rows, partners = unit(anchors.flatten(0, 1), positives.flatten(0, 1), normalize=normalize)
    present = valid.flatten()
    scale = inverse_temperature(temperature, rows)
    everyone = gather(present.to(rows.dtype)) > 0

    def there(_: Tensor, columns: Tensor, similarity: Tensor) -> Tensor:
        return everyone[columns].expand_as(similarity)

    repulsion = logsumexp(rows, gather(partners), scale=scale, rule=there)
    loss = repulsion - scale * (rows * partners).sum(1)
    return loss.masked_fill(~present, 0).sum() / present.sum().clamp(min=1)
