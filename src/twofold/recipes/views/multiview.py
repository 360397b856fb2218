"""MV-InfoNCE and MV-DHEL (Koromilas et al., 2025)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor

from twofold.contrast.objectives import mv_dhel, mv_info_nce
from twofold.options import Positive, ViewCount
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.views.simclr import SimCLR


class MVInfoNCE(SimCLR):
    """MV-InfoNCE: one term a sample that sees all interactions of its views (Koromilas et al., 2025).

    ℓ_i = −log [ Σ_{l ≠ l'} exp(s(z_i^l, z_i^l')/τ) / Σ_l Σ_{(j,m) ≠ (i,l)} exp(s(z_i^l, z_j^m)/τ) ]

    What is new: instead of averaging a loss over pairs of views, whose terms conflict, numerator and denominator are
    pooled. Compare at an equal number of views processed: four views cost twice what two cost.

    Args:
        temperature: τ; 0.5 for CIFAR and 0.1 for ImageNet in the paper.
        view_count: Views of each sample; the paper's gains grow with it.
        same_view_negatives: Count negatives of the anchor's own view, as the authors' code does (their formula
            does not).
    """

    card: ClassVar[Card] = Card(
        name="mv-infonce",
        title="A Principled Framework for Multi-View Contrastive Learning",
        paper="Koromilas et al., arXiv 2025",
        new="numerator and denominator of InfoNCE are pooled over all views of a sample",
    )

    def __init__(
        self,
        *,
        temperature: Positive = 0.5,
        view_count: ViewCount = 4,
        same_view_negatives: bool = True,
        **common: Any,
    ) -> None:
        super().__init__(temperature=temperature, view_count=view_count, **common)
        self.same_view_negatives = same_view_negatives

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        return mv_info_nce(outputs["z"], temperature=self.temperature, same_view_negatives=self.same_view_negatives)

    def chance_level(self, batch_size: int) -> float | None:
        views = self.view_count
        candidates = views * batch_size - 1 if self.same_view_negatives else (views - 1) * batch_size
        return math.log(views * candidates / (views * (views - 1)))


class MVDHEL(SimCLR):
    """MV-DHEL: all views aligned in one term, each view spread out by itself (Koromilas et al., 2025).

    ℓ_i = −log Σ_{l < l'} exp(s(z_i^l, z_i^l')/τ) + Σ_l log Σ_{j ≠ i} exp(s(z_i^l, z_j^l)/τ)

    What is new: alignment and uniformity are decoupled, and uniformity is a product over views of within-view sums,
    at O(n² V) instead of O(n² V²). With two views it is DHEL.

    Args:
        temperature: τ; 0.5 for CIFAR and 0.1 for ImageNet in the paper.
        view_count: Views of each sample; the paper's gains grow with it.
    """

    card: ClassVar[Card] = Card(
        name="mv-dhel",
        title="A Principled Framework for Multi-View Contrastive Learning",
        paper="Koromilas et al., arXiv 2025",
        new="alignment over all pairs of views, decoupled from uniformity within each view",
    )

    def __init__(self, *, temperature: Positive = 0.5, view_count: ViewCount = 4, **common: Any) -> None:
        super().__init__(temperature=temperature, view_count=view_count, **common)

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        return mv_dhel(outputs["z"], temperature=self.temperature)

    def chance_level(self, batch_size: int) -> float | None:
        views = self.view_count  # all similarities 0, as random vectors of many dimensions have
        return views * math.log(batch_size - 1) - math.log(views * (views - 1) / 2)
