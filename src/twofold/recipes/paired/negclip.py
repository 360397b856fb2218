"""NegCLIP (Yuksekgonul et al., ICLR 2023)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.objectives import info_nce, info_nce_with_distractors
from twofold.errors import ConfigError
from twofold.modalities.hashed import hashed
from twofold.recipes.base import Batch, Card, Outputs, by_view
from twofold.recipes.paired.clip import CLIP
from twofold.recipes.paired.word_swaps import WordSwap

_MOMENTS = 2**40  # moments of a run that are told apart


class NegCLIP(CLIP):
    """NegCLIP: captions with two words swapped are further wrong answers (Yuksekgonul et al., ICLR 2023, §4).

    With x, y as in CLIP and n_j the caption y_j after a swap,

        L = mean_i ½ { −log [ e^{x_i·y_i/τ} / (Σ_j e^{x_i·y_j/τ} + Σ_j e^{x_i·n_j/τ}) ] + CE(y_i xᵀ/τ, own) }

    so pictures see the wrong captions, and wrong captions ask for no picture. What is new: retrieval does not punish
    who reads captions as bags of words, and these negatives do. The second side must be texts.

    Differences from the paper: there words of one kind are swapped (nouns with nouns, by a tagger); here any two that
    are no English function words (see ``WordSwap``), drawn anew in each step. A caption that no swap changes brings no
    negative. The paper also adds to each batch, for each picture, one of its three nearest by CLIP's similarity; here
    batches are random. It fine-tunes a pretrained CLIP: 5 epochs, lr 10⁻⁶, batches of 256.

    Measured here on scenes of two emoji, three seeds: the right caption before the swapped one in 58.9 ± 5.1 % (CLIP
    49.3 ± 6.6, untrained 59.4), the right one of all first in 51.7 ± 4.7 % (52.2 ± 2.5); docs/modalities/paired.md.

    Args:
        temperature: τ at the start; CLIP's 0.07.
        learn_temperature: Learn τ, as the paper does.
    """

    card: ClassVar[Card] = Card(
        name="negclip",
        title="When and why vision-language models behave like bags-of-words, and what to do about it?",
        paper="Yuksekgonul et al., ICLR 2023",
        new="captions with swapped words as hard negatives, which teach the order of words",
        modalities=("paired",),
    )

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        if spec["second"]["modality"] != "text":
            raise ConfigError(f"NegCLIP swaps words, and the second side is {spec['second']['modality']}.")
        super().build_heads(dim, spec)
        self.swap = WordSwap(spec["second"])

    def represent(self, batch: Batch) -> Outputs:
        texts = [view["second"] for view in batch["views"] if "second" in view]
        swaps = [self.swap(ids, self.draw(ids, batch, view)) for view, ids in enumerate(texts)]
        swapped = by_view(self.encoder, [{"second": ids} for ids, _ in swaps])
        changed = torch.stack([changed for _, changed in swaps])
        return super().represent(batch) | {"swapped": swapped, "changed": changed.to(swapped.dtype)}

    def draw(self, ids: Tensor, batch: Batch, view: int) -> Tensor:
        """Numbers in [0, 1) of the shape of ``ids``, by sample, step and place alone: micro-batches change nothing."""
        place = torch.arange(ids.shape[1], device=ids.device)
        moment = round(batch["progress"] * _MOMENTS)
        return hashed(batch["index"].to(ids.device)[:, None], moment, view, place).double() / 2.0**63

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        texts = list(zip(outputs["second"], outputs["swapped"], outputs["changed"] > 0, strict=True))
        losses = [self.swap_loss(first, *text) for first in outputs["first"] for text in texts]
        return torch.stack(losses).mean()

    def swap_loss(self, first: Tensor, second: Tensor, swapped: Tensor, changed: Tensor) -> Tensor:
        """The loss of rows ``(n, dim)``, their partners, these after a swap, and which of them the swap changed."""
        forward = info_nce_with_distractors(first, second, swapped, changed, temperature=self.temperature)
        return (forward + info_nce(second, first, temperature=self.temperature)) / 2

    def chance_level(self, batch_size: int) -> float | None:
        return math.log(batch_size) + math.log(2) / 2
