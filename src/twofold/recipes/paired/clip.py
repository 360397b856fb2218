"""CLIP (Radford et al., ICML 2021), and what all systems of two towers share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from twofold.contrast.objectives import symmetric_info_nce
from twofold.options import Positive
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view

MAX_SCALE = 100.0
"""1/τ never exceeds it: CLIP's clamp."""


class TwoTowers(Recipe):
    """What systems on pairs share: a tower a side, one space, and a temperature that may be learned.

    ``represent`` gives {"first": (views, n, dim), "second": (views, n, dim)}, one view each unless there are more of
    a side. A subclass says in ``pair_loss`` what two of these cost.

    Args:
        temperature: τ at the start.
        learn_temperature: Whether τ is learned: t = log 1/τ is a parameter without weight decay.
    """

    training_defaults: ClassVar[dict[str, Any]] = {"weight_decay": 0.2}
    preferred_views: ClassVar[str] = "plain"
    scale_limits: ClassVar[tuple[float, float]] = (1.0, MAX_SCALE)
    """Bounds of 1/τ after each step."""

    def __init__(self, *, temperature: Positive, learn_temperature: bool = True, **common: Any) -> None:
        super().__init__(**common)
        self.start_temperature, self.learn_temperature = temperature, learn_temperature

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        start = torch.tensor(-math.log(self.start_temperature))
        self.log_scale = nn.Parameter(start, requires_grad=self.learn_temperature)

    @property
    def temperature(self) -> Tensor:
        """τ = exp(−t), 0-d."""
        return (-self.log_scale).exp()

    def represent(self, batch: Batch) -> Outputs:
        sides: dict[str, list[Any]] = {"first": [], "second": []}
        for view in batch["views"]:
            for side, views in sides.items():
                if side in view:
                    views.append({side: view[side]})
        return {side: by_view(self.encoder, views) for side, views in sides.items()}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        losses = [self.pair_loss(a, b) for a in outputs["first"] for b in outputs["second"]]
        return torch.stack(losses).mean()

    def pair_loss(self, first: Tensor, second: Tensor) -> Tensor:
        """The loss of rows ``(n, dim)`` of the first side and their partners of the second; not normalized."""
        raise NotImplementedError

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        low, high = self.scale_limits
        self.log_scale.clamp_(math.log(low), math.log(high))


class CLIP(TwoTowers):
    """CLIP: which caption belongs to which picture, within a batch (Radford et al., ICML 2021, fig. 3).

    x = norm(W₁ f₁(first)), y = norm(W₂ f₂(second)), and

        L = ½ [ CE(x yᵀ/τ, own) + CE(y xᵀ/τ, own) ]

    What is new: names of classes, written out as captions, become a classifier without any example (``twofold
    evaluate`` measures that where pairs have classes). τ is learned as t = log 1/τ without weight decay and clamped to
    1/τ in [1, 100] after each step. Pairs of a batch that share a caption are negatives of each other, as in the
    paper. Views: none by default ("plain"); the paper crops pictures, ``views="weak+plain"`` comes near to that.

    Measured here on emoji, three seeds: drawings of an unseen vendor find their name first in 15.8 ± 0.8 % of cases
    (untrained 0.1, nearest known drawing 20.7), unseen emoji among ten in 7.9 ± 0.3 % (3.0); docs/modalities/paired.md.

    Args:
        temperature: τ at the start; the paper's 0.07.
        learn_temperature: Learn τ, as the paper does.
    """

    card: ClassVar[Card] = Card(
        name="clip",
        title="Learning Transferable Visual Models From Natural Language Supervision",
        paper="Radford et al., ICML 2021",
        new="a tower a modality, and a symmetric loss over the pairs of a batch with a learned temperature",
        modalities=("paired",),
    )

    def __init__(self, *, temperature: Positive = 0.07, learn_temperature: bool = True, **common: Any) -> None:
        super().__init__(temperature=temperature, learn_temperature=learn_temperature, **common)

    def pair_loss(self, first: Tensor, second: Tensor) -> Tensor:
        return symmetric_info_nce(first, second, temperature=self.temperature)

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(batch_size)
