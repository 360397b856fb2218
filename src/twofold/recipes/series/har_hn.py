"""Contrast of two kinds of sensors with hard negatives (Choi et al., 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from twofold.contrast.objectives.hardness import hard_info_nce
from twofold.errors import ConfigError
from twofold.modalities.series.encoders import TwoStream
from twofold.nn.heads import mlp_head
from twofold.options import Fraction, NonNegative, Positive, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe


class HarHN(Recipe):
    """HAR-HN: two sensors of the same moment find one another among hard negatives (Choi et al., arXiv 2023).

    An encoder for each of two parts of the channels (``parts="3,3"``), z = norm(g(f(part))), and from part to part in
    both directions, with M negatives of importance ω_b ∝ exp(β s(a, b)/τ) of mean 1 (Robinson et al., ICLR 2021):

        ℓ_a = −log e⁺ / (e⁺ + M g),  g = max{ [mean_b ω_b exp(s(a, b)/τ) − τ⁺ e⁺] / (1 − τ⁺), exp(−1/τ) }

    What is new: hard, debiased negatives where two modalities are contrasted; hardness = class_prior = 0 is the
    baseline CMC (Tian et al., ECCV 2020), exactly. The embedding is that of both parts side by side.

    The paper contrasts skeletons with inertial sensors; here any two parts of the channels. The paper itself was not
    at hand: losses and encoders follow its published baseline (CMC-CMKM; Brinzea et al., IJCNN 2022) and the standard
    formula above. Both directions are averaged, where the baseline adds them. Measured: no gain over CMC, and a loss
    for neighbours where classes are few (benchmarks/modalities/results/series.json).

    Measured here on watches of unseen people, three seeds: 20 neighbours 66.8 ± 2.2 % (without hardness and prior 65.0
    ± 2.1, untrained 63.9, raw 74.3), linear probe 70.5 ± 3.5 % (71.9 ± 2.3, 72.7, 81.6); docs/results/modalities.md.

    Args:
        temperature: τ; 0.1 in the baseline.
        hardness: β; 0 is uniform, 0.5 to 2 are usual.
        class_prior: τ⁺, the chance that a negative is of the anchor's class; one divided by the number of classes,
            where they are known to be balanced.
        projection_dim: Dimensions of z; the baseline's 128.
        hidden_dim: Width of the heads; the baseline's 256.
    """

    card: ClassVar[Card] = Card(
        name="har-hn",
        title="Multimodal Contrastive Learning with Hard Negative Sampling for Human Activity Recognition",
        paper="Choi et al., arXiv 2023",
        new="hard, debiased negatives between two kinds of sensors",
        modalities=("series",),
    )
    preferred_views: ClassVar[str] = "ts-tcc-weak"
    preferred_encoder: ClassVar[str | None] = "two-stream"
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 64}

    def __init__(
        self,
        *,
        temperature: Positive = 0.1,
        hardness: NonNegative = 1.0,
        class_prior: Fraction = 0.1,
        projection_dim: PositiveInt = 128,
        hidden_dim: PositiveInt = 256,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        if class_prior == 1:
            raise ConfigError("class_prior must be below 1, got 1.0: then there would be no negatives.")
        if self.view_count != 2:
            raise ConfigError(f"HarHN contrasts two parts of the channels; view_count must be 2, not {self.view_count}")
        self.temperature, self.hardness, self.class_prior = temperature, hardness, class_prior
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        if not isinstance(self.encoder.backbone, TwoStream):
            raise ConfigError(f"HarHN needs an encoder for each part: two-stream, not {self.chosen_encoder}.")
        self.projectors = nn.ModuleList(
            mlp_head(width, self.hidden_dim, self.projection_dim) for width in self.encoder.backbone.dims
        )

    def represent(self, batch: Batch) -> Outputs:
        """z of part 0 of the first view and of part 1 of the second, ``(2, n, projection_dim)``."""
        return {"z": torch.stack([self.project(view, part) for part, view in enumerate(batch["views"])])}

    def project(self, view: Any, part: int) -> Tensor:
        """z = g(f(part of the view)), ``(n, projection_dim)``."""
        features = self.encoder.backbone.stream(self.encoder.normalized(view), part)
        z: Tensor = self.projectors[part](features)
        return z

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        first, second = outputs["z"]
        return (self.contrast(first, second) + self.contrast(second, first)) / 2

    def contrast(self, anchors: Tensor, positives: Tensor) -> Tensor:
        """The loss of one part's rows, to be found among the other's."""
        return hard_info_nce(
            anchors,
            positives,
            temperature=self.temperature,
            hardness=self.hardness,
            class_prior=self.class_prior,
        )

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(batch_size)
