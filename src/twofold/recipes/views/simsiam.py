"""SimSiam (Chen & He, CVPR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from twofold.contrast.objectives import negative_cosine
from twofold.nn.heads import simsiam_predictor, simsiam_projector
from twofold.options import PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view


class SimSiam(Recipe):
    """SimSiam: a stop-gradient is enough; no teacher, no negatives (Chen & He, CVPR 2021).

    With z = g(f(v)) and p = q(z), eq. 4:   L = ½ D(p1, sg[z2]) + ½ D(p2, sg[z1]),   D = −cos

    What is new: it shows that neither momentum nor negatives prevent collapse, but the stop-gradient (with the
    predictor, whose learning rate stays constant). −1 is the least loss; reaching it early means collapse.

    Args:
        stop_gradient: Without it the method collapses: the paper's own ablation.
        projector_layers: 3 in the paper, 2 on CIFAR-10.
        projection_dim: Dimensions of z; the paper's 2048.
        hidden_dim: Width of the predictor's bottleneck; the paper's 512.
    """

    card: ClassVar[Card] = Card(
        name="simsiam",
        title="Exploring Simple Siamese Representation Learning",
        paper="Chen & He, CVPR 2021",
        new="a stop-gradient alone prevents collapse",
    )
    constant_lr: ClassVar[tuple[str, ...]] = ("predictor",)

    def __init__(
        self,
        *,
        stop_gradient: bool = True,
        projector_layers: PositiveInt = 2,
        projection_dim: PositiveInt = 2048,
        hidden_dim: PositiveInt = 512,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.stop_gradient, self.projector_layers = stop_gradient, projector_layers
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        width = self.projection_dim
        self.projector = simsiam_projector(dim, width, width, layers=self.projector_layers)
        self.predictor = simsiam_predictor(width, self.hidden_dim)

    def represent(self, batch: Batch) -> Outputs:
        z = by_view(lambda view: self.projector(self.encoder(view)), batch["views"])
        return {"prediction": by_view(self.predictor, list(z)), "z": z}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        distance = negative_cosine if self.stop_gradient else negative_cosine_both_ways
        p, z = outputs["prediction"], outputs["z"]
        return torch.stack([distance(p[a], z[b]) for a, b in permutations(range(len(z)), 2)]).mean()


def negative_cosine_both_ways(predictions: Tensor, targets: Tensor) -> Tensor:
    """D without the stop-gradient, for the ablation; mean over rows."""
    return -F.cosine_similarity(predictions.float(), targets.float(), dim=-1).mean()
