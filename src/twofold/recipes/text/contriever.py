"""Contriever (Izacard et al., TMLR 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.memory import Queue
from twofold.contrast.objectives import info_nce_with_negatives
from twofold.contrast.pairs import different
from twofold.nn.teacher import Teacher
from twofold.options import Fraction, Positive, PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view


class Contriever(Recipe):
    """Contriever: two spans of one document are a question and its answer (Izacard et al., TMLR 2022).

    Two spans are cropped from a document, independently, and some of their tokens deleted. q = f(span), k = f'(span')
    of a slow copy f' without gradient, and the queue of past keys (eq. 1, as MoCo's):

        ℓ_i = −s(q_i, k_i)/τ + log [ exp(s(q_i, k_i)/τ) + Σ_{past keys} exp(s(q_i, k)/τ) ]

    What is new: a retriever that is trained without any questions, on spans that overlap only by chance. No head, and
    keys of the same batch are no negatives. Dropout is on for keys too, as in the released code.

    What differs here: s is the cosine; the paper's default is the dot product (its code has both), whose values at
    τ = 0.05 a fresh encoder cannot begin with. A document's own old keys are no negatives. The paper cuts documents
    into chunks of 256 tokens; here a document is what ``length`` keeps of it. m suits runs of some thousand steps.

    Measured here on Cranfield: nDCG@10 .265, SimCLR on the same views .243, untrained .120, BM25 .377
    (benchmarks/modalities/results/text.json): ahead of a bag of tokens, and not of BM25.

    Args:
        temperature: τ; the paper's 0.05.
        queue_size: Keys kept; the paper's 131072. Never more than there are samples.
        momentum: m of the slow copy; the paper's 0.9995 over 500,000 steps hardly moves in a short run.
    """

    card: ClassVar[Card] = Card(
        name="contriever",
        title="Unsupervised Dense Information Retrieval with Contrastive Learning",
        paper="Izacard et al., TMLR 2022",
        new="independent crops of a document and a queue train a retriever without questions",
        modalities=("text",),
    )
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 128}
    preferred_views: ClassVar[str] = "contriever"

    def __init__(
        self,
        *,
        temperature: Positive = 0.05,
        queue_size: PositiveInt = 131072,
        momentum: Fraction = 0.99,
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.temperature, self.queue_size, self.momentum = temperature, queue_size, momentum

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        self.teacher = Teacher(self.encoder)
        self.queue = Queue(min(self.queue_size, int(spec["samples"])), dim, with_index=True)

    def represent(self, batch: Batch) -> Outputs:
        query_view, *key_views = batch["views"]
        return {"query": self.encoder(query_view)[None], "key": by_view(self.teacher, key_views)}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        assert self.queue.index is not None  # the queue is made with_index
        rule = different(batch["index"], self.queue.index)
        losses = [
            info_nce_with_negatives(outputs["query"][0], key, self.queue.rows, temperature=self.temperature, rule=rule)
            for key in outputs["key"]
        ]
        return torch.stack(losses).mean()

    def after_step(self, outputs: Outputs, batch: Batch) -> None:
        self.queue.push(outputs["key"][0], batch["index"])
        self.teacher.update(self.encoder, self.momentum)

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(len(self.queue.rows) + 1)
