"""What knowing nothing scores: the line every number is to be read against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from twofold.evaluation.clustering import partition_agreement
from twofold.evaluation.features import Features, to_numpy
from twofold.evaluation.retrieval import random_ranking, retrieval_task

_SHUFFLES = 20


def chance_levels(
    bank: Features,
    test: Features,
    *,
    generator: np.random.Generator,
    gallery: Features | None = None,
    depths: Sequence[int] = (1, 5),
) -> dict[str, float]:
    """The score of a method that does not look at the features, for each metric that has one.

    - knn, linear: always answer the bank's most frequent class (smallest label of equals);
    - few_shot: 1 / classes, as supports are balanced;
    - nmi, ari, cluster_accuracy: the test labels against their own shuffles, mean of 20;
    - recall_at_k, map: expectation under a random ranking.

    Args:
        bank: Where labels are learnt from.
        test: What is scored; items labelled -1 do not count.
        generator: Source of the shuffles.
        gallery: What test items retrieve from, if not from each other.
        depths: Depths k of R@k.
    """
    levels: dict[str, float] = {}
    learnt, known = bank.known_labels(), test.known_labels()
    classes, counts = learnt.unique(return_counts=True)
    if len(known) and len(classes) > 1:
        levels["knn"] = levels["linear"] = float((known == classes[counts.argmax()]).double().mean())
        levels["few_shot"] = float(torch.isin(known, classes).double().mean()) / len(classes)
    if len(known.unique()) > 1:
        levels |= _clustering(to_numpy(known), generator)
    return levels | _retrieval(test, gallery, depths)


def _clustering(labels: np.ndarray, generator: np.random.Generator) -> dict[str, float]:
    scores = [partition_agreement(labels, generator.permutation(labels)) for _ in range(_SHUFFLES)]
    return dict(zip(("nmi", "ari", "cluster_accuracy"), np.mean(scores, axis=0).tolist(), strict=True))


def _retrieval(test: Features, gallery: Features | None, depths: Sequence[int]) -> dict[str, float]:
    task = retrieval_task(test, gallery)
    if task is None:
        return {}
    recall, precision = random_ranking(task.relevant(), len(task.offered) - int(task.within), ks=depths)
    return {f"recall_at_{k}": value for k, value in recall.items()} | {"map": precision}
