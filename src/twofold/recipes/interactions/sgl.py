"""SGL (Wu et al., SIGIR 2021)."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.objectives import info_nce_within
from twofold.options import NonNegative, Positive, Range
from twofold.recipes.base import Batch, Card, Outputs, by_view
from twofold.recipes.interactions.lightgcn import LightGCN, kinds, ranking_loss


class SGL(LightGCN):
    """SGL: LightGCN, and each node must be told from its like in two thinned graphs (Wu et al., SIGIR 2021).

    With z', z'' the embeddings of a node in two graphs from which edges were dropped, cosine s, and negatives among the
    nodes of its own kind in the batch:

        ℓ_v = −s(z'_v, z''_v)/τ + log Σ_{w of v's kind} exp(s(z'_v, z''_w)/τ)
        L = L_LightGCN + λ₁ (mean of ℓ over users + mean of ℓ over items)

    What is new: the contrast as a second task. The ranking is of the whole graph, the first view. Which graphs are
    contrasted is said by ``views``: edge-dropout (SGL-ED), node-dropout (SGL-ND) or random-walk (SGL-RW).

    Deviations: graphs are drawn anew at each step, not each epoch; contrasted are the samples of the batch, drawn
    evenly from all nodes as the paper's sums run over them, where implementations take those of the drawn interactions;
    and λ₁ weighs twice the mean over users and items together: the sum of both means if a batch has as many of either.

    Measured here, with λ₁ = 0.01, which was better than 0.1 on validation data: a little better than LightGCN at equal
    steps on Last.fm, NDCG@20 20.1 against 19.7, and worse on MovieLens 100K, 37.2 against 40.6
    (docs/modalities/interactions.md).

    Args:
        temperature: τ; the paper's 0.2.
        weight: λ₁; the paper's 0.1.
        view_count: The whole graph and those that are contrasted.
    """

    card: ClassVar[Card] = Card(
        name="sgl",
        title="Self-supervised Graph Learning for Recommendation",
        paper="Wu et al., SIGIR 2021",
        new="contrast of nodes in two thinned graphs, beside the ranking of LightGCN",
        modalities=("interactions",),
    )
    preferred_views: ClassVar[str] = "whole, edge-dropout"

    def __init__(
        self,
        *,
        temperature: Positive = 0.2,
        weight: NonNegative = 0.1,
        view_count: Annotated[int, Range(at_least=3)] = 3,
        **common: Any,
    ) -> None:
        super().__init__(view_count=view_count, **common)
        self.temperature, self.weight = temperature, weight

    def represent(self, batch: Batch) -> Outputs:
        return super().represent(batch) | {"z": by_view(self.encoder, batch["views"][1:])}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        groups, ranking = kinds(batch, self.built_spec), ranking_loss(outputs)
        pairs = [
            info_nce_within(first, second, groups, temperature=self.temperature)
            for first, second in combinations(outputs["z"], 2)
        ]
        contrast = 2 * torch.stack(pairs).mean()
        total = ranking + self.weight * contrast + self.penalty(outputs)
        return {"total": total, "ranking": ranking, "contrast": contrast}

    def chance_level(self, batch_size: int) -> float | None:
        return None  # it depends on how many users and items a batch has
