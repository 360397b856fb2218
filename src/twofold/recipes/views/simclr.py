"""SimCLR (Chen et al., ICML 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from twofold.contrast.objectives import pairwise_average
from twofold.nn.heads import simclr_head
from twofold.options import Positive, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view


class ProjectedViews(Recipe):
    """What SimCLR shares with methods that change its loss only: one encoder, one projector, all views alike.

    Args:
        projection_dim: Dimensions of z; SimCLR's 128.
        hidden_dim: Width of the projector; none takes the encoder's width, as SimCLR does.
    """

    def __init__(
        self, *, projection_dim: PositiveInt = 128, hidden_dim: PositiveInt | None = None, **common: Any
    ) -> None:
        super().__init__(**common)
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = simclr_head(dim, self.hidden_dim, self.projection_dim)

    def represent(self, batch: Batch) -> Outputs:
        return {"z": by_view(self.project, batch["views"])}

    def project(self, view: Any) -> Tensor:
        """z = g(f(view)), ``(n, projection_dim)``."""
        z: Tensor = self.projector(self.encoder(view))
        return z


class SimCLR(ProjectedViews):
    """SimCLR: tell two views of a sample from all other views of the batch (Chen et al., ICML 2020).

    z = g(f(view)), and for each of the 2N views a with partner p(a), eq. 1:

        ℓ_a = −s(a, p(a))/τ + log Σ_{b ≠ a} exp(s(a, b)/τ)

    What is new: strong composed augmentation, a nonlinear projector g that is dropped afterwards, and large batches
    in place of a memory. With more than two views the loss is averaged over the pairs of views.

    Args:
        temperature: τ; 0.1 in the paper's ImageNet runs, 0.5 on CIFAR-10.
    """

    card: ClassVar[Card] = Card(
        name="simclr",
        title="A Simple Framework for Contrastive Learning of Visual Representations",
        paper="Chen et al., ICML 2020",
        new="strong augmentation, a projector and in-batch negatives from both views",
    )

    def __init__(self, *, temperature: Positive = 0.1, **common: Any) -> None:
        super().__init__(**common)
        self.temperature = temperature

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        return pairwise_average(outputs["z"], temperature=self.temperature)

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(2 * batch_size - 1)
