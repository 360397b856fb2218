"""ALIGN (Jia et al., ICML 2021)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor

from twofold.contrast.objectives import smoothed_info_nce
from twofold.options import Fraction, Positive
from twofold.recipes.base import Card
from twofold.recipes.paired.clip import TwoTowers


class ALIGN(TwoTowers):
    """ALIGN: two towers on noisy captions, with softened targets (Jia et al., ICML 2021, eqs. 1 and 2).

    With p = softmax over the captions of the batch, and the same for captions over pictures,

        L = Σ_{both ways} mean_i −[ (1 − ε) log p_ii + ε/n Σ_j log p_ij ]

    What is new: a billion captions as they are found, after cheap filters only, instead of fewer and cleaner ones; the
    filters (captions that many pictures share, rare words, very short or long texts) belong to the data and are not
    done here. Of the method, ε = 0.1 is what differs from CLIP, with τ learned from 1 on. What bounds τ is not stated;
    here 1/τ stays within [0.01, 100]. From τ = 1 a small run learns slowly: 0.1 is the better start there. The paper's
    optimizer is LAMB, its towers are an EfficientNet and BERT.

    Measured here on emoji, three seeds: drawings of an unseen vendor find their name first in 9.4 ± 0.8 % of cases
    (CLIP 15.8 ± 0.8), unseen emoji among ten in 8.3 ± 0.5 % (7.9 ± 0.3); docs/modalities/paired.md.

    Args:
        temperature: τ at the start; the paper's 1.
        learn_temperature: Learn τ, as the paper does.
        smoothing: ε, spread over the n candidates; the paper's 0.1. At 0 it is the sum of CLIP's two halves.
    """

    card: ClassVar[Card] = Card(
        name="align",
        title="Scaling Up Visual and Vision-Language Representation Learning With Noisy Text Supervision",
        paper="Jia et al., ICML 2021",
        new="captions as they are found, at scale, and label smoothing in place of cleaning",
        modalities=("paired",),
    )
    training_defaults: ClassVar[dict[str, Any]] = {"weight_decay": 1e-5}
    scale_limits: ClassVar[tuple[float, float]] = (0.01, 100.0)

    def __init__(
        self, *, temperature: Positive = 1.0, learn_temperature: bool = True, smoothing: Fraction = 0.1, **common: Any
    ) -> None:
        super().__init__(temperature=temperature, learn_temperature=learn_temperature, **common)
        self.smoothing = smoothing

    def pair_loss(self, first: Tensor, second: Tensor) -> Tensor:
        options: dict[str, Any] = {"temperature": self.temperature, "smoothing": self.smoothing}
        return smoothed_info_nce(first, second, **options) + smoothed_info_nce(second, first, **options)

    def chance_level(self, batch_size: int) -> float | None:
        return 2 * math.log(batch_size)
