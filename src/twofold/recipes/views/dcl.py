"""Decoupled contrastive learning (Yeh et al., ECCV 2022)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor

from twofold.contrast.objectives import decoupled, decoupled_weighted
from twofold.options import Positive
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.views.simclr import SimCLR


class DCL(SimCLR):
    """DCL: SimCLR without the positive in the denominator (Yeh et al., ECCV 2022).

    InfoNCE multiplies the gradient by 1 − p(positive), which vanishes for easy positives or few negatives. Taking
    the positive out of the denominator removes that factor, eq. 6:

        ℓ_a = −s(a, p(a))/τ + log Σ_{b of other samples} exp(s(a, b)/τ)

    What is new: that one change, aimed at small batches. The value can be negative. Everything else is SimCLR, but that
    with more than two views each anchor meets all of them at once, and s(a, p(a)) is the mean over its other views.
    Measured here: with τ chosen for each method, no difference at batch sizes 32 to 256 on small CIFAR-10 runs
    (docs/results/dcl-batch-size.md).

    Args:
        temperature: τ; 0.1 in the paper.
        positive_sigma: σ of DCLW, which lets harder positives weigh more (eq. 7; 0.5 there); none is plain DCL.
    """

    card: ClassVar[Card] = Card(
        name="dcl",
        title="Decoupled Contrastive Learning",
        paper="Yeh et al., ECCV 2022",
        new="the positive is left out of the denominator, aimed at small batches",
        status="does not replicate at small scale",
    )

    def __init__(self, *, temperature: Positive = 0.1, positive_sigma: Positive | None = None, **common: Any) -> None:
        super().__init__(temperature=temperature, **common)
        self.positive_sigma = positive_sigma

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        if self.positive_sigma is None:
            return decoupled(outputs["z"], temperature=self.temperature)
        return decoupled_weighted(outputs["z"], temperature=self.temperature, sigma=self.positive_sigma)

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(self.view_count * (batch_size - 1))
