"""The behaviour of contrastive loss (Wang & Liu, CVPR 2021)."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor

from twofold.contrast.objectives import hard_contrastive, simple
from twofold.options import NonNegative, Positive, Range
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.views.simclr import SimCLR


class HardContrastive(SimCLR):
    """Explicit hard negatives, to take apart what the temperature does (Wang & Liu, CVPR 2021).

    The temperature sets how much the hardest negatives dominate (the gradient on negative j is proportional to
    exp(s_ij/τ)), trading uniformity for tolerance of alike samples. The paper's two probes of that are here:

        contrastive   −log exp(s_a/τ) / (exp(s_a/τ) + Σ_{hard b} exp(s_ab/τ))
        simple        −s_a + λ mean_{hard b} s_ab                       (the limit τ → ∞)

    What is new: the analysis, and choosing the negatives above a quantile explicitly, which makes even the simple
    loss competitive. ``hardest=1`` is the ordinary loss. The paper contrasts against a memory of all samples; here
    the negatives are those of the batch, from both views.

    Args:
        loss: The contrastive loss, or its large-temperature limit.
        hardest: Share of the negatives that is kept, the most similar ones; 0.0819 for CIFAR-10 in the paper.
        temperature: τ of the contrastive loss; with hard negatives the paper's best are 0.7 to 1.
        negative_weight: λ of the simple loss.
    """

    card: ClassVar[Card] = Card(
        name="understanding-cl",
        title="Understanding the Behaviour of Contrastive Loss",
        paper="Wang & Liu, CVPR 2021",
        new="explicit hard negatives separate hardness from temperature",
    )

    def __init__(
        self,
        *,
        loss: Literal["contrastive", "simple"] = "contrastive",
        hardest: Annotated[float, Range(above=0, at_most=1)] = 0.0819,
        temperature: Positive = 0.7,
        negative_weight: NonNegative = 1.0,
        **common: Any,
    ) -> None:
        super().__init__(temperature=temperature, **common)
        self.loss, self.hardest, self.negative_weight = loss, hardest, negative_weight

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        if self.loss == "simple":
            return simple(outputs["z"], negative_weight=self.negative_weight, hardest=self.hardest)
        return hard_contrastive(outputs["z"], temperature=self.temperature, hardest=self.hardest)

    def chance_level(self, batch_size: int) -> float | None:
        if self.loss == "simple":
            return None
        return math.log(1 + max(1, round(self.hardest * self.view_count * (batch_size - 1))))
