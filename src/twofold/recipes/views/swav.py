"""SwAV (Caron et al., NeurIPS 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twofold.contrast.memory import Queue
from twofold.contrast.objectives import swapped_clusters
from twofold.contrast.prototypes import Prototypes, sinkhorn
from twofold.nn.heads import simclr_head
from twofold.options import Count, Fraction, Positive, PositiveInt, ViewCount
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view

GLOBAL_VIEWS = 2


class SwAV(Recipe):
    """SwAV: predict one view's cluster from another view, with balanced clusters (Caron et al., NeurIPS 2020).

    Scores are cosines of z to K prototypes. Codes Q of the two global views come from Sinkhorn on their scores, which
    shares the samples equally among the prototypes; every other view v must predict them, eqs. 1-3:

        L = mean over global i, v ≠ i of −Σ_k Q_i log softmax_k(z_v·c_k/τ)

    What is new: no pairs of samples are compared, clusters are found online; and multi-crop, cheap small views.

    Args:
        prototypes: K; 3000 for ImageNet. About a batch (and queue) of samples or fewer; the 300 given here suits
            small data.
        temperature: τ; the paper's 0.1.
        epsilon: Sharpness of the codes; the paper's 0.05.
        sinkhorn_iterations: Rounds of balancing; the paper's 3. With 0 the clusters collapse.
        queue_size: Past projections that take part in the balancing, for small batches; 3840 in the paper, 0 is off.
        queue_start: Share of the training after which the queue is used; 15 epochs in the paper.
        freeze_prototypes: Share of the training in which the prototypes stay fixed; 1 epoch of 200 in the paper.
        view_count: Views of each sample, of which two are global; the paper's 8.
        projection_dim: Dimensions of z; the paper's 128.
        hidden_dim: Width of the projector; the paper's 2048.
    """

    card: ClassVar[Card] = Card(
        name="swav",
        title="Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
        paper="Caron et al., NeurIPS 2020",
        new="swapped prediction of balanced online cluster assignments, and multi-crop",
    )
    preferred_views: ClassVar[str] = "multi-crop"

    def __init__(
        self,
        *,
        prototypes: PositiveInt = 300,
        temperature: Positive = 0.1,
        epsilon: Positive = 0.05,
        sinkhorn_iterations: Count = 3,
        queue_size: Count = 0,
        queue_start: Fraction = 0.1,
        freeze_prototypes: Fraction = 0.005,
        view_count: ViewCount = 8,
        projection_dim: PositiveInt = 128,
        hidden_dim: PositiveInt = 2048,
        **common: Any,
    ) -> None:
        super().__init__(view_count=view_count, **common)
        self.prototype_count, self.temperature, self.epsilon = prototypes, temperature, epsilon
        self.sinkhorn_iterations, self.freeze_prototypes = sinkhorn_iterations, freeze_prototypes
        self.queue_size, self.queue_start = queue_size, queue_start
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = simclr_head(dim, self.hidden_dim, self.projection_dim)
        self.prototypes = Prototypes(self.projection_dim, self.prototype_count)
        queues = GLOBAL_VIEWS if self.queue_size else 0
        size = min(self.queue_size, int(spec["samples"]))
        self.queues: Any = nn.ModuleList(Queue(size, self.projection_dim) for _ in range(queues))

    def represent(self, batch: Batch) -> Outputs:
        z = by_view(lambda view: F.normalize(self.projector(self.encoder(view)), dim=-1), batch["views"])
        return {"z": z, "scores": by_view(self.prototypes, list(z))}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        codes = torch.stack([self.codes(i, outputs, batch) for i in range(GLOBAL_VIEWS)])
        return swapped_clusters(outputs["scores"], codes, temperature=self.temperature)

    @torch.no_grad()
    def codes(self, view: int, outputs: Outputs, batch: Batch) -> Tensor:
        """Balanced assignments ``(n, prototypes)`` of one global view."""
        scores = outputs["scores"][view].float()
        count = len(scores)
        if self.queues and batch["progress"] >= self.queue_start:
            queue = self.queues[view]
            if queue.filled == len(queue.rows):
                scores = torch.cat([self.prototypes(queue.share()).float(), scores])
        return sinkhorn(scores, epsilon=self.epsilon, iterations=self.sinkhorn_iterations)[-count:]

    def before_update(self, batch: Batch) -> None:
        if batch["progress"] < self.freeze_prototypes:
            for parameter in self.prototypes.parameters():
                parameter.grad = None

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        self.prototypes.normalize_()
        for view, queue in enumerate(self.queues):
            queue.push(outputs["z"][view])

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(self.prototype_count)
