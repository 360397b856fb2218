"""The standard evaluation: the same metrics, the same protocol and the same words for every encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation.clustering import kmeans_agreement
from twofold.evaluation.features import Features
from twofold.evaluation.geometry import geometry_report, matched_positions
from twofold.evaluation.intervals import bootstrap_mean, mean_interval
from twofold.evaluation.knn import weighted_knn
from twofold.evaluation.probe import C_GRID, few_shot_probe, linear_probe
from twofold.evaluation.result import Measurement, MetricInfo
from twofold.evaluation.retrieval import retrieval_task, retrieve_across, retrieve_within

NEIGHBOURS, KNN_TEMPERATURE = 20, 0.1
SHOTS, EPISODES = 5, 10
KMEANS_RUNS, KMEANS_RESTARTS = 5, 3
RECALL_DEPTHS = (1, 5)

METRIC_GROUPS = ("knn", "linear", "few_shot", "kmeans", "retrieval", "geometry")
"""What the standard evaluation measures, in this order."""

_ITEMS, _QUERIES = "95 % bootstrap over test items", "95 % bootstrap over queries"
_EPISODES = f"95 % t-interval over {EPISODES} episodes"
_RUNS = f"95 % t-interval over {KMEANS_RUNS} k-means seeds"

METRICS: dict[str, MetricInfo] = {
    "knn": MetricInfo(f"weighted {NEIGHBOURS}-NN accuracy", True, _ITEMS),
    "linear": MetricInfo("linear probe accuracy", True, _ITEMS),
    "few_shot": MetricInfo(f"{SHOTS}-shot probe accuracy", True, _EPISODES),
    "nmi": MetricInfo("k-means NMI", True, _RUNS),
    "ari": MetricInfo("k-means ARI", True, _RUNS),
    "cluster_accuracy": MetricInfo("k-means matched accuracy", True, _RUNS),
    "recall_at_1": MetricInfo("retrieval R@1", True, _QUERIES),
    "recall_at_5": MetricInfo("retrieval R@5", True, _QUERIES),
    "map": MetricInfo("retrieval mAP", True, _QUERIES),
    "alignment": MetricInfo("alignment of positive pairs", False),
    "uniformity": MetricInfo("uniformity (t = 2)", False),
    "effective_rank": MetricInfo("effective rank (RankMe)", True),
    "dimension_std": MetricInfo("relative std per dimension", True),
    "tolerance": MetricInfo("tolerance (same-class cosine)", True),
}
"""How to read each metric that `evaluate_features` can return."""

PROTOCOL: dict[str, str] = {
    "knn": f"{NEIGHBOURS} nearest bank items by cosine, each voting with exp(cosine / {KNN_TEMPERATURE})",
    "linear": (
        "logistic regression (L-BFGS) on features standardised with bank statistics; C of "
        f"{', '.join(f'{c:g}' for c in C_GRID)} chosen on a stratified fifth of the bank, then fitted on all of it"
    ),
    "few_shot": (
        f"mean of {EPISODES} episodes: {SHOTS} labelled bank items of every class, logistic regression (C = 1) on "
        "features standardised with those items, scored on all test items"
    ),
    "kmeans": (
        f"k-means on L2-normalised test features, as many clusters as classes, {KMEANS_RUNS} seeds, best of "
        f"{KMEANS_RESTARTS} starts each; accuracy under the best one-to-one matching of clusters and classes"
    ),
    "retrieval": (
        "cosine ranking; relevant is what has the query's key, or its label where there are no keys; the query itself "
        "is excluded; R@k = share of queries with a relevant item among the first k; ties count as misses"
    ),
    "geometry": "test features; effective rank of the centred features, all else on the unit sphere",
}
"""The protocol of each metric group, in words."""


@dataclass(frozen=True, eq=False)
class _Setting:
    """What the metric groups read: only finite rows; `known` are the test positions that also have a label."""

    bank: Features
    test: Features
    positions: Tensor
    gallery: Features | None
    total: int
    seed: int

    @property
    def known(self) -> Tensor:
        return self.test.labelled.nonzero().flatten()

    def generator(self) -> np.random.Generator:
        """A fresh generator: the same redrawn test sets for every metric and encoder."""
        return np.random.default_rng(self.seed)

    def measure(self, scores: Tensor, positions: Tensor, unit: str, note: str = "") -> Measurement:
        """The mean of per-item `scores`, which stand at `positions` of the finite test rows."""
        per_item = torch.full((self.total,), torch.nan, dtype=torch.float64)
        per_item[self.positions[positions.cpu()]] = scores.cpu().double()
        interval = bootstrap_mean(scores.cpu().numpy(), generator=self.generator())
        return Measurement(*interval, unit=unit, n=len(scores), note=note, per_item=per_item)


def evaluate_features(
    bank: Features,
    test: Features,
    *,
    metrics: Sequence[str] = METRIC_GROUPS,
    seed: int = 0,
    gallery: Features | None = None,
) -> dict[str, Measurement]:
    """Measure one encoder's features by the standard protocol (`PROTOCOL` has it in words).

    Probes learn from `bank` only and are scored on `test` only. Rows that are not finite are left out, as are items
    labelled -1 wherever labels count; without labels only geometry, and retrieval by keys, are measured. A metric that
    the data cannot support is absent from the result: `diagnose` says why.

    Args:
        bank: Features of the training split.
        test: Features of the test split, same width.
        metrics: Groups to measure: knn, linear, few_shot, kmeans (nmi, ari, cluster_accuracy), retrieval (recall_at_1,
            recall_at_5, map), geometry (uniformity, effective_rank, dimension_std; tolerance with labels; alignment
            with keys).
        seed: Decides validation part, supports, k-means starts and bootstrap.
        gallery: What test items retrieve from; relevant is what has the same key (the same label if either side has
            no keys). Without it test items retrieve each other.

    Raises:
        ConfigError: If a metric group is unknown.
        DataError: If the widths differ.
    """
    unknown = [group for group in metrics if group not in _GROUPS]
    if unknown:
        raise ConfigError(f"unknown metric group {', '.join(unknown)}; there are {', '.join(_GROUPS)}")
    widths = {side.x.shape[1] for side in (bank, test, gallery) if side is not None}
    if len(widths) > 1:
        raise DataError(f"bank, test and gallery must come from one encoder; their widths are {sorted(widths)}")
    positions = test.finite.nonzero().flatten()
    setting = _Setting(
        bank=bank.take((bank.finite & bank.labelled).nonzero().flatten()),
        test=test.take(positions),
        positions=positions.cpu(),
        gallery=None if gallery is None else gallery.take(gallery.finite.nonzero().flatten()),
        total=len(test),
        seed=seed,
    )
    measured = {key: value for group in metrics for key, value in _GROUPS[group](setting).items()}
    return {key: measured[key] for key in METRICS if key in measured}


def _knn(setting: _Setting) -> dict[str, Measurement]:
    bank_labels, labels = setting.bank.known_labels(), setting.test.known_labels()
    if not _can_classify(bank_labels, labels):
        return {}
    known = setting.known
    found = weighted_knn(setting.bank.x, bank_labels, setting.test.x[known], k=NEIGHBOURS, temperature=KNN_TEMPERATURE)
    right = found.predictions.cpu() == labels
    return {"knn": setting.measure(right, known, "accuracy", found.message)}


def _linear(setting: _Setting) -> dict[str, Measurement]:
    bank_labels, labels = setting.bank.known_labels(), setting.test.known_labels()
    if not _can_classify(bank_labels, labels):
        return {}
    known = setting.known
    found = linear_probe(setting.bank.x, bank_labels, setting.test.x[known], seed=setting.seed)
    note = "; ".join(filter(None, [f"C = {found.C:g}", found.message]))
    return {"linear": setting.measure(found.predictions == labels, known, "accuracy", note)}


def _few_shot(setting: _Setting) -> dict[str, Measurement]:
    bank_labels, labels = setting.bank.known_labels(), setting.test.known_labels()
    if not _can_classify(bank_labels, labels):
        return {}
    known = setting.known
    found = few_shot_probe(
        setting.bank.x,
        bank_labels,
        setting.test.x[known],
        labels,
        shots=SHOTS,
        episodes=EPISODES,
        seed=setting.seed,
    )
    items = setting.measure(found.item_scores, known, "accuracy", found.message)
    spread = mean_interval(found.accuracy.numpy())
    return {"few_shot": replace(items, low=spread.low, high=spread.high)}


def _kmeans(setting: _Setting) -> dict[str, Measurement]:
    labels = setting.test.known_labels()
    if len(labels.unique()) < 2:
        return {}
    seeds = range(setting.seed, setting.seed + KMEANS_RUNS)
    found = kmeans_agreement(setting.test.x[setting.known], labels, seeds=seeds, restarts=KMEANS_RESTARTS)

    def over_seeds(values: np.ndarray, unit: str) -> Measurement:
        return Measurement(*mean_interval(values), unit=unit, n=len(labels), note=found.message)

    return {
        "nmi": over_seeds(found.nmi, "NMI"),
        "ari": over_seeds(found.ari, "ARI"),
        "cluster_accuracy": over_seeds(found.accuracy, "accuracy"),
    }


def _retrieval(setting: _Setting) -> dict[str, Measurement]:
    task = retrieval_task(setting.test, setting.gallery)
    if task is None:
        return {}
    queries = setting.test.x[task.queries]
    if setting.gallery is None:
        result = retrieve_within(queries, task.query_codes, ks=RECALL_DEPTHS)
    else:
        offered = setting.gallery.x[task.offered]
        result = retrieve_across(queries, offered, task.query_codes, task.offered_codes, ks=RECALL_DEPTHS)
    counted = result.counted
    alone = int((~counted).sum())
    note = f"{alone} queries with nothing relevant to find are left out" if alone else ""
    at = task.queries[counted]
    measured = {
        f"recall_at_{k}": setting.measure(hits[counted], at, "share of queries", note)
        for k, hits in result.recall.items()
    }
    return measured | {"map": setting.measure(result.average_precision[counted], at, "average precision", note)}


def _geometry(setting: _Setting) -> dict[str, Measurement]:
    if len(setting.test) < 2:
        return {}
    units = {
        "alignment": "squared distance",
        "uniformity": "log mean potential",
        "effective_rank": "dimensions",
        "dimension_std": "1 = evenly spread",
        "tolerance": "cosine",
    }
    report = geometry_report(setting.test.x, setting.test.labels, positives=_positives(setting))
    return {key: Measurement(value, unit=units[key], n=len(setting.test)) for key, value in report.items()}


def _positives(setting: _Setting) -> Tensor | None:
    """Pairs of the same key, (2, pairs, d): within the test set, or between it and the gallery."""
    task = retrieval_task(setting.test, setting.gallery)
    if task is None or not task.by_key:
        return None
    left, right = matched_positions(task.query_codes, None if task.within else task.offered_codes)
    pool = setting.test.x if setting.gallery is None else setting.gallery.x
    return torch.stack([setting.test.x[left], pool[right]])


_GROUPS: dict[str, Callable[[_Setting], dict[str, Measurement]]] = {
    "knn": _knn,
    "linear": _linear,
    "few_shot": _few_shot,
    "kmeans": _kmeans,
    "retrieval": _retrieval,
    "geometry": _geometry,
}


def _can_classify(bank_labels: Tensor, labels: Tensor) -> bool:
    return len(bank_labels.unique()) > 1 and len(labels) > 0
