"""SogCLR (Yuan et al., ICML 2022) and iSogCLR (Qiu et al., ICML 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from torch import Tensor

from twofold.contrast.memory import PerSampleState
from twofold.contrast.objectives import global_contrastive
from twofold.errors import ConfigError
from twofold.options import Fraction, NonNegative, Positive, Range
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.views.simclr import SimCLR

GRADIENT_BOUND = 3.0
"""Bound on the temperature's gradient, as in the authors' code."""


class ISogCLR(SimCLR):
    """iSogCLR: a temperature for each sample, and denominators over the whole data set (Qiu et al., ICML 2023).

    Each sample i keeps a moving average u_i of its denominator, so that small batches estimate the loss over all
    data (SogCLR), and a temperature τ_i that minimizes a distributionally robust loss, F_i = τ_i log E exp(h/τ_i) +
    τ_i ρ, by its own momentum descent:

        u_i ← (1 − γ) u_i + γ g_i;    v_i ← (1 − β) v_i + β G_i;    τ_i ← clip(τ_i − η v_i, τ_min, τ_max)

    What is new: frequent semantics get large temperatures and rare ones small, without tuning one for all. With
    ``temperature_lr=0`` all temperatures stay where they start: SogCLR. The logged total is the value whose gradient
    is the estimator; it can be negative and is no likelihood.

    Args:
        temperature: τ at the start; 0.1 in the authors' CIFAR code.
        momentum: γ, the weight of the new batch in u; 0.8 there. With 1 nothing is remembered.
        rho: ρ, the budget of robustness; 0.4 there, 0.1 to 0.5 useful.
        temperature_lr: η; 0.03 there.
        temperature_momentum: β, the weight of the new gradient in v; 0.5 there.
        temperature_min: τ_min; 0.05 there.
        temperature_max: τ_max; 1 there.
        view_count: Views of each sample; the method is defined for two.
    """

    card: ClassVar[Card] = Card(
        name="isogclr",
        title="Not All Semantics are Created Equal: Contrastive Learning with Automatic Temperature Individualization",
        paper="Qiu et al., ICML 2023",
        new="a learned temperature per sample, over moving-average denominators (SogCLR)",
    )

    def __init__(
        self,
        *,
        temperature: Positive = 0.1,
        momentum: Annotated[float, Range(above=0, at_most=1)] = 0.8,
        rho: NonNegative = 0.4,
        temperature_lr: NonNegative = 0.03,
        temperature_momentum: Fraction = 0.5,
        temperature_min: Positive = 0.05,
        temperature_max: Positive = 1.0,
        view_count: Annotated[int, Range(at_least=2, at_most=2)] = 2,
        **common: Any,
    ) -> None:
        super().__init__(temperature=temperature, view_count=view_count, **common)
        if not temperature_min <= temperature <= temperature_max:
            raise ConfigError(
                f"temperature must lie between temperature_min and temperature_max, got {temperature_min} ≤ "
                f"{temperature} ≤ {temperature_max}."
            )
        self.momentum, self.rho = momentum, rho
        self.temperature_lr, self.temperature_momentum = temperature_lr, temperature_momentum
        self.temperature_min, self.temperature_max = temperature_min, temperature_max

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        super().build_heads(dim, spec)
        samples = int(spec["samples"])
        self.state = PerSampleState(samples, log_moment=-math.inf, temperature=self.temperature, velocity=0.0)

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        own = self.state.read(batch["index"])
        contrast = global_contrastive(
            outputs["z"], own["log_moment"], temperature=own["temperature"], momentum=self.momentum, rho=self.rho
        )
        batch["contrast"] = contrast  # for after_step
        return {"total": contrast.loss, "mean_temperature": own["temperature"].mean()}

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        contrast, own = batch["contrast"], self.state.read(batch["index"])
        slope = contrast.temperature_gradient.clamp(-GRADIENT_BOUND, GRADIENT_BOUND)
        velocity = own["velocity"].lerp(slope.to(own["velocity"]), self.temperature_momentum)
        temperature = own["temperature"] - self.temperature_lr * velocity
        if self.temperature_lr:
            temperature = temperature.clamp(self.temperature_min, self.temperature_max)
        self.state.write(
            batch["index"], log_moment=contrast.log_moment.float(), velocity=velocity, temperature=temperature
        )

    def chance_level(self, batch_size: int) -> float | None:
        return None
