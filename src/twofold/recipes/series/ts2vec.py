"""TS2Vec (Yue et al., AAAI 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from twofold.contrast.objectives.hierarchical import hierarchical_contrast
from twofold.errors import ConfigError
from twofold.nn.teacher import Teacher
from twofold.options import Fraction
from twofold.recipes.base import Batch, Card, Outputs, Recipe


class TS2Vec(Recipe):
    """TS2Vec: contrast the steps that two crops of a series share, at every scale of time (Yue et al., AAAI 2022).

    Two crops overlap. Each step of each is hidden with probability ``mask`` after the first linear layer, the encoder
    gives features r_it of the steps, and on the common part, over series and over time (eqs. 1-3):

        L = mean over scales of α ℓ_instance + (1 − α) ℓ_temporal,   features pooled by a maximum from scale to scale

    What is new: no view presumes an invariance of the data beyond context (a step is the same step, whatever is seen
    around it), and one encoder gives features of steps and of any stretch. The embedding of a series is the maximum
    over its steps, by the average of the weights over all steps of training, as the paper evaluates it.

    The paper trains for 200 or 600 steps of 16 series whatever the size of the data; here epochs count. Series are
    compared within a process (crops differ in length between processes). Measured: linear probe 98.0 on GunPoint, 94.0
    untrained; 99.0 on JapaneseVowels, 98.9 untrained (benchmarks/modalities/results/series.json).

    Measured here, three seeds: JapaneseVowels 20 neighbours 96.2 ± 0.7 % (untrained 95.1, raw 73.8), GunPoint linear
    probe 98.0 ± 0.7 % (94.0, 74.7); on watches of unseen people it does not beat the untrained encoder;
    docs/results/modalities.md.

    Args:
        mask: Share of the steps that are hidden; 0.5 in the paper.
        instance_weight: α; 0.5 in the paper. 1 contrasts series only, 0 steps of a series only.
    """

    card: ClassVar[Card] = Card(
        name="ts2vec",
        title="TS2Vec: Towards Universal Representation of Time Series",
        paper="Yue et al., AAAI 2022",
        new="steps of overlapping crops contrasted over series and over time, at every scale",
        modalities=("series",),
    )
    preferred_views: ClassVar[str] = "ts2vec"
    preferred_encoder: ClassVar[str | None] = "dilated-convnet"
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 16, "lr": 1e-3, "weight_decay": 1e-2}

    average_count: Tensor

    def __init__(self, *, mask: Fraction = 0.5, instance_weight: Fraction = 0.5, **common: Any) -> None:
        super().__init__(**common)
        self.mask, self.instance_weight = mask, instance_weight

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        if not self.encoder.has_step_features:
            raise ConfigError(
                f"TS2Vec compares single steps, and the encoder {self.chosen_encoder} gives no features of them: "
                "take dilated-convnet or bigru."
            )
        if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in self.encoder.modules()):
            raise ConfigError(
                f"TS2Vec keeps the average of the weights, and {self.chosen_encoder} has batch norm, whose statistics "
                "would not be those of the average: take dilated-convnet or bigru."
            )
        self.average = Teacher(self.encoder)
        self.register_buffer("average_count", torch.zeros((), dtype=torch.int64))

    def represent(self, batch: Batch) -> Outputs:
        return {"z": torch.stack([self.common_steps(view) for view in batch["views"]])}

    def common_steps(self, view: Any) -> Tensor:
        """Features ``(n, t, d)`` of the steps that both views have, from a view some of whose steps are hidden."""
        series = view["series"] if isinstance(view, Mapping) else view
        keep = torch.rand(series.shape[:2], device=series.device) >= self.mask
        features: Tensor = self.encoder.step_features(series, keep)
        if not isinstance(view, Mapping):
            return features
        first, last = view["common"][0].tolist()
        return features[:, first:last]

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        first, second = outputs["z"]
        return hierarchical_contrast(first, second, instance_weight=self.instance_weight)

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        count = int(self.average_count)
        self.average.update(self.encoder, count / (count + 1))
        self.average_count += 1

    def encode(self, inputs: Any) -> Tensor:
        """The embedding ``(n, dim)`` by the averaged weights."""
        features: Tensor = self.average(inputs)
        return features
