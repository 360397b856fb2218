"""WhitenedCSE (Zhuo et al., ACL 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.objectives import info_nce
from twofold.contrast.whitening import shuffled_group_whitening
from twofold.errors import ConfigError
from twofold.options import PositiveInt, ViewCount
from twofold.recipes.base import Batch, Card, Outputs, by_view
from twofold.recipes.text.simcse import SimCSE


class WhitenedCSE(SimCSE):
    """WhitenedCSE: SimCSE on whitened features, each view in other groups of dimensions (Zhuo et al., ACL 2023).

    Every sentence is encoded V times; z_k = tanh(W SGW_k(f(x)) + b), where SGW_k permutes the dimensions, whitens
    groups of them over the batch, and puts them back (eq. 4 to 6). The first view asks each of the others:

        L = Σ_{k > 1} CE(cos(z_1, z_k)/τ)

    What is new: whitening scatters the features, and since each view is whitened in groups of its own, its positives
    differ more than dropout makes them. No gradient flows through the whitening matrix, as in the released code; with
    micro-batches and several processes the statistics are those of the whole batch. Neither whitening nor head is used
    for embeddings.

    The released code cuts its batch of copies, which lie sample after sample, into as many blocks as there are views:
    so all copies of a sentence share one permutation. Here, as in the paper, each view has its own; ``as_released``
    does what the code does. Measured here on STS-B's test part: 58.5, SimCSE with its two views 55.8
    (benchmarks/modalities/results/text.json); how much of that is the third view was not measured.

    Args:
        view_count: V; the paper's 3.
        group_size: Dimensions of a group; the paper's 128 groups of BERT's 768 have 6. It must divide the encoder's
            width, and stay well below the batch size.
        as_released: Permute blocks of samples instead of views, as the released code.
    """

    card: ClassVar[Card] = Card(
        name="whitenedcse",
        title="Whitening-based Contrastive Learning of Sentence Embeddings",
        paper="Zhuo et al., ACL 2023",
        new="whitening in shuffled groups of dimensions spreads features and diversifies positives",
        modalities=("text",),
    )
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 128}

    def __init__(
        self, *, view_count: ViewCount = 3, group_size: PositiveInt = 8, as_released: bool = False, **common: Any
    ) -> None:
        super().__init__(view_count=view_count, **common)
        self.group_size, self.as_released = group_size, as_released

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        super().build_heads(dim, spec)
        if dim % self.group_size:
            fitting = [size for size in range(2, 33) if dim % size == 0]
            raise ConfigError(
                f"group_size {self.group_size} does not divide the encoder's {dim} dimensions; take one of {fitting}"
            )

    def represent(self, batch: Batch) -> Outputs:
        return {"features": by_view(self.encoder, batch["views"])}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        first, *others = self.projector(self.whitened(outputs["features"], batch["generator"]))
        return torch.stack([info_nce(first, other, temperature=self.temperature) for other in others]).sum()

    def whitened(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Features ``(views, n, dim)``, each view in shuffled groups of its own."""
        blocks = features.transpose(0, 1).reshape(features.shape) if self.as_released else features
        white = [shuffled_group_whitening(x, group_size=self.group_size, generator=generator) for x in blocks]
        stacked = torch.stack(white)
        views, n, dim = features.shape
        return stacked.reshape(n, views, dim).transpose(0, 1) if self.as_released else stacked

    def chance_level(self, batch_size: int) -> float | None:
        return (self.view_count - 1) * math.log(batch_size)
