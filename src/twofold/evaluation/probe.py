"""Linear probes on frozen features: logistic regression, on all training labels or on a few a class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation.features import check_pair, to_numpy
from twofold.evaluation.split import stratified_split

C_GRID: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the L2 penalty that the linear probe chooses from."""


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """A linear probe's answers.

    Attributes:
        predictions: Predicted labels, int64 (test items,), on the CPU.
        C: The chosen inverse strength of the L2 penalty.
        validation: Accuracy at each C of the grid on the held-out part of the training split; empty if none was held.
        message: What the reader should know (no convergence, no validation part); empty if nothing.
    """

    predictions: Tensor
    C: float
    validation: dict[float, float]
    message: str = ""


@dataclass(frozen=True, eq=False)
class FewShotResult:
    """Episodes of a few-shot probe.

    Attributes:
        accuracy: Test accuracy of each episode (episodes,).
        item_scores: For each test item the share of episodes that got it right (test items,).
        message: Which classes had fewer items than shots; empty if none.
    """

    accuracy: Tensor
    item_scores: Tensor
    message: str = ""


def linear_probe(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    *,
    seed: int = 0,
    grid: Sequence[float] = C_GRID,
    validation_fraction: float = 0.2,
    max_iter: int = 500,
) -> ProbeResult:
    """Logistic regression (scikit-learn, L-BFGS) on features standardised with training statistics.

    C is chosen on a stratified part held out of the TRAINING split (the smallest of equally good ones), then the probe
    is fitted again on the whole training split. Test items are seen once, by the final probe.

    Args:
        train: Training features (n, d).
        train_labels: Their labels, int64 (n,), at least two classes.
        test: Features to predict (m, d).
        seed: Decides the validation part.
        grid: Values of C to choose from.
        validation_fraction: Share of the training split held out for the choice.
        max_iter: Bound on L-BFGS iterations; reaching it is reported in `message`.

    Raises:
        ConfigError: If the grid is empty or holds numbers that are not positive.
        DataError: If shapes do not fit, features are not finite or there is only one class.
    """
    _check(train, train_labels, test)
    if not grid or min(grid) <= 0:
        raise ConfigError(f"the grid of C must hold positive numbers, got {tuple(grid)}")
    x, y = to_numpy(train), to_numpy(train_labels)
    messages: list[str] = []
    validation = _validate(x, y, sorted(grid), seed, validation_fraction, max_iter, messages)
    best = max(validation, key=lambda c: (validation[c], -c)) if validation else float(np.median(grid))
    predictions, converged = _fit_predict(x, y, to_numpy(test), best, max_iter)
    if not converged:
        messages.append(f"L-BFGS stopped at {max_iter} iterations at C = {best:g}")
    return ProbeResult(torch.from_numpy(predictions), best, validation, "; ".join(messages))


def few_shot_probe(
    train: Tensor,
    train_labels: Tensor,
    test: Tensor,
    test_labels: Tensor,
    *,
    shots: int = 5,
    episodes: int = 10,
    seed: int = 0,
    C: float = 1.0,
) -> FewShotResult:
    """Mean over episodes of a probe fitted on `shots` labelled items of each class, scored on the whole test split.

    An episode draws its support from the training split with all classes present; the features are standardised with
    the statistics of the support, and C is fixed because a handful of items cannot choose it. The same seed draws the
    same supports for every encoder, so that encoders can be compared episode by episode and item by item.

    Args:
        train, train_labels: What supports are drawn from: features (n, d), labels int64 (n,).
        test, test_labels: What is scored: (m, d), (m,).
        shots: Labelled items a class; a class with fewer gives all it has, and `message` says so.
        episodes: Number of supports drawn.
        seed: Decides the supports.
        C: Inverse strength of the L2 penalty.

    Raises:
        ConfigError: If shots or episodes are below 1.
        DataError: If shapes do not fit, features are not finite or there is only one class.
    """
    options = {"shots": shots, "episodes": episodes}
    problems = [f"{name} must be at least 1, got {value}" for name, value in options.items() if value < 1]
    if problems:
        raise ConfigError(problems)
    _check(train, train_labels, test)
    check_pair(test, test_labels, "test")
    x, y, queries, truth = to_numpy(train), to_numpy(train_labels), to_numpy(test), to_numpy(test_labels)
    generator = np.random.default_rng(seed)
    right = []
    for _ in range(episodes):
        support = _draw_support(y, shots, generator)
        predictions, _ = _fit_predict(x[support], y[support], queries, C, max_iter=500)
        right.append(predictions == truth)
    scores = torch.from_numpy(np.stack(right)).double()
    short = int((np.unique(y, return_counts=True)[1] < shots).sum())
    message = f"{short} classes have fewer than {shots} training items and gave all they have" if short else ""
    return FewShotResult(scores.mean(dim=1), scores.mean(dim=0), message)


def _validate(
    x: np.ndarray,
    y: np.ndarray,
    grid: Sequence[float],
    seed: int,
    fraction: float,
    max_iter: int,
    messages: list[str],
) -> dict[float, float]:
    """Accuracy at each C on the held-out part; empty, with a message, where no part can be held out."""
    try:
        generator = torch.Generator().manual_seed(seed)
        parts = stratified_split(torch.from_numpy(y), generator=generator, test_fraction=fraction)
    except DataError:
        messages.append("too few training items to hold out a validation part; the middle C of the grid was taken")
        return {}
    fit, held = parts.train.numpy(), parts.test.numpy()
    return {c: float((_fit_predict(x[fit], y[fit], x[held], c, max_iter)[0] == y[held]).mean()) for c in grid}


def _draw_support(labels: np.ndarray, shots: int, generator: np.random.Generator) -> np.ndarray:
    """Positions of up to `shots` items of every class."""
    return np.concatenate([generator.permutation(np.flatnonzero(labels == c))[:shots] for c in np.unique(labels)])


def _fit_predict(x: np.ndarray, y: np.ndarray, queries: np.ndarray, C: float, max_iter: int) -> tuple[np.ndarray, bool]:
    """Standardise, fit, predict; False beside the predictions if L-BFGS ran out of iterations."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe: Any = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=max_iter))
    with warnings.catch_warnings():
        # Reported through the return value: it belongs beside the number, not on the terminal.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(x, y)
    return probe.predict(queries), bool((probe[-1].n_iter_ < max_iter).all())


def _check(train: Tensor, train_labels: Tensor, test: Tensor) -> None:
    check_pair(train, train_labels, "training split")
    if test.ndim != 2 or test.shape[1] != train.shape[1]:
        raise DataError(f"training and test features differ in width: {tuple(train.shape)} and {tuple(test.shape)}")
    classes = train_labels.unique()
    if len(classes) < 2:
        raise DataError(f"a probe needs at least two classes; the training split has only label {int(classes[0])}")
