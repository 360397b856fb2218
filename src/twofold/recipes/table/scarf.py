"""SCARF (Bahri et al., ICLR 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.objectives import info_nce
from twofold.nn.heads import mlp_head
from twofold.options import Positive, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.views.simclr import ProjectedViews


class SCARF(ProjectedViews):
    """SCARF: a row must find its own corrupted copy among those of the batch (Bahri et al., ICLR 2022).

    z = g(f(x)) of a row as it is, z' = g(f(x')) of the same row in which a share c of the features, drawn anew for each
    row, is replaced by draws from their empirical marginals:

        ℓ_i = −s(z_i, z'_i)/τ + log Σ_k exp(s(z_i, z'_k)/τ)

    What is new: a view for data that cannot be cropped or blurred, and only one of the two views is corrupted. With
    more views the loss is the mean over the corrupted ones. Certain from the paper: c = 0.6, τ = 1, the clean view asks
    and only corrupted ones are candidates, an encoder of 4 layers and a head of 2, all 256 wide with ReLU, Adam with
    learning rate 10⁻³ and batches of 128. Not verified: whether any layer is normalized (here none is), and the
    details of its early stopping on a fixed validation loss (here the number of epochs is given). Draws come from the
    rows of the batch: see ``twofold.modalities.table.views.Corrupt``.

    Measured here (benchmarks/modalities/results/table.json, five labels a class): 4.8 to 9.0 points above the untrained
    encoder on three small sets, but 0.8 to 2.7 below the standardized columns; with 30 % of both views corrupted
    (``views="corruption"``) 2 to 4 points better than with its own views.

    Args:
        temperature: τ; the paper's 1.
        projection_dim: Dimensions of z; the paper's 256.
        hidden_dim: Width of the head; the paper's 256.
    """

    card: ClassVar[Card] = Card(
        name="scarf",
        title="SCARF: Self-Supervised Contrastive Learning using Random Feature Corruption",
        paper="Bahri et al., ICLR 2022",
        new="one view is the row itself, the other has most of its features replaced by those of other rows",
        modalities=("table",),
    )
    preferred_views: ClassVar[str] = "scarf"
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 128}

    def __init__(
        self,
        *,
        temperature: Positive = 1.0,
        projection_dim: PositiveInt = 256,
        hidden_dim: PositiveInt = 256,
        **common: Any,
    ) -> None:
        super().__init__(projection_dim=projection_dim, hidden_dim=hidden_dim, **common)
        self.temperature = temperature

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = mlp_head(dim, self.hidden_dim or dim, self.projection_dim, norm="none")

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        clean, *corrupted = outputs["z"]
        return torch.stack([info_nce(clean, view, temperature=self.temperature) for view in corrupted]).mean()

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(batch_size)
