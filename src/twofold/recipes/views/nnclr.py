"""Nearest-neighbour contrast (NNCLR; Dwibedi et al., ICCV 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import permutations
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from twofold.contrast.memory import Queue
from twofold.contrast.objectives import info_nce
from twofold.nn.heads import nnclr_predictor, nnclr_projector
from twofold.options import Positive, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view


class NNCLR(Recipe):
    """NNCLR: the positive is the nearest neighbour of the other view (Dwibedi et al., ICCV 2021).

    With Q a queue of past projections and NN(z) its member nearest to z, eq. 3:

        ℓ_i = −log exp(NN(z_i)·p_i⁺/τ) / Σ_k exp(NN(z_i)·p_k⁺/τ),   p⁺ the other views' predictions, both ways

    What is new: positives that are other samples, richer than any augmentation of the sample itself. Until the queue
    holds a row, a sample is its own neighbour. A sample's own old projection is never its neighbour here: with a
    queue that spans an epoch it would usually be the nearest, and the method would fall back to SimCLR.

    Args:
        temperature: τ; 0.1 in the paper.
        queue_size: Projections kept; 98304 in the paper. Never more than there are samples.
        projection_dim: Dimensions of z; the paper's 256.
        hidden_dim: Width of the projector; the paper's 2048. The predictor is twice as wide, as there.
    """

    card: ClassVar[Card] = Card(
        name="nnclr",
        title="With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning",
        paper="Dwibedi et al., ICCV 2021",
        new="nearest neighbours in a queue serve as positives",
    )

    def __init__(
        self,
        *,
        temperature: Positive = 0.1,
        queue_size: PositiveInt = 98304,
        projection_dim: PositiveInt = 256,
        hidden_dim: PositiveInt = 2048,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.temperature, self.queue_size = temperature, queue_size
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = nnclr_projector(dim, self.hidden_dim, self.projection_dim)
        self.predictor = nnclr_predictor(self.projection_dim, 2 * self.hidden_dim)
        self.queue = Queue(min(self.queue_size, int(spec["samples"])), self.projection_dim, with_index=True)

    def represent(self, batch: Batch) -> Outputs:
        z = by_view(lambda view: self.projector(self.encoder(view)), batch["views"])
        return {"z": z, "prediction": by_view(self.predictor, list(z))}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        neighbors = [self.nearest(z, batch["index"]) for z in outputs["z"]]
        losses = [
            info_nce(neighbors[a], outputs["prediction"][b], temperature=self.temperature)
            for a, b in permutations(range(len(neighbors)), 2)
        ]
        return torch.stack(losses).mean()

    @torch.no_grad()
    def nearest(self, z: Tensor, index: Tensor) -> Tensor:
        """The queue's row most similar to each z, of another sample; z itself while there is none."""
        filled, queued = self.queue.filled, self.queue.index
        z = F.normalize(z.float(), dim=-1)
        if filled == 0 or queued is None:
            return z
        similarity = z @ self.queue.rows[:filled].T
        similarity.masked_fill_(index[:, None] == queued[None, :filled], float("-inf"))
        best, where = similarity.max(1)
        return torch.where(best.isneginf()[:, None], z, self.queue.rows[where])

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        self.queue.push(outputs["z"][0], batch["index"])

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(batch_size)
