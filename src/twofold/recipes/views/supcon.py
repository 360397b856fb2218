"""Supervised contrastive learning (Khosla et al., NeurIPS 2020)."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from torch import Tensor

from twofold.contrast.objectives import supervised, supervised_inside
from twofold.options import Positive
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.views.simclr import SimCLR


class SupCon(SimCLR):
    """SupCon: every sample of the anchor's class is a positive (Khosla et al., NeurIPS 2020).

    With P(a) all other views of the batch that share a's label, eq. 2:

        ℓ_a = −1/|P(a)| Σ_{p ∈ P(a)} [ s(a, p)/τ − log Σ_{b ≠ a} exp(s(a, b)/τ) ]

    What is new: many positives per anchor, chosen by labels. It learns from labels: compare it with supervised
    training, not with methods that see none. Samples without a label are positives of their own views only.

    Args:
        temperature: τ; 0.1 in the paper, 0.07 in the authors' code.
        positives: Where the mean over positives stands: outside the logarithm (eq. 2) or inside (eq. 3, weaker).
    """

    card: ClassVar[Card] = Card(
        name="supcon",
        title="Supervised Contrastive Learning",
        paper="Khosla et al., NeurIPS 2020",
        new="all samples of a class are positives of each other",
    )
    needs_labels: ClassVar[bool] = True

    def __init__(
        self, *, temperature: Positive = 0.1, positives: Literal["outside", "inside"] = "outside", **common: Any
    ) -> None:
        super().__init__(temperature=temperature, **common)
        self.positives = positives

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        loss = supervised if self.positives == "outside" else supervised_inside
        return loss(outputs["z"], batch["label"], temperature=self.temperature)

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(self.view_count * batch_size - 1)
