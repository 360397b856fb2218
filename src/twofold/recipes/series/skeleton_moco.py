"""Momentum contrast for skeletons: SkeletonCLR (Li et al., CVPR 2021)."""

from __future__ import annotations

from typing import Any, ClassVar

from twofold.options import Positive, PositiveInt
from twofold.recipes.base import Card
from twofold.recipes.views.moco import MoCoV2


class SkeletonMoCo(MoCoV2):
    """SkeletonCLR: momentum contrast over views that respect the body (Li et al., CVPR 2021).

    q = norm(g(f(v1))), k = norm(g'(f'(v2))) without gradient, past keys as negatives; MoCo's loss as it is:

        ℓ_i = −q_i·k_i/τ + log [ exp(q_i·k_i/τ) + Σ_{past keys} exp(q_i·k/τ) ]

    What is new: the views, a shear of all places and a shift in time (``skeleton``). The views of AimCLR (Guo et al.,
    AAAI 2022), a normal one against an extreme one, are ``views="aimclr"``; its further losses and its attention-guided
    drop are not here. The published encoders (ST-GCN, 3 GRU layers of 1024 units) are replaced by a small GRU.
    Measured on J-HMDB after 80 steps: 20-NN 68.2 ± 2.6, untrained 64.8; no gain for a linear probe
    (benchmarks/modalities/results/series.json).

    Measured here on JHMDB's skeletons, three seeds: 20 neighbours 68.2 ± 2.6 % (untrained 64.8, raw 49.4), linear probe
    68.8 ± 3.2 % (untrained 69.7, raw 74.4); docs/results/modalities.md.

    Args:
        temperature: τ; the paper's 0.07.
        queue_size: Keys kept; 32768 in the paper. Never more than there are samples.
        hidden_dim: Width of the projector; the paper takes that of its encoder.
    """

    card: ClassVar[Card] = Card(
        name="skeleton-moco",
        title="3D Human Action Representation Learning via Cross-View Consistency Pursuit (SkeletonCLR)",
        paper="Li et al., CVPR 2021",
        new="momentum contrast over sheared and shifted skeletons",
        modalities=("series",),
    )
    preferred_views: ClassVar[str] = "skeleton"
    preferred_encoder: ClassVar[str | None] = "bigru"
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 128}

    def __init__(
        self,
        *,
        temperature: Positive = 0.07,
        queue_size: PositiveInt = 32768,
        hidden_dim: PositiveInt = 256,
        **common: Any,
    ) -> None:
        super().__init__(temperature=temperature, queue_size=queue_size, hidden_dim=hidden_dim, **common)
