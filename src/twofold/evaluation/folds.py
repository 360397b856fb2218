"""A support vector machine over cross-validation folds: the usual evaluation of embeddings of whole graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.evaluation.features import check_pair, to_numpy

C_GRID: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
_INNER_FOLDS = 5

Fold = tuple[Tensor, Tensor]
"""Positions of the items to learn from, and of those to test on; int64."""


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What the folds scored.

    Attributes:
        accuracy: Of each fold (folds,).
        correct: For each tested item, in the order of the items, the share of folds with it that got it right.
        tested: Positions of these items.
    """

    accuracy: Tensor
    correct: Tensor
    tested: Tensor


def stratified_folds(labels: Tensor, *, count: int = 10, seed: int = 0) -> list[Fold]:
    """Folds in which each class has its share; items labelled −1 are in none.

    Args:
        labels: Classes, int64 (n,).
        count: How many.
        seed: Of the shuffling.

    Raises:
        DataError: If a class has fewer items than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    known = (labels >= 0).nonzero().flatten()
    sizes = labels[known].bincount()
    if len(known) == 0 or int(sizes[sizes > 0].min()) < count:
        raise DataError(f"{count} folds need {count} labelled items of every class")
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    parts = splitter.split(np.zeros(len(known)), to_numpy(labels[known]))
    return [(known[torch.from_numpy(train)], known[torch.from_numpy(test)]) for train, test in parts]


def fold_probe(
    rows: Tensor, labels: Tensor, folds: Sequence[Fold], *, seed: int = 0, grid: Sequence[float] = C_GRID
) -> FoldResult:
    """SVM with an RBF kernel on standardized rows; C by cross-validation inside of each fold's training part.

    Args:
        rows: Vectors (n, d).
        labels: Classes, int64 (n,), of all items in the folds at least 0.
        folds: See :data:`Fold`.
        seed: Of the inner folds.
        grid: Values of C.

    Raises:
        DataError: If lengths differ, rows are not finite, a fold is empty or its training part is of one class.
    """
    check_pair(rows, labels, "items")
    x, y = to_numpy(rows), to_numpy(labels)
    hits, times = np.zeros(len(y)), np.zeros(len(y))
    scores = []
    for number, (train, test) in enumerate(folds):
        fit, final = to_numpy(train), to_numpy(test)
        if len(final) == 0 or len(np.unique(y[fit])) < 2:
            raise DataError(f"fold {number} needs items to test on, and two classes to learn from")
        correct = _fitted(x[fit], y[fit], seed, grid).predict(x[final]) == y[final]
        np.add.at(hits, final, correct)
        np.add.at(times, final, 1)
        scores.append(float(correct.mean()))
    tested = times.nonzero()[0]
    return FoldResult(
        torch.tensor(scores, dtype=torch.float64),
        torch.from_numpy(hits[tested] / times[tested]).float(),
        torch.from_numpy(tested),
    )


def _fitted(x: np.ndarray, y: np.ndarray, seed: int, grid: Sequence[float]) -> Any:
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    fewest = int(np.unique(y, return_counts=True)[1].min())
    inner = StratifiedKFold(min(_INNER_FOLDS, max(2, fewest)), shuffle=True, random_state=seed)
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": list(grid)}, cv=inner)
    return search.fit(x, y)
