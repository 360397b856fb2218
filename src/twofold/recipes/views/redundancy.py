"""Barlow Twins (Zbontar et al., ICML 2021) and VICReg (Bardes et al., ICLR 2022): no negatives, no teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from twofold.contrast.objectives import barlow_twins, vicreg
from twofold.nn.heads import barlow_head
from twofold.options import NonNegative, Positive, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view


class _TwoWideBranches(Recipe):
    """What the two recipes share: one encoder, one wide head, all views alike.

    Args:
        projection_dim: Width of the head's output; 8192 in the papers, 2048 is usual for CIFAR.
        hidden_dim: Width of the head's hidden layers.
    """

    preferred_views: ClassVar[str] = "byol"

    def __init__(self, *, projection_dim: PositiveInt = 2048, hidden_dim: PositiveInt = 2048, **common: Any) -> None:
        super().__init__(**common)
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = barlow_head(dim, self.hidden_dim, self.projection_dim)

    def represent(self, batch: Batch) -> Outputs:
        return {"z": by_view(lambda view: self.projector(self.encoder(view)), batch["views"])}


class BarlowTwins(_TwoWideBranches):
    """Barlow Twins: make the cross-correlation of two views the identity (Zbontar et al., ICML 2021).

    With each dimension standardized over the batch and C = Z1ᵀ Z2 / N, eq. 1:

        L = Σ_i (1 − C_ii)² + λ Σ_{i ≠ j} C_ij²

    What is new: dimensions are contrasted instead of samples, so neither negatives nor a teacher are needed. Wants
    an output clearly wider than the encoder's, and batches of at least 64 or so: C is an average over the batch.

    Args:
        off_diagonal: λ; 0.0051 in the paper.
        loss_scale: Multiplies the whole loss; 0.1 in common CIFAR settings, 0.024 in the authors' code.
    """

    card: ClassVar[Card] = Card(
        name="barlow",
        title="Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        paper="Zbontar et al., ICML 2021",
        new="the cross-correlation of the two views' dimensions is driven to the identity",
    )

    def __init__(self, *, off_diagonal: NonNegative = 0.0051, loss_scale: Positive = 0.1, **common: Any) -> None:
        super().__init__(**common)
        self.off_diagonal, self.loss_scale = off_diagonal, loss_scale

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        return self.loss_scale * barlow_twins(outputs["z"], off_diagonal=self.off_diagonal)


class VICReg(_TwoWideBranches):
    """VICReg: keep views alike, every dimension varied, all dimensions uncorrelated (Bardes et al., ICLR 2022).

        L = λ MSE(z1, z2) + μ ½ Σ_v mean_d relu(1 − std_d(z_v)) + ν Σ_v Σ_{i ≠ j} Cov(z_v)_ij² / D

    These are eqs. 1-6, with two factors of the reference code: the ½, and an MSE that averages over the D dimensions.

    What is new: collapse is prevented by an explicit term on the variance of each branch, without normalization,
    so that the branches need share nothing.

    Args:
        invariance: λ; the paper's 25.
        variance: μ; the paper's 25. Without it everything collapses.
        covariance: ν; the paper's 1. Without it the rank falls.
    """

    card: ClassVar[Card] = Card(
        name="vicreg",
        title="VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
        paper="Bardes et al., ICLR 2022",
        new="an explicit variance term prevents collapse in each branch by itself",
    )

    def __init__(
        self,
        *,
        invariance: NonNegative = 25.0,
        variance: NonNegative = 25.0,
        covariance: NonNegative = 1.0,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        terms = vicreg(outputs["z"], invariance=self.invariance, variance=self.variance, covariance=self.covariance)
        return terms._asdict()
