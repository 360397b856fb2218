"""Where things stand: multi-view embeddings as flat anchors and candidates, here and on every process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from twofold.contrast.checks import Temperature
from twofold.contrast.gather import gather, local_rows
from twofold.contrast.pairs import AllBut, all_but_self


@dataclass(frozen=True, eq=False)
class FlatViews:
    """V views of n local samples as anchors, V views of all N samples (n, in one process) as candidates."""

    anchors: Tensor
    """``(V·n, d)``, view after view."""
    candidates: Tensor
    """``(V·N, d)``, view after view."""
    views: int
    """V."""

    @cached_property
    def anchor_items(self) -> Tensor:
        """int64 ``(V·n,)``: which of the N samples each anchor shows."""
        return local_rows(len(self.anchors) // self.views, device=self.anchors.device).repeat(self.views)

    @cached_property
    def candidate_items(self) -> Tensor:
        """int64 ``(V·N,)``."""
        return torch.arange(self._total, device=self.anchors.device).repeat(self.views)

    @cached_property
    def positions(self) -> Tensor:
        """int64 ``(V·n,)``: where each anchor itself stands among the candidates."""
        if self.candidates is self.anchors:
            return torch.arange(len(self.anchors), device=self.anchors.device)
        return self.anchor_items + self._starts.repeat_interleave(len(self.anchors) // self.views)

    def not_self(self) -> AllBut:
        """Every candidate but the anchor itself."""
        return all_but_self(self.positions)

    def other_items(self) -> AllBut:
        """The negatives: candidates that show another sample."""
        return AllBut(self.anchor_items[:, None] + self._starts, mutual=True)

    @property
    def _total(self) -> int:
        return len(self.candidates) // self.views

    @property
    def _starts(self) -> Tensor:
        return torch.arange(self.views, device=self.anchors.device) * self._total


def flatten_views(z: Tensor) -> FlatViews:
    """Lay ``(views, n, d)`` out flat; candidates come from all processes through the one gather.

    In one process they are the very tensor of the anchors: so reductions see that similarities are symmetric.
    """
    everyone = gather(z, dim=1)
    anchors = z.flatten(0, 1)
    return FlatViews(anchors, anchors if everyone is z else everyone.flatten(0, 1), views=len(z))


def inverse_temperature(temperature: Temperature, like: Tensor, *, views: int = 1) -> Tensor:
    """1/τ as a tensor that keeps τ's gradient: 0-d, or ``(views · n,)`` for one temperature per sample.

    Args:
        temperature: A number, 0-d or ``(n,)``.
        like: ``(..., n, d)``, the rows whose dtype and device the result takes.
        views: How often one temperature per sample is repeated.
    """
    if not isinstance(temperature, Tensor):
        return torch.as_tensor(1 / temperature, dtype=like.dtype, device=like.device)
    tau = temperature.to(like)
    if tau.ndim > 0 and tau.shape != like.shape[-2:-1]:
        raise ValueError(f"temperature must be a number, 0-d or ({like.shape[-2]},), got shape {tuple(tau.shape)}.")
    return 1 / (tau.repeat(views) if tau.ndim == 1 else tau)


def logit_bound(temperature: Temperature, *, normalize: bool) -> float | None:
    """1/τ, above which no logit of directions is; None where that is not known without waiting for an accelerator.

    Args:
        temperature: τ > 0; a number, 0-d or ``(n,)``, of which the smallest counts.
        normalize: Whether the rows are scaled to unit length.
    """
    if not normalize:
        return None
    if isinstance(temperature, Tensor):
        return float(1 / temperature.detach().min()) if temperature.device.type == "cpu" else None
    return 1 / temperature


def positive_similarity(z: Tensor) -> Tensor:
    """Each anchor's mean similarity to the other views of its sample: ``(V·n,)``.

    Args:
        z: ``(V, n, d)``, normalized.
    """
    views = z.shape[0]
    if views == 2:
        first, second = z.unbind()
        each = (first * second).sum(-1)
        return torch.cat((each, each))
    others = z.sum(0, keepdim=True) - z
    return ((z * others).sum(-1) / (views - 1)).flatten()
