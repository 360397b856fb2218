"""Mixtures of samples with a number as label: harder negatives and positives for an ordinal objective (SupReMix)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from twofold.contrast.checks import check_views
from twofold.contrast.directions import unit
from twofold.contrast.gather import gather
from twofold.contrast.layout import FlatViews, flatten_views

_ROWS_AT_A_TIME = 512  # anchors whose choice among all candidates is drawn at a time


class OrdinalMixtures(NamedTuple):
    """Further candidates of each of the V·n anchors (view after view), all constants."""

    negatives: Tensor
    """``(V·n, k, d)``, mixed from the anchor and a candidate of another label."""
    distances: Tensor
    """``(V·n, k)``: how far the label of each is from the anchor's; infinite where there is no such candidate."""
    positives: Tensor
    """``(V·n, k, d)``, mixed from a candidate of a smaller and one of a larger label, to the anchor's own label."""
    has_positives: Tensor
    """bool ``(V·n,)``."""


@torch.no_grad()
def mix_ordinal(
    z: Tensor,
    targets: Tensor,
    *,
    window: float,
    count: int,
    share: tuple[int, int] = (2, 8),
    generator: torch.Generator,
) -> OrdinalMixtures:
    """Harder negatives and positives for each anchor, mixed from unit rows (Wu et al., 2023).

    Negatives: λ a + (1 − λ) c with λ ~ Beta(share) and c of another label, at distance (1 − λ)|y_a − y_c|. Positives:
    α c + (1 − α) e with y_a − window < y_c < y_a < y_e < y_a + window and α = (y_e − y_a)/(y_e − y_c), so that the
    mixed label is y_a. The paper mixes with every candidate and every such pair, O(n³); here ``count`` of either kind
    are drawn for each anchor.

    Args:
        z: ``(views, n, d)``, scaled to unit length inside.
        targets: Floating ``(n,)``; NaN takes no part.
        window: In the unit of the targets, > 0.
        count: Mixtures of each kind for an anchor, at least 1.
        share: Parameters of the Beta distribution, whole numbers; (2, 8), (5, 5) and (8, 2) in the authors' code.
        generator: The only source of randomness; on any device.

    Raises:
        TypeError, ValueError: On other shapes, or a number out of range.
    """
    check_views("z", z)
    check_targets(z, targets)
    if not window > 0 or count < 1 or min(share) < 1:
        raise ValueError(f"window and count must be positive, share at least 1, got {window}, {count}, {share}.")
    (z,) = unit(z)
    flat = flatten_views(z)
    own, others = labels_of(flat, targets.to(z))
    apart = others[None, :] - own[:, None]  # NaN where a label is unknown, which makes every comparison false
    other, has_other = _choices(apart != 0, apart.isfinite(), count, generator)
    below, has_below = _choices((apart < 0) & (apart > -window), None, count, generator)
    above, has_above = _choices((apart > 0) & (apart < window), None, count, generator)
    anchor_share = _beta(share, other.shape, generator).to(z)
    negatives = torch.lerp(flat.candidates[other], flat.anchors[:, None], anchor_share[..., None])
    distances = (1 - anchor_share) * apart.gather(1, other).abs()
    down, up = apart.gather(1, below), apart.gather(1, above)
    alpha = torch.where((has_below & has_above)[:, None], up / (up - down), 0.0)[..., None]
    positives = alpha * flat.candidates[below] + (1 - alpha) * flat.candidates[above]
    return OrdinalMixtures(
        negatives, distances.masked_fill(~has_other[:, None], torch.inf), positives, has_below & has_above
    )


def labels_of(flat: FlatViews, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The numbers of all anchors and of all candidates."""
    everyone = gather(targets)
    return everyone[flat.anchor_items], everyone[flat.candidate_items]


def check_targets(z: Tensor, targets: Tensor) -> None:
    """Refuse anything but one floating number for each sample of ``(views, n, d)``.

    Raises:
        TypeError: If they are no floating tensor.
        ValueError: If there are more or fewer.
    """
    if not isinstance(targets, Tensor) or not targets.is_floating_point():
        kind = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise TypeError(f"targets must be a floating tensor, got {kind}.")
    if targets.shape != z.shape[1:2]:
        raise ValueError(f"targets must be one number a sample, ({z.shape[1]},), got {tuple(targets.shape)}.")


def _choices(wanted: Tensor, known: Tensor | None, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``count`` of the wanted candidates of each anchor, drawn with replacement, and which anchors have any."""
    wanted = wanted if known is None else wanted & known
    some = wanted.any(1)
    weights = torch.where(some[:, None], wanted, True).to(generator.device, torch.float32)
    drawn = [torch.multinomial(part, count, True, generator=generator) for part in weights.split(_ROWS_AT_A_TIME)]
    return torch.cat(drawn).to(wanted.device), some


def _beta(share: tuple[int, int], shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draws from Beta(a, b), a and b whole: the a-th smallest of a + b − 1 uniform numbers."""
    a, b = share
    uniform = torch.rand((*shape, a + b - 1), generator=generator, device=generator.device)
    return uniform.kthvalue(a, dim=-1).values
