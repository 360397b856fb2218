"""Contrastive attraction and contrastive repulsion (Zheng et al., TMLR 2023)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from twofold.contrast.objectives import attraction_repulsion
from twofold.options import NonNegative, ViewCount
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.views.simclr import ProjectedViews


class CACR(ProjectedViews):
    """CACR: pull farther positives harder, push closer negatives harder (Zheng et al., TMLR 2023).

    Positives compete among themselves and negatives among themselves, instead of all in one softmax:

        L = mean Σ_b π⁺_b ‖z_i^a − z_i^b‖² − mean Σ_{j ≠ i} π⁻_j ‖z_i^a − z_j^b‖²
        π⁺ = softmax_b(t⁺ ‖·‖²),  π⁻ = softmax_j(−t⁻ ‖·‖²)

    What is new: the two conditional weightings. This is the authors' small-scale form (views of the batch, five of
    them, gradients through the weights); their large-scale form on a momentum encoder is not part of it. The repulsion
    is averaged over pairs of views; there is no temperature.

    Args:
        attraction_scale: t⁺; the paper's 1. 0 weighs all positives alike.
        repulsion_scale: t⁻; 0.9 for CIFAR-10, 2 for CIFAR-100 in the authors' code. 0 weighs all negatives alike.
        detach_weights: Treat the weights as constants, as the authors' large-scale code does.
        view_count: Views of each sample; the paper's 5.
    """

    card: ClassVar[Card] = Card(
        name="cacr",
        title="Contrastive Attraction and Contrastive Repulsion for Representation Learning",
        paper="Zheng et al., TMLR 2023",
        new="separate distance-dependent weights for positives and for negatives",
    )

    def __init__(
        self,
        *,
        attraction_scale: NonNegative = 1.0,
        repulsion_scale: NonNegative = 0.9,
        detach_weights: bool = False,
        view_count: ViewCount = 5,
        **common: Any,
    ) -> None:
        super().__init__(view_count=view_count, **common)
        self.attraction_scale, self.repulsion_scale = attraction_scale, repulsion_scale
        self.detach_weights = detach_weights

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        attraction, repulsion = attraction_repulsion(
            outputs["z"],
            attraction_scale=self.attraction_scale,
            repulsion_scale=self.repulsion_scale,
            detach_weights=self.detach_weights,
        )
        return {"total": attraction + repulsion, "attraction": attraction, "repulsion": repulsion}
