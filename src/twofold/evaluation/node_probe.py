"""Linear probes on the nodes of a graph, with a split into train, validation and test that is given.

:func:`node_probe` is solved to the end, on rows of unit length. :func:`layer_probe` is that of GraphMAE's code: a layer
on rows of any length, which a few hundred steps of Adam train. Both choose on validation nodes and look at test nodes
once.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from twofold.errors import DataError
from twofold.evaluation.features import check_pair, to_numpy, unit_rows

GRID: tuple[int, ...] = tuple(range(-6, 15, 2))
"""log2 of the inverse strengths of the L2 penalty to choose from. GRACE's code has −10 to 9; with rows of unit length
and few training nodes the best often lies higher, and never at the lower end."""
_ITERATIONS = 300
LAYER_STEPS, LAYER_RATE = 300, 0.01
"""Of Adam, as in GraphMAE's code (Hou et al., KDD 2022)."""
LAYER_DECAYS: tuple[float, ...] = (0.0, 1e-4, 1e-2)
"""DGI's, and GraphMAE's for Cora and for CiteSeer."""


@dataclass(frozen=True, eq=False)
class NodeProbe:
    """What a probe scored on the test nodes.

    Attributes:
        accuracy: Share of right answers.
        macro_f1: Mean of the classes' F1.
        correct: Which test nodes were right, bool (tested,).
        chosen: What was chosen by the validation nodes: "log2_c", or "weight_decay" and "step".
        validation: Accuracy on the validation nodes with that; NaN without such nodes.
    """

    accuracy: float
    macro_f1: float
    correct: Tensor
    chosen: Mapping[str, float]
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
    y, fit, choose, final = _parts(rows, labels, train, val, test)
    x = to_numpy(unit_rows(rows))
    best, score, answers = 0, -1.0, y[final]
    for power in sorted(grid) if len(choose) else [0]:
        chosen, guessed = _fit_predict(x[fit], y[fit], 2.0**power, x[choose], x[final])
        reached = float((chosen == y[choose]).mean()) if len(choose) else 0.0
        if reached > score:
            best, score, answers = power, reached, guessed
    return _scored(answers, y[final], {"log2_c": best}, score if len(choose) else float("nan"))


def layer_probe(
    rows: Tensor,
    labels: Tensor,
    train: Tensor,
    val: Tensor,
    test: Tensor,
    *,
    decays: Sequence[float] = LAYER_DECAYS,
    steps: int = LAYER_STEPS,
    lr: float = LAYER_RATE,
) -> NodeProbe:
    """A linear layer on the rows as they are, trained by Adam, as in GraphMAE's code (Hou et al., KDD 2022).

    There the decay is given for each data set; here it is chosen. DGI and MVGRL train such a layer for a fixed number
    of steps.

    Long rows count for more, and the layer that is scored is the one after the step, and with the decay, that are best
    on the validation nodes; of equally good ones the last step of the first decay. Without validation nodes it is the
    last step without decay. Its first weights are the same in every call.

    Args:
        rows, labels, train, val, test: As of :func:`node_probe`.
        decays: Of weights, to choose from.
        steps: Of Adam, each on all training nodes.
        lr: Its rate.

    Raises:
        DataError: As :func:`node_probe`.
    """
    y, fit, choose, final = _parts(rows, labels, train, val, test)
    x, classes = rows.detach().float().cpu(), int(y.max()) + 1
    parts = [(x[index], torch.from_numpy(y[index])) for index in (fit, choose)]
    tried = [_trained_layer(parts, classes, decay, steps, lr) for decay in (decays if len(choose) else (0.0,))]
    layer, validation, chosen = max(tried, key=lambda one: one[1])  # the first of equals
    answers = to_numpy(F.linear(x[final], *layer).argmax(1))
    return _scored(answers, y[final], chosen, validation if len(choose) else float("nan"))


def _trained_layer(
    parts: list[tuple[Tensor, Tensor]], classes: int, decay: float, steps: int, lr: float
) -> tuple[list[Tensor], float, dict[str, float]]:
    """Weights and biases as they were after the best step, accuracy on validation nodes then, and decay and step."""
    (own, answer), (of_val, right) = parts
    draw, reach = torch.Generator().manual_seed(0), own.shape[1] ** -0.5  # as torch.nn.Linear begins
    layer = [
        torch.empty(size).uniform_(-reach, reach, generator=draw) for size in ((classes, own.shape[1]), (classes,))
    ]
    kept, best, best_step = layer, -1.0, 0
    optimizer = torch.optim.Adam([part.requires_grad_() for part in layer], lr=lr, weight_decay=decay)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        F.cross_entropy(F.linear(own, *layer), answer).backward()
        optimizer.step()
        with torch.no_grad():
            answers = F.linear(of_val, *layer).argmax(1)
        reached = float((answers == right).double().mean()) if len(right) else float(step)
        if reached >= best:
            kept, best, best_step = [part.detach().clone() for part in layer], reached, step
    return kept, best, {"weight_decay": decay, "step": best_step}


def _parts(
    rows: Tensor, labels: Tensor, train: Tensor, val: Tensor, test: Tensor
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Classes of all nodes, and the numbers of those to fit on, to choose by and to test on."""
    check_pair(rows, labels, "nodes")
    y = to_numpy(labels)
    fit, choose, final = (to_numpy(mask & (labels >= 0)).nonzero()[0] for mask in (train, val, test))
    if len(np.unique(y[fit])) < 2 or not len(final):
        raise DataError("nodes: a probe needs training nodes of two classes, and test nodes, with labels")
    return y, fit, choose, final


def _scored(answers: np.ndarray, truth: np.ndarray, chosen: Mapping[str, float], validation: float) -> NodeProbe:
    from sklearn.metrics import f1_score

    correct = np.asarray(answers == truth)
    macro = float(f1_score(truth, answers, average="macro", zero_division=0.0))
    return NodeProbe(float(correct.mean()), macro, torch.from_numpy(correct), chosen, validation)


def _fit_predict(x: np.ndarray, y: np.ndarray, c: float, *queries: np.ndarray) -> list[np.ndarray]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # With the weakest penalties L-BFGS stops before it converges, and the validation nodes judge that as well.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe = LogisticRegression(C=c, max_iter=_ITERATIONS).fit(x, y)
    return [probe.predict(query) if len(query) else y[:0] for query in queries]
