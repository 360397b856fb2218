"""Momentum contrast: MoCo v2 (He et al., CVPR 2020; Chen et al., 2020) and MoCo v3 (Chen et al., ICCV 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import permutations
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from twofold.contrast.memory import Queue
from twofold.contrast.objectives import info_nce, info_nce_with_negatives
from twofold.contrast.pairs import Rule, different
from twofold.nn.heads import moco_v2_head, moco_v3_predictor, moco_v3_projector
from twofold.nn.teacher import Teacher, cosine_momentum
from twofold.options import Fraction, Positive, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view


class MoCoV2(Recipe):
    """MoCo v2: a queue of a slow encoder's keys as negatives (He et al., CVPR 2020; Chen et al., 2020).

    q = norm(g(f(v1))), k = norm(g'(f'(v2))) without gradient, and the queue of past keys, eq. 1:

        ℓ_i = −q_i·k_i/τ + log [ exp(q_i·k_i/τ) + Σ_{past keys} exp(q_i·k/τ) ]

    What is new: the number of negatives no longer depends on the batch, and a momentum encoder keeps old keys
    consistent with new ones. v2 adds SimCLR's projector and blur. One direction: the first view asks.
    Queries and keys are batch-normalized apart, but their batches are not shuffled over devices as in the paper.
    A sample's own old keys are no negatives here, which matters when the queue spans an epoch.

    Args:
        temperature: τ; 0.2 in v2.
        queue_size: Keys kept; 65536 in the paper. Never more than there are samples.
        momentum: m of the teacher; 0.999 in the paper over 10⁵ steps and more. Runs of a few thousand steps need
            the 0.99 given here.
        projection_dim: Dimensions of queries and keys; the paper's 128.
        hidden_dim: Width of the projector; the paper's 2048.
    """

    card: ClassVar[Card] = Card(
        name="moco-v2",
        title="Momentum Contrast, with Improved Baselines",
        paper="He et al., CVPR 2020; Chen et al., arXiv 2020",
        new="a queue of keys from a momentum encoder replaces the large batch",
    )
    preferred_views: ClassVar[str] = "moco-v2"

    def __init__(
        self,
        *,
        temperature: Positive = 0.2,
        queue_size: PositiveInt = 65536,
        momentum: Fraction = 0.99,
        projection_dim: PositiveInt = 128,
        hidden_dim: PositiveInt = 2048,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.temperature, self.queue_size, self.momentum = temperature, queue_size, momentum
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = moco_v2_head(dim, self.hidden_dim, self.projection_dim)
        self.teacher = Teacher(nn.Sequential(self.encoder, self.projector))
        size = min(self.queue_size, int(spec["samples"]))
        self.queue = Queue(size, self.projection_dim, with_index=True)

    def represent(self, batch: Batch) -> Outputs:
        query_view, *key_views = batch["views"]
        return {
            "query": self.projector(self.encoder(query_view))[None],
            "key": by_view(self.teacher, key_views),
        }

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        losses = [self.contrast(outputs["query"][0], key, batch) for key in outputs["key"]]
        return torch.stack(losses).mean()

    def contrast(self, query: Tensor, key: Tensor, batch: Batch) -> Tensor:
        """The loss of queries against their keys and the queue."""
        return info_nce_with_negatives(
            query, key, self.queue.rows, temperature=self.temperature, rule=self.not_own(batch)
        )

    def not_own(self, batch: Batch) -> Rule:
        """Leaves a sample's own old keys out of its negatives."""
        assert self.queue.index is not None  # the queue is made with_index
        return different(batch["index"], self.queue.index)

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        self.queue.push(outputs["key"][0], batch["index"])
        self.teacher.update(nn.Sequential(self.encoder, self.projector), self.momentum)

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(len(self.queue.rows) + 1)


class MoCoV3(Recipe):
    """MoCo v3: momentum contrast without a queue, with a predictor (Chen et al., ICCV 2021).

    With queries q = norm(h(g(f(v)))) and keys k = norm(g'(f'(v'))) without gradient, both ways (algorithm 1):

        L = 2τ CE(q1·k2ᵀ/τ) + 2τ CE(q2·k1ᵀ/τ)

    What is new: large batches make the queue superfluous; a predictor is added; the factor 2τ keeps gradients alike
    when τ changes. Keys carry no gradient, so this is not the symmetric SimCLR.

    Args:
        temperature: τ; 1.0 for a ResNet, 0.2 for a ViT in the paper.
        momentum: m at the start, rising to 1 by a cosine; 0.996 for a ResNet, 0.99 for a ViT.
        projector_layers: 2 for a ResNet, 3 for a ViT.
        projection_dim: Dimensions of queries and keys; the paper's 256.
        hidden_dim: Width of the heads; the paper's 4096.
    """

    card: ClassVar[Card] = Card(
        name="moco-v3",
        title="An Empirical Study of Training Self-Supervised Vision Transformers",
        paper="Chen et al., ICCV 2021",
        new="momentum contrast with in-batch keys and a predictor",
    )
    preferred_views: ClassVar[str] = "byol"

    def __init__(
        self,
        *,
        temperature: Positive = 0.2,
        momentum: Fraction = 0.99,
        projector_layers: PositiveInt = 2,
        projection_dim: PositiveInt = 256,
        hidden_dim: PositiveInt = 4096,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.temperature, self.momentum, self.projector_layers = temperature, momentum, projector_layers
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = moco_v3_projector(dim, self.hidden_dim, self.projection_dim, layers=self.projector_layers)
        self.predictor = moco_v3_predictor(self.projection_dim, self.hidden_dim)
        self.teacher = Teacher(nn.Sequential(self.encoder, self.projector))

    def represent(self, batch: Batch) -> Outputs:
        views = batch["views"]
        return {
            "query": by_view(lambda view: self.predictor(self.projector(self.encoder(view))), views),
            "key": by_view(self.teacher, views),
        }

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        directions = list(permutations(range(len(outputs["query"])), 2))
        losses = [info_nce(outputs["query"][a], outputs["key"][b], temperature=self.temperature) for a, b in directions]
        return 4 * self.temperature * torch.stack(losses).mean()  # 2τ for each of the two directions

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        student = nn.Sequential(self.encoder, self.projector)
        self.teacher.update(student, cosine_momentum(batch["progress"], self.momentum))

    def chance_level(self, batch_size: int) -> float | None:
        return 4 * self.temperature * math.log(batch_size)
