"""Two masks of one cloud that must agree: Point-CMAE (Ren et al., ACCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.directions import unit
from twofold.options import NonNegative, Positive
from twofold.recipes.base import Batch, Card, Outputs
from twofold.recipes.points.point_mae import PointMAE, random_masks


class PointCMAE(PointMAE):
    """Point-CMAE: two masked autoencoders on one cloud agree about what neither has seen (Ren et al., ACCV 2024).

    The patches of a cloud are masked twice, independently; both are encoded by one encoder and decoded by two decoders.
    With F¹, F² their decoded tokens of unit length, in the order of the patches, and C the patches hidden in both:

        L = λ_r (L_rec¹ + L_rec²) + λ_c · mean_{i ∈ C} (1 − F¹_i · F²_i)

    What is new: masks make the pair, and the same hidden patch is the positive; there are no negatives. That the mean
    is over the same patch in both is the paper's text. Its released code averages over all pairs of a patch hidden in
    both and any patch of the other mask, which pulls every token towards every other: not done here. Class tokens,
    which it has besides, are left out: the embedding is the maximum and the mean of all tokens.

    Measured on 11 categories of furniture (benchmarks/modalities/results/points.json): like Point-MAE it stays below
    its untrained encoder, 0.358 ± 0.017 against 0.400 in 20-NN accuracy.

    Measured here on furniture, three seeds: 20 neighbours 35.8 ± 1.7 % (untrained 40.0), linear probe 38.1 ± 1.5 %
    (39.7), no better than Point-MAE; docs/modalities/points.md.

    Args:
        reconstruction_weight: λ_r; 1000 in the paper's code, against collapse.
        agreement_weight: λ_c; the paper's 1. With 0 it is Point-MAE with two masks.
    """

    card: ClassVar[Card] = Card(
        name="point-cmae",
        title="Bringing Masked Autoencoders Explicit Contrastive Properties for Point Cloud Self-Supervised Learning",
        paper="Ren et al., ACCV 2024",
        new="two masks of one cloud; patches hidden in both must be decoded alike",
        modalities=("points",),
    )

    def __init__(
        self, *, reconstruction_weight: Positive = 1000.0, agreement_weight: NonNegative = 1.0, **common: Any
    ) -> None:
        super().__init__(**common)
        self.reconstruction_weight, self.agreement_weight = reconstruction_weight, agreement_weight

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        super().build_heads(dim, spec)
        self.second_decoder = self.make_decoder(int(spec["points"]))

    def represent(self, batch: Batch) -> Outputs:
        made = [self.mask_twice(view) for view in batch["views"]]
        return {name: torch.cat([one[name] for one in made]) for name in made[0]}

    def mask_twice(self, view: Tensor) -> Outputs:
        """Of both masks: errors ``(2, n)``, tokens ``(2, n, g, width)``, and which patches are hidden ``(2, n, g)``."""
        patches, centres = self.backbone.patches_of(self.encoder.normalized(view))
        made = []
        for decoder in (self.decoder, self.second_decoder):
            shown, hidden = random_masks(*centres.shape[:2], rate=self.mask_rate, device=centres.device)
            tokens = decoder(self.visible_tokens(patches, centres, shown), shown, centres)
            where = torch.zeros(centres.shape[:2], dtype=torch.bool, device=centres.device).scatter(1, hidden, True)
            made.append({"error": self.error(decoder, tokens, patches, hidden), "tokens": tokens, "hidden": where})
        return {name: torch.stack([one[name] for one in made]) for name in made[0]}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        reconstruction = 2 * outputs["error"].mean()  # the sum of the two masks, the mean over clouds
        hidden = outputs["hidden"].unflatten(0, (-1, 2)).all(1)
        tokens = outputs["tokens"].unflatten(0, (-1, 2))
        disagreement = co_masked_disagreement(tokens[:, 0], tokens[:, 1], hidden)
        total = self.reconstruction_weight * reconstruction + self.agreement_weight * disagreement
        return {"total": total, "reconstruction": reconstruction, "disagreement": disagreement}


def co_masked_disagreement(first: Tensor, second: Tensor, hidden: Tensor) -> Tensor:
    """1 − cosine of the tokens of the same patch, averaged over those hidden in both; 0 if there are none.

    Args:
        first: ``(..., g, d)``.
        second: ``(..., g, d)``.
        hidden: bool ``(..., g)``: which patches are hidden in both.
    """
    first, second = unit(first, second)
    disagreement = 1 - (first * second).sum(-1)
    return torch.where(hidden, disagreement, 0).sum() / hidden.sum().clamp(min=1)
