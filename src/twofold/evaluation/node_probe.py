"""A logistic probe on the nodes of a graph, with a split into train, validation and test that is given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.evaluation.features import check_pair, to_numpy, unit_rows

GRID: tuple[int, ...] = tuple(range(-6, 15, 2))
"""log2 of the inverse strengths of the L2 penalty to choose from. GRACE's code has −10 to 9; with rows of unit length
and few training nodes the best often lies higher, and never at the lower end."""
_ITERATIONS = 300


@dataclass(frozen=True, eq=False)
class NodeProbe:
    """What a probe scored on the test nodes.

    Attributes:
        accuracy: Share of right answers.
        macro_f1: Mean of the classes' F1.
        correct: Which test nodes were right, bool (tested,).
        log2_c: The chosen strength.
        validation: Accuracy on the validation nodes at that strength; NaN without such nodes.
    """

    accuracy: float
    macro_f1: float
    correct: Tensor
    log2_c: int
    validation: float

    @property
    def tested(self) -> int:
        """Number of test nodes."""
        return len(self.correct)


def node_probe(
    rows: Tensor, labels: Tensor, train: Tensor, val: Tensor, test: Tensor, *, grid: Sequence[int] = GRID
) -> NodeProbe:
    """Multinomial logistic regression (scikit-learn, L-BFGS) on rows of unit length.

    It is fitted on the training nodes only; C is the smallest of those that are best on the validation nodes. Without
    validation nodes C is 1. Nodes without a label are left out.

    Args:
        rows: Vectors of nodes (N, d).
        labels: Classes, int64 (N,), −1 where unknown.
        train, val, test: Which nodes, bool (N,) each.
        grid: log2 of the values of C.

    Raises:
        DataError: If lengths differ, rows are not finite, or there is no class to tell apart.
    """
    from sklearn.metrics import f1_score

    check_pair(rows, labels, "nodes")
    known = labels >= 0
    x, y = to_numpy(unit_rows(rows)), to_numpy(labels)
    fit, choose, final = (to_numpy(mask & known).nonzero()[0] for mask in (train, val, test))
    if len(np.unique(y[fit])) < 2 or not len(final):
        raise DataError("nodes: a probe needs training nodes of two classes, and test nodes, with labels")
    best, score, answers = 0, -1.0, y[final]
    for power in sorted(grid) if len(choose) else [0]:
        chosen, guessed = _fit_predict(x[fit], y[fit], 2.0**power, x[choose], x[final])
        reached = float((chosen == y[choose]).mean()) if len(choose) else 0.0
        if reached > score:
            best, score, answers = power, reached, guessed
    correct = np.asarray(answers == y[final])
    macro = float(f1_score(y[final], answers, average="macro", zero_division=0.0))
    return NodeProbe(
        float(correct.mean()), macro, torch.from_numpy(correct), best, score if len(choose) else float("nan")
    )


def _fit_predict(x: np.ndarray, y: np.ndarray, c: float, *queries: np.ndarray) -> list[np.ndarray]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # With the weakest penalties L-BFGS stops before it converges, and the validation nodes judge that as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(C=c, max_iter=_ITERATIONS).fit(x, y)
    return [probe.predict(query) if len(query) else y[:0] for query in queries]
