"""LiT (Zhai et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from twofold.errors import ConfigError
from twofold.modalities.paired import PairEncoder
from twofold.options import Positive
from twofold.recipes.base import Card
from twofold.recipes.paired.clip import CLIP


class LiT(CLIP):
    """LiT: CLIP with a locked first tower (Zhai et al., CVPR 2022, "Lu").

    The first tower, which should be pretrained, is frozen: no gradient, batch statistics as they are, and no
    projection, so that its own features are the shared space. The second tower learns to describe them:

        x = norm(sg f₁(first)), y = norm(W₂ f₂(second)), L as in CLIP

    What is new: captions teach the text tower what a good picture tower knows already, rather than spoil it. Without
    pretrained weights (an encoder named ``hf:...`` or ``run:FOLDER``) the space is that of random features.

    Measured here on emoji with a first tower by SimCLR, three seeds: drawings of an unseen vendor find their name first
    in 3.9 ± 0.4 % of cases (CLIP 15.8 ± 0.8), unseen emoji among ten in 8.4 ± 0.7 % (7.9 ± 0.3);
    docs/modalities/paired.md.

    Args:
        temperature: τ at the start; the paper's 0.1.
        learn_temperature: Learn τ, as the paper does.
    """

    card: ClassVar[Card] = Card(
        name="lit",
        title="LiT: Zero-Shot Transfer with Locked-image text Tuning",
        paper="Zhai et al., CVPR 2022",
        new="a pretrained first tower that is locked, and a second one that learns to fit it",
        modalities=("paired",),
    )
    training_defaults: ClassVar[dict[str, Any]] = {"weight_decay": 1e-4}

    def __init__(self, *, temperature: Positive = 0.1, learn_temperature: bool = True, **common: Any) -> None:
        super().__init__(temperature=temperature, learn_temperature=learn_temperature, **common)

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        if not isinstance(self.encoder, PairEncoder):
            raise ConfigError(f"LiT locks a tower of a PairEncoder, and {type(self.encoder).__name__} is none.")
        self.encoder.lock("first")
        super().build_heads(self.encoder.dim, spec)
