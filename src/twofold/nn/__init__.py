"""Heads and teachers: what stands between an encoder and an objective."""

from __future__ import annotations

from twofold.nn.heads import (
    DINOHead,
    barlow_head,
    byol_head,
    mlp_head,
    moco_v2_head,
    moco_v3_predictor,
    moco_v3_projector,
    nnclr_predictor,
    nnclr_projector,
    simclr_head,
    simsiam_predictor,
    simsiam_projector,
)
from twofold.nn.point_sets import chamfer
from twofold.nn.teacher import Teacher, cosine_momentum

__all__ = [
    "DINOHead",
    "Teacher",
    "barlow_head",
    "byol_head",
    "chamfer",
    "cosine_momentum",
    "mlp_head",
    "moco_v2_head",
    "moco_v3_predictor",
    "moco_v3_projector",
    "nnclr_predictor",
    "nnclr_projector",
    "simclr_head",
    "simsiam_predictor",
    "simsiam_projector",
]
