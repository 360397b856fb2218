"""How well a number can be told from frozen features: a ridge probe and nearest neighbours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation.features import to_numpy, unit_rows
from twofold.evaluation.intervals import bootstrap_mean
from twofold.evaluation.result import Measurement, MetricInfo

PENALTIES = tuple(float(10.0**k) for k in range(-2, 5))
"""Strengths of the L2 penalty that the ridge probe chooses from."""
NEIGHBOURS = 20
_TEMPERATURE = 0.1  # of the neighbours' weights, as in the classification by neighbours

METRICS = {
    "ridge_r2": MetricInfo("ridge probe R²", interval="95 % bootstrap over test items"),
    "ridge_mae": MetricInfo("ridge probe mean absolute error", False, "95 % bootstrap over test items"),
    "knn_r2": MetricInfo(f"weighted {NEIGHBOURS}-NN R²", interval="95 % bootstrap over test items"),
    "knn_mae": MetricInfo(f"weighted {NEIGHBOURS}-NN mean absolute error", False, "95 % bootstrap over test items"),
}
"""How to read what :func:`measure_regression` gives."""
PROTOCOL = {
    "ridge": "features standardized on the training part; penalty chosen from 0.01 ... 10,000 by leave-one-out error "
    "on the training part",
    "neighbours": f"the {NEIGHBOURS} nearest training items by cosine, weighted by exp(cosine / {_TEMPERATURE})",
}


def ridge_probe(train: Tensor, targets: Tensor, test: Tensor) -> Tensor:
    """Predictions float64 ``(m,)`` of a linear probe with an L2 penalty (scikit-learn's RidgeCV).

    Args:
        train: Features ``(n ≥ 2, d)``; they are standardized with their own moments.
        targets: ``(n,)``.
        test: Features ``(m, d)``.

    Raises:
        DataError: If shapes do not fit or something is not finite.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _check(train, targets, test)
    probe = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    probe.fit(to_numpy(train).astype(np.float64), to_numpy(targets).astype(np.float64))
    return torch.from_numpy(probe.predict(to_numpy(test).astype(np.float64)))


def knn_regression(
    train: Tensor, targets: Tensor, test: Tensor, *, k: int = NEIGHBOURS, temperature: float = _TEMPERATURE
) -> Tensor:
    """Predictions float64 ``(m,)``: the mean over the k nearest training items, weighted by exp(cosine / temperature).

    Args:
        train: Features ``(n ≥ 2, d)``.
        targets: ``(n,)``.
        test: Features ``(m, d)``.
        k: Neighbours; never more than there are.
        temperature: > 0.

    Raises:
        ConfigError: If k or the temperature is not positive.
        DataError: If shapes do not fit or something is not finite.
    """
    if k < 1 or not temperature > 0:
        raise ConfigError(f"k and temperature must be positive, got {k} and {temperature}")
    _check(train, targets, test)
    cosine = unit_rows(test.double()) @ unit_rows(train.double()).T
    nearest, place = cosine.topk(min(k, len(train)), dim=1)
    return ((nearest / temperature).softmax(1) * targets.double()[place]).sum(1)


def measure_regression(
    train: Tensor, train_targets: Tensor, test: Tensor, test_targets: Tensor
) -> dict[str, Measurement]:
    """R² and mean absolute error of both probes, under the names of :data:`METRICS`.

    Items without a target (NaN) or without features (a row with NaN) do not count.
    """
    train, train_targets = _known(train, train_targets, "training part")
    test, test_targets = _known(test, test_targets, "test part")
    found: dict[str, Measurement] = {}
    for name, probe in (("ridge", ridge_probe), ("knn", knn_regression)):
        found |= errors(probe(train, train_targets, test), test_targets, prefix=f"{name}_")
    return found


def errors(predictions: Tensor, targets: Tensor, *, prefix: str = "") -> dict[str, Measurement]:
    """R² and mean absolute error of predictions ``(m,)``, as ``<prefix>r2`` and ``<prefix>mae``.

    R² is 1 − Σ(y − ŷ)² / Σ(y − ȳ)² with the mean ȳ of these targets: 0 for who predicts that mean, negative if worse.
    """
    targets = targets.double()
    distance = (predictions.double() - targets).abs()
    spread = (targets - targets.mean()).square().mean()
    if not spread > 0:
        raise DataError("all targets of the test part are equal: there is nothing to explain")
    scores = {"r2": 1 - distance.square() / spread, "mae": distance}
    return {f"{prefix}{name}": _measured(values, name) for name, values in scores.items()}


def _measured(values: Tensor, unit: str) -> Measurement:
    mean, low, high = bootstrap_mean(values.numpy())
    return Measurement(mean, low, high, unit="R²" if unit == "r2" else "target", n=len(values), per_item=values)


def _known(features: Tensor, targets: Tensor, where: str) -> tuple[Tensor, Tensor]:
    if len(features) != len(targets):
        raise DataError(f"{where}: {len(targets)} targets for {len(features)} rows of features")
    known = features.isfinite().all(1) & targets.isfinite()
    if int(known.sum()) < 2:
        raise DataError(f"{where}: {int(known.sum())} items have features and a target; at least two are needed")
    return features[known], targets[known]


def _check(train: Tensor, targets: Tensor, test: Tensor) -> None:
    if train.ndim != 2 or test.ndim != 2 or train.shape[1] != test.shape[1] or targets.shape != train.shape[:1]:
        shapes = f"{tuple(train.shape)}, {tuple(targets.shape)} and {tuple(test.shape)}"
        raise DataError(f"a regression takes features (n, d), targets (n,) and test features (m, d); got {shapes}")
    for name, values in (("training features", train), ("targets", targets), ("test features", test)):
        if not bool(values.isfinite().all()):
            raise DataError(f"{name} hold NaN or infinite numbers")
