"""Objectives: losses as pure functions of embeddings, one file a family.

Contract: inputs are normalized inside unless ``normalize=False``; half precision is raised to float32; the result is
a scalar, or one value per anchor with ``reduction="none"``; bad shapes and temperatures raise at once.
"""

from twofold.contrast.objectives.attraction import AttractionRepulsion, attraction_repulsion
from twofold.contrast.objectives.clustering import self_distillation, swapped_clusters
from twofold.contrast.objectives.geometry import alignment, effective_rank, standard_deviation, tolerance, uniformity
from twofold.contrast.objectives.hardness import debiased, hard_contrastive, hard_reweighted, simple
from twofold.contrast.objectives.individual import GlobalContrast, global_contrastive
from twofold.contrast.objectives.infonce import (
    decoupled,
    decoupled_weighted,
    info_nce,
    info_nce_with_negatives,
    nt_xent,
    positive_rank,
    symmetric_info_nce,
)
from twofold.contrast.objectives.multiview import mv_dhel, mv_info_nce, pairwise_average
from twofold.contrast.objectives.prediction import negative_cosine, prediction
from twofold.contrast.objectives.redundancy import VICReg, barlow_twins, vicreg
from twofold.contrast.objectives.sigmoid import sigmoid
from twofold.contrast.objectives.supervised import supervised, supervised_inside

__all__ = [
    "AttractionRepulsion",
    "GlobalContrast",
    "VICReg",
    "alignment",
    "attraction_repulsion",
    "barlow_twins",
    "debiased",
    "decoupled",
    "decoupled_weighted",
    "effective_rank",
    "global_contrastive",
    "hard_contrastive",
    "hard_reweighted",
    "info_nce",
    "info_nce_with_negatives",
    "mv_dhel",
    "mv_info_nce",
    "negative_cosine",
    "nt_xent",
    "pairwise_average",
    "positive_rank",
    "prediction",
    "self_distillation",
    "sigmoid",
    "simple",
    "standard_deviation",
    "supervised",
    "supervised_inside",
    "swapped_clusters",
    "symmetric_info_nce",
    "tolerance",
    "uniformity",
    "vicreg",
]
