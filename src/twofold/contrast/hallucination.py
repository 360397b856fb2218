"""Positives made in the space of embeddings: moved towards other clusters, as far as their own cluster lasts (HaLP)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.contrast.checks import check_rows
from twofold.contrast.directions import unit

_SMALL = 1e-7
_ROUNDING = 1e-5


class Hallucinated(NamedTuple):
    """What :func:`hallucinate_positives` gives."""

    rows: Tensor
    """``(n, count, d)``, unit rows without gradient."""
    kept: Tensor
    """bool ``(n, count)``: whether the nearest prototype is still that of the anchor."""


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """The point at a share of the way along the great circle from ``start`` to ``end``.

    z(t) = [sin((1 − t) Ω) start + sin(t Ω) end] / sin Ω, with cos Ω = start · end.

    Args:
        start: ``(..., d)``, unit rows.
        end: ``(..., d)``, unit rows; where they are those of ``start``, or opposite, ``start`` is what is given.
        share: ``(...)``, t.
    """
    angle = _angle(start, end)
    sine = angle.sin()
    still = sine < _SMALL
    sine = sine.masked_fill(still, 1.0)
    first = torch.where(still, 1.0, ((1 - share) * angle).sin() / sine)
    second = torch.where(still, 0.0, (share * angle).sin() / sine)
    return first.unsqueeze(-1) * start + second.unsqueeze(-1) * end


def farthest_share(anchors: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """How far along the way from an anchor to another prototype its own one stays the nearer of the two.

    t = atan2(sin Ω, K + cos Ω) / Ω with K = (1 − p · p₀) / (z · (p₀ − p)) and cos Ω = z · p: there both similarities
    are equal. With atan in place of atan2, as in the released code, t is negative where K + cos Ω is.

    Args:
        anchors: z, ``(..., d)``, unit rows.
        own: p₀, ``(..., d)``, the nearest prototype of each.
        others: p, ``(..., d)``.

    Returns:
        ``(...)`` in [0, 1]; 0 where the two prototypes are as near as one another.
    """
    angle = _angle(anchors, others)
    lead = (anchors * (own - others)).sum(-1)
    apart = 1 - (others * own).sum(-1)
    free = (lead > _SMALL) & (apart > _SMALL) & (angle > _SMALL)
    ratio = apart / torch.where(free, lead, 1.0)
    share = torch.atan2(angle.sin(), ratio + angle.cos()) / torch.where(free, angle, 1.0)
    return torch.where(free, share, 0.0).clamp(0, 1)


@torch.no_grad()
def hallucinate_positives(
    anchors: Tensor, prototypes: Tensor, *, spread: float = 0.8, count: int = 100, generator: torch.Generator
) -> Hallucinated:
    """Positives for each anchor, towards prototypes that are not its own (Shah et al., CVPR 2023, section 3.3).

    For each positive another prototype p is drawn, evenly, and the anchor moved towards it by a share t of the way,
    t = (1 − u) t_max with u ~ U(0, ``spread``), where at t_max the anchor's own prototype would no longer be the nearer
    of the two. A third prototype may be nearer still; those positives are not ``kept``.

    Args:
        anchors: ``(n, d)``, normalised inside.
        prototypes: ``(k ≥ 2, d)``, normalised inside.
        spread: λ in [0, 1]; 0.8 in the paper. 0 gives the hardest positives only.
        count: Positives for each anchor; 100 in the paper.
        generator: The only source of randomness; on any device.

    Raises:
        TypeError, ValueError: On other shapes, or numbers out of range.
    """
    _check(anchors, prototypes, spread, count)
    anchors, prototypes = unit(anchors, prototypes)
    n, k = len(anchors), len(prototypes)
    with torch.autocast(anchors.device.type, enabled=False):
        nearest = (anchors @ prototypes.T).argmax(1)
        draws = torch.rand((2, n, count), generator=generator, device=generator.device).to(anchors)
        step = 1 + (draws[0] * (k - 1)).long().clamp(max=k - 2)  # any of the k - 1 others
        targets = prototypes[(nearest[:, None] + step) % k]
        start = anchors[:, None].expand_as(targets)
        furthest = farthest_share(start, prototypes[nearest][:, None].expand_as(targets), targets)
        rows = F.normalize(slerp(start, targets, (1 - spread * draws[1]) * furthest), dim=-1)
        similarity = rows @ prototypes.T
        own = similarity.gather(2, nearest[:, None, None].expand(n, count, 1)).squeeze(2)
        kept = own >= similarity.amax(2) - _ROUNDING  # at t_max two prototypes are equally near
    return Hallucinated(rows, kept)


def _angle(start: Tensor, end: Tensor) -> Tensor:
    return (start * end).sum(-1).clamp(-1, 1).acos()


def _check(anchors: Tensor, prototypes: Tensor, spread: float, count: int) -> None:
    check_rows("anchors", anchors, minimum=1)
    check_rows("prototypes", prototypes)
    if anchors.ndim != 2 or prototypes.ndim != 2 or anchors.shape[1] != prototypes.shape[1]:
        shapes = f"{tuple(anchors.shape)} and {tuple(prototypes.shape)}"
        raise ValueError(f"anchors and prototypes must be (n, d) and (k, d), got shapes {shapes}.")
    if not 0 <= spread <= 1:
        raise ValueError(f"spread must lie between 0 and 1, got {spread!r}.")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
