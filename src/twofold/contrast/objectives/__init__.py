"""Objectives: losses as pure functions of embeddings, one file a family.

Contract: inputs are normalized inside unless ``normalize=False``; half precision is raised to float32; the result is
a scalar, or one value per anchor with ``reduction="none"``; bad shapes and temperatures raise at once.
"""

from twofold.contrast.objectives.attraction import AttractionRepulsion, attraction_repulsion
from twofold.contrast.objectives.clustering import self_distillation, swapped_clusters
from twofold.contrast.objectives.cross_modal import (
    attended_info_nce,
    cross_uniformity,
    graded_info_nce,
    info_nce_with_distractors,
    smoothed_info_nce,
)
from twofold.contrast.objectives.dense import dense_info_nce
from twofold.contrast.objectives.geometry import alignment, effective_rank, standard_deviation, tolerance, uniformity
from twofold.contrast.objectives.hard_negatives import info_nce_with_hard_negatives
from twofold.contrast.objectives.hardness import debiased, hard_contrastive, hard_info_nce, hard_reweighted, simple
from twofold.contrast.objectives.hierarchical import hierarchical_contrast
from twofold.contrast.objectives.individual import GlobalContrast, global_contrastive
from twofold.contrast.objectives.infomax import local_global
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
from twofold.contrast.objectives.ordinal import ordinal
from twofold.contrast.objectives.prediction import negative_cosine, prediction
from twofold.contrast.objectives.prototypical import concentration, prototype_contrast
from twofold.contrast.objectives.recommendation import bpr, info_nce_within, sampled_logistic
from twofold.contrast.objectives.reconstruction import scaled_cosine_error
from twofold.contrast.objectives.redundancy import VICReg, barlow_twins, vicreg
from twofold.contrast.objectives.sigmoid import sigmoid
from twofold.contrast.objectives.supervised import supervised, supervised_inside
from twofold.contrast.objectives.weighted import weighted_info_nce

__all__ = [
    "AttractionRepulsion",
    "GlobalContrast",
    "VICReg",
    "alignment",
    "attended_info_nce",
    "attraction_repulsion",
    "barlow_twins",
    "bpr",
    "concentration",
    "cross_uniformity",
    "debiased",
    "decoupled",
    "decoupled_weighted",
    "dense_info_nce",
    "effective_rank",
    "global_contrastive",
    "graded_info_nce",
    "hard_contrastive",
    "hard_info_nce",
    "hard_reweighted",
    "hierarchical_contrast",
    "info_nce",
    "info_nce_with_distractors",
    "info_nce_with_hard_negatives",
    "info_nce_with_negatives",
    "info_nce_within",
    "local_global",
    "mv_dhel",
    "mv_info_nce",
    "negative_cosine",
    "nt_xent",
    "ordinal",
    "pairwise_average",
    "positive_rank",
    "prediction",
    "prototype_contrast",
    "sampled_logistic",
    "scaled_cosine_error",
    "self_distillation",
    "sigmoid",
    "simple",
    "smoothed_info_nce",
    "standard_deviation",
    "supervised",
    "supervised_inside",
    "swapped_clusters",
    "symmetric_info_nce",
    "tolerance",
    "uniformity",
    "vicreg",
    "weighted_info_nce",
]
