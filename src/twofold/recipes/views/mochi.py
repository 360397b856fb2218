"""Hard negative mixing (MoCHi; Kalantidis et al., NeurIPS 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from twofold.contrast.mixing import synthetic_negatives
from twofold.contrast.objectives import info_nce_with_negatives
from twofold.options import Count, Fraction, PositiveInt
from twofold.recipes.base import Batch, Card
from twofold.recipes.views.moco import MoCoV2


class MoCHi(MoCoV2):
    """MoCHi: make harder negatives by mixing the hardest ones of the queue (Kalantidis et al., NeurIPS 2020).

    For each query, from the N most similar keys n of the queue:

        h  = norm(α n_i + (1 − α) n_j),  α ~ U(0, 1)           ``mixed`` of them      (§4.1)
        h' = norm(β q + (1 − β) n_j),    β ~ U(0, 0.5)         ``with_query`` of them (§4.2)

    are added to this query's negatives, without gradient, after a warm-up. With mixed = with_query = 0 it is MoCo v2.

    What is new: the synthetic negatives. The paper's gains are in transfer and speed of learning more than in linear
    accuracy. On small data most of the N hardest keys share the query's class, so N is at most an eighth of the queue.

    Args:
        hardest: N; 1024 in the paper, at most an eighth of the queue here.
        mixed: Synthetic negatives of two keys; 1024 in the paper (its (1024, 1024, 128) setting).
        with_query: Synthetic negatives of the query and a key; 128 there.
        start: Share of the training after which mixing starts; 10 to 15 of 200 epochs in the paper.
    """

    card: ClassVar[Card] = Card(
        name="mochi",
        title="Hard Negative Mixing for Contrastive Learning",
        paper="Kalantidis et al., NeurIPS 2020",
        new="synthetic negatives, mixed from the hardest ones and the query",
    )

    def __init__(
        self,
        *,
        hardest: PositiveInt = 1024,
        mixed: Count = 1024,
        with_query: Count = 128,
        start: Fraction = 0.05,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.hardest, self.mixed, self.with_query, self.start = hardest, mixed, with_query, start

    def contrast(self, query: Tensor, key: Tensor, batch: Batch) -> Tensor:
        if batch["progress"] < self.start or self.mixed + self.with_query == 0:
            return super().contrast(query, key, batch)
        synthetic = synthetic_negatives(
            query,
            self.queue.rows,
            hardest=min(self.hardest, max(1, len(self.queue.rows) // 8)),
            mixed=self.mixed,
            with_query=self.with_query,
            generator=batch["generator"],
            rule=self.not_own(batch),
        )
        return info_nce_with_negatives(
            query,
            key,
            self.queue.rows,
            temperature=self.temperature,
            rule=self.not_own(batch),
            own_negatives=synthetic,
        )
