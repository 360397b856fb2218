"""Hallucinated latent positives (HaLP; Shah et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.checks import raise_precision
from twofold.contrast.directions import unit
from twofold.contrast.hallucination import Hallucinated, hallucinate_positives
from twofold.contrast.prototypes import kmeans
from twofold.errors import ConfigError
from twofold.options import Fraction, NonNegative, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.series.skeleton_moco import SkeletonMoCo


class HaLP(SkeletonMoCo):
    """HaLP: hard positives made in the latent space, on top of momentum contrast (Shah et al., CVPR 2023).

    Prototypes are the spherical k-means of the newest keys. A key k with nearest prototype p₀ is moved along the great
    circle towards another prototype p, at most to where p₀ stops being the nearer of the two (closed form):

        t_max = atan2(sin Ω, K + cos Ω) / Ω,   K = (1 − p·p₀) / (k·(p₀ − p)),   cos Ω = k·p
        L = L_MoCo + μ mean over those still nearest to p₀ of −q·z(t)/τ,        t = (1 − u) t_max,  u ~ U(0, λ)

    What is new: the second term. It attracts only, and gradients go through q alone. With ``weight=0`` it is
    ``skeleton-moco``. The released code takes atan for atan2, which gives a negative t where K + cos Ω < 0.
    Measured on J-HMDB: as SkeletonCLR trained equally long (benchmarks/modalities/results/series.json).

    Measured here on JHMDB's skeletons, three seeds: 20 neighbours 68.0 ± 2.6 % (untrained 64.8, raw 49.4), linear probe
    69.7 ± 2.9 % (untrained 69.7, raw 74.4); docs/results/modalities.md.

    Args:
        weight: μ; 1 to 2 in the paper.
        spread: λ; 0.8 in the paper. Smaller makes harder positives.
        positives: Made for each key; 100 in the paper.
        prototypes: 20 in the paper.
        newest: Keys that prototypes are made from; 256 in the paper. At most what the queue holds.
        every: Steps between new prototypes; 5 to 10 in the paper.
        start: Share of the training after which the term is added; 200 of 451 epochs in the paper. Never before the
            queue has been filled twice.
    """

    card: ClassVar[Card] = Card(
        name="halp",
        title="HaLP: Hallucinating Latent Positives for Skeleton-based Self-Supervised Learning of Actions",
        paper="Shah et al., CVPR 2023",
        new="hard positives made in the latent space by a closed form, and attracted only",
        modalities=("series",),
    )

    centers: Tensor
    steps_done: Tensor
    clustered: Tensor

    def __init__(
        self,
        *,
        weight: NonNegative = 1.0,
        spread: Fraction = 0.8,
        positives: PositiveInt = 100,
        prototypes: PositiveInt = 20,
        newest: PositiveInt = 256,
        every: PositiveInt = 5,
        start: Fraction = 0.44,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if self.queue_size == 1:
            raise ConfigError("HaLP clusters the queue: queue_size must be at least 2, got 1.")
        self.weight, self.spread, self.positives = weight, spread, positives
        self.prototypes, self.newest, self.every, self.start = prototypes, newest, every, start

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        super().build_heads(dim, spec)
        count = max(2, min(self.prototypes, self.newest // 2, len(self.queue.rows) // 2))
        self.register_buffer("centers", torch.zeros(count, self.projection_dim))
        self.register_buffer("clustered", torch.zeros((), dtype=torch.bool))
        self.register_buffer("steps_done", torch.zeros((), dtype=torch.int64))

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        contrast = super().objective(outputs, batch)
        assert isinstance(contrast, Tensor)
        if self.weight == 0 or not bool(self.clustered) or batch["progress"] < self.start:
            return contrast
        made = hallucinate_positives(
            outputs["key"][0],
            self.centers,
            spread=self.spread,
            count=self.positives,
            generator=batch["generator"],
        )
        attraction = attraction_to(outputs["query"][0], made) / self.temperature
        return {"total": contrast + self.weight * attraction, "moco": contrast, "hallucinated": attraction}

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        super().after_step(outputs, batch)
        if int(self.steps_done) % self.every == 0 and int(self.queue.pushed) >= 2 * len(self.queue.rows):
            self.cluster()
        self.steps_done += 1

    def cluster(self) -> None:
        """New prototypes from the newest keys; the same on all processes, which hold the same queue."""
        size = len(self.queue.rows)
        ages = torch.arange(1, min(max(2, self.newest), size) + 1, device=self.queue.rows.device)
        draw = torch.Generator().manual_seed(int(self.queue.pushed))
        keys = self.queue.rows[(self.queue.pushed - ages) % size]
        self.centers.copy_(kmeans(keys, len(self.centers), generator=draw, spherical=True).centroids)
        self.clustered.fill_(True)


def attraction_to(queries: Tensor, made: Hallucinated) -> Tensor:
    """−q·z averaged over all hallucinated positives that are kept; 0 if none is.

    Args:
        queries: ``(n, d)``, normalised here.
        made: Their positives ``(n, count, d)``.
    """
    (queries,) = unit(*raise_precision(queries))
    pull = (made.rows * made.kept[..., None]).sum(1)  # all positives of an anchor at once: q·Σz
    return -(queries * pull).sum() / made.kept.sum().clamp(min=1)
