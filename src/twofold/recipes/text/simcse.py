"""SimCSE, unsupervised and supervised (Gao et al., EMNLP 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from twofold.contrast.objectives import info_nce, info_nce_with_hard_negatives
from twofold.errors import ConfigError
from twofold.options import Positive
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view


class SimCSE(Recipe):
    """SimCSE: a sentence goes through the encoder twice, and its dropout is the only augmentation (EMNLP 2021, eq. 4).

    z = tanh(W f(x) + b), z' the same with another dropout mask, and the other sentences' z' as negatives:

        ℓ_i = −cos(z_i, z'_i)/τ + log Σ_j exp(cos(z_i, z'_j)/τ)

    What is new: words need not be changed, which easily changes what they mean; dropout does as well. The head is
    dropped after training. One direction: the first pass asks. An encoder without dropout has two equal views, and
    only repulsion is left.

    The paper starts from BERT, with a learning rate of 3e-5 (give that with an ``hf:`` encoder), and takes its first
    token; our own encoders are trained from scratch and take the mean. Its auxiliary masked language model is left out.
    Measured here on STS-B's test part with a bag of embeddings: 55.8, untrained 43.8
    (benchmarks/modalities/results/text.json).

    Args:
        temperature: τ; the paper's 0.05.
    """

    card: ClassVar[Card] = Card(
        name="simcse",
        title="Simple Contrastive Learning of Sentence Embeddings",
        paper="Gao et al., EMNLP 2021",
        new="dropout as the only augmentation of a sentence",
        modalities=("text",),
    )
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 64}
    preferred_views: ClassVar[str] = "simcse"

    def __init__(self, *, temperature: Positive = 0.05, **common: Any) -> None:
        super().__init__(**common)
        self.temperature = temperature

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = nn.Sequential(nn.Linear(dim, dim), nn.Tanh())

    def represent(self, batch: Batch) -> Outputs:
        return {"z": by_view(lambda view: self.projector(self.encoder(view)), batch["views"])}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        anchors, *others = outputs["z"]
        return torch.stack([info_nce(anchors, other, temperature=self.temperature) for other in others]).sum()

    def chance_level(self, batch_size: int) -> float | None:
        return (self.view_count - 1) * math.log(batch_size)


class SupervisedSimCSE(SimCSE):
    """Supervised SimCSE: sentence, a sentence that follows from it, and one that contradicts it (EMNLP 2021, eq. 5).

    The columns of the data are the views: ``column="premise,entailment,contradiction"``, the last being optional.

        ℓ_i = −cos(z_i, z⁺_i)/τ + log Σ_j [ exp(cos(z_i, z⁺_j)/τ) + e^{β [i = j]} exp(cos(z_i, z⁻_j)/τ) ]

    What is new: inference data gives pairs, and its contradictions hard negatives, which all other sentences see too.
    Unlike in the unsupervised method the head belongs to the embedding. Any triples of texts do: question, answer and
    a wrong answer.

    Args:
        temperature: τ; the paper's 0.05.
        own_bonus: β, added to the logit of a sentence's own contradiction; 0 in the paper's runs.
    """

    card: ClassVar[Card] = Card(
        name="simcse-supervised",
        title="Simple Contrastive Learning of Sentence Embeddings, supervised",
        paper="Gao et al., EMNLP 2021",
        new="entailed sentences as positives, contradictions as hard negatives",
        modalities=("text",),
    )
    preferred_views: ClassVar[str] = "given"

    def __init__(self, *, own_bonus: float = 0.0, **common: Any) -> None:
        super().__init__(**common)
        self.own_bonus = own_bonus

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        super().build_heads(dim, spec)
        self.view_count = int(spec.get("columns", 1))
        if self.view_count not in (2, 3):
            raise ConfigError(
                f"simcse-supervised learns from two or three texts a sample, the data has {self.view_count}: name the "
                "columns, such as column='premise,entailment,contradiction'"
            )

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        if len(outputs["z"]) == 2:
            return super().objective(outputs, batch)
        return info_nce_with_hard_negatives(*outputs["z"], temperature=self.temperature, own_bonus=self.own_bonus)

    def encode(self, inputs: Any) -> Tensor:
        features: Tensor = self.projector(self.encoder(inputs))
        return features

    def chance_level(self, batch_size: int) -> float | None:
        return math.log((self.view_count - 1) * batch_size)
