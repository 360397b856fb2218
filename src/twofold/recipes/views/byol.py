"""Bootstrap your own latent (Grill et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from twofold.contrast.objectives import prediction
from twofold.nn.heads import byol_head
from twofold.nn.teacher import Teacher, cosine_momentum
from twofold.options import Fraction, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view


class BYOL(Recipe):
    """BYOL: predict a slow teacher's projection of the other view; no negatives (Grill et al., NeurIPS 2020).

    With student f, g, predictor q and teacher θ' ← m θ' + (1 − m) θ, m rising to 1 by a cosine, eqs. 1-2:

        L = Σ over both directions of 2 − 2 cos( q(g(f(v))), sg[g'(f'(v'))] )

    What is new: nothing is repelled; predictor and momentum teacher keep the representation from collapsing. A loss
    near 0 means collapse, not success: watch the effective rank.

    Args:
        momentum: m at the start; 0.996 in the paper over 10⁵ steps and more. Runs of a few thousand steps need the
            0.99 given here.
        projection_dim: Dimensions of the projection; the paper's 256.
        hidden_dim: Width of projector and predictor; the paper's 4096.
    """

    card: ClassVar[Card] = Card(
        name="byol",
        title="Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
        paper="Grill et al., NeurIPS 2020",
        new="predicting a momentum teacher's projection, without any negatives",
    )
    preferred_views: ClassVar[str] = "byol"

    def __init__(
        self,
        *,
        momentum: Fraction = 0.99,
        projection_dim: PositiveInt = 256,
        hidden_dim: PositiveInt = 4096,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.momentum = momentum
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.projector = byol_head(dim, self.hidden_dim, self.projection_dim)
        self.predictor = byol_head(self.projection_dim, self.hidden_dim, self.projection_dim)
        self.teacher = Teacher(nn.Sequential(self.encoder, self.projector))

    def represent(self, batch: Batch) -> Outputs:
        views = batch["views"]
        return {
            "prediction": by_view(lambda view: self.predictor(self.projector(self.encoder(view))), views),
            "target": by_view(self.teacher, views),
        }

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        return 2 * prediction(outputs["prediction"], outputs["target"])  # the paper sums the two directions

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        student = nn.Sequential(self.encoder, self.projector)
        self.teacher.update(student, cosine_momentum(batch["progress"], self.momentum))
