"""SASRec (Kang & McAuley, ICDM 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.objectives import sampled_logistic
from twofold.contrast.reductions import logsumexp
from twofold.errors import ConfigError
from twofold.modalities.hashed import hashed
from twofold.options import PositiveInt
from twofold.recipes.base import Batch, Card, Outputs, Recipe


class SASRec(Recipe):
    """SASRec: which item comes next, by causal self-attention over those before (Kang & McAuley, ICDM 2018).

    The state h_t after t items scores an item i by h_t·e_i, with the same vector e_i as in the input. With an item that
    came next, and one drawn evenly from those that are not in the sequence:

        ℓ_t = −log σ(h_t·e_next) − log σ(−h_t·e_other)

    What is new: self-attention in place of recurrent networks or Markov chains. No contrast of views: this is the base
    of cl4srec. The embedding of a user is the state after the last item, that of an item is e_i, and their product
    ranks. The loss is a mean over places, not a sum.

    Measured here: NDCG@10 9.8 ± 0.0 on MovieLens 100K, with a softmax (a Markov chain 7.9); HR@5 3.6 ± 0.1 % on Beauty,
    with one drawn item (published 3.77; a Markov chain 6.0); docs/modalities/sequences.md.

    Args:
        negatives: Items drawn for each place; the paper's 1. With none, all items are compared by a softmax, as later
            implementations do.
    """

    card: ClassVar[Card] = Card(
        name="sasrec",
        title="Self-Attentive Sequential Recommendation",
        paper="Kang & McAuley, ICDM 2018",
        new="causal self-attention over a user's items; the base of cl4srec",
        modalities=("sequences",),
    )
    training_defaults: ClassVar[dict[str, Any]] = {"lr": 1e-3, "weight_decay": 0.0}
    preferred_views: ClassVar[str] = "whole"

    def __init__(self, *, negatives: PositiveInt | None = 1, **common: Any) -> None:
        super().__init__(**common)
        self.negatives = negatives

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        if not hasattr(self.encoder, "states"):
            raise ConfigError(
                f"{type(self).__name__} needs the state after each item, which {type(self.encoder).__name__} does not "
                "give: take the encoder sasrec."
            )

    def represent(self, batch: Batch) -> Outputs:
        sequences = batch["views"][0]
        before, after = sequences[:, :-1], sequences[:, 1:]
        states = self.encoder.states(before)
        scores = {
            "positive": (states * self.encoder.table(after)).sum(2),
            "counted": (before > 0) & (after > 0),
        }
        if self.negatives is None:
            scores["all"] = against_all(states, self.encoder.vectors(), scores["counted"])
        else:
            others = draw_others(batch, sequences, int(self.encoder.items), self.negatives)
            scores["negative"] = (states[:, :, None] * self.encoder.table(others)).sum(3)
        return {name: rows[None] for name, rows in scores.items()}

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        return self.next_item(outputs)

    def next_item(self, outputs: Outputs) -> Tensor:
        """The loss of the places of a batch."""
        positive, counted = outputs["positive"][0], outputs["counted"][0]
        if self.negatives is None:
            return ((outputs["all"][0] - positive) * counted).sum() / counted.sum().clamp(min=1)
        return sampled_logistic(positive, outputs["negative"][0], counted)

    def encode(self, inputs: Any) -> Tensor:
        """States after the last item; of candidates (−i in the last place), the items' own vectors."""
        last = inputs[:, -1]
        states: Tensor = self.encoder(inputs)
        return torch.where((last < 0)[:, None], self.encoder.table((-last).clamp(min=0)).to(states.dtype), states)


def against_all(states: Tensor, vectors: Tensor, counted: Tensor) -> Tensor:
    """log Σ_i exp(h·e_i) over all items i, of the places that count; of the others, anything finite.

    On CPUs only the places that count are compared: most histories are shorter than the longest. How many these are is
    not asked of an accelerator, which would have to be waited for.

    Args:
        states: ``(n, places, dim)``.
        vectors: Of all items, ``(items, dim)``.
        counted: bool ``(n, places)``.

    Returns:
        ``(n, places)``.
    """
    if states.device.type != "cpu":
        return logsumexp(states.flatten(0, 1), vectors).view_as(counted)
    sums = logsumexp(states[counted], vectors)
    return sums.new_zeros(counted.shape).masked_scatter(counted, sums)


def draw_others(batch: Batch, sequences: Tensor, items: int, count: int) -> Tensor:
    """Items from 1 that are not in the sequence, evenly drawn, int64 ``(n, places − 1, count)``.

    Each sample has draws of its own, whatever else is in the batch: micro-batches draw what the whole batch would.

    Args:
        batch: For its ``generator`` and ``index``.
        sequences: int64 ``(n, places)``, 0 is empty.
        items: How many items there are.
        count: Items for each place.
    """
    places = sequences.shape[1] - 1
    number = torch.arange(places * count, device=sequences.device)
    drawn = hashed(batch["generator"].initial_seed(), batch["index"][:, None], number)
    own = sequences.sort(1).values
    first = torch.cat([own[:, :1] > 0, own[:, 1:] != own[:, :-1]], 1) & (own > 0)
    beyond = 2 * items + 2
    own = own.masked_fill(~first, beyond).sort(1).values  # each of the sequence's items once, then what no draw reaches
    left = (items - first.sum(1)).clamp(min=1)
    place = drawn % left[:, None]
    skipped = own - 1 - torch.arange(own.shape[1], device=own.device)  # items before it that are not in the sequence
    skipped = torch.where(own < beyond, skipped, beyond)
    before = torch.searchsorted(skipped.contiguous(), place.contiguous(), right=True)
    return (place + before + 1).clamp(max=items).view(len(sequences), places, count)
