"""How well k-means finds the classes without being told them: NMI, ARI and Hungarian-matched accuracy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from twofold.errors import ConfigError
from twofold.evaluation.features import check_pair, to_numpy, unit_rows


@dataclass(frozen=True, eq=False)
class ClusteringResult:
    """Agreement of clusters with classes, one number a seed (seeds,).

    Attributes:
        nmi: Normalised mutual information (arithmetic mean of the entropies), 0 to 1.
        ari: Adjusted Rand index, 0 in expectation for unrelated partitions, 1 for equal ones.
        accuracy: Share of items whose cluster is matched to their class by the best one-to-one matching.
        clusters: Clusters asked for.
        message: If k-means found fewer distinct points than that; else empty.
    """

    nmi: np.ndarray
    ari: np.ndarray
    accuracy: np.ndarray
    clusters: int
    message: str = ""


def cluster_accuracy(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Accuracy under the one-to-one matching of clusters and classes that is best (Hungarian method).

    Args:
        labels, clusters: Two partitions of the same items, any integers (n,). Their numbers may differ: what is left
            over stays unmatched and counts as wrong.
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    table = contingency_matrix(labels, clusters)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(labels))


def partition_agreement(labels: np.ndarray, clusters: np.ndarray) -> tuple[float, float, float]:
    """NMI, ARI and matched accuracy of two partitions (n,), in this order."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return (
        float(normalized_mutual_info_score(labels, clusters)),
        float(adjusted_rand_score(labels, clusters)),
        cluster_accuracy(labels, clusters),
    )


def kmeans_agreement(
    x: Tensor,
    labels: Tensor,
    *,
    clusters: int | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    restarts: int = 3,
) -> ClusteringResult:
    """k-means (scikit-learn, k-means++ starts) on L2-normalised features, compared with the labels for each seed.

    Args:
        x: Features (n, d).
        labels: Classes, int64 (n,); only compared with, never clustered on.
        clusters: Number of clusters; the number of classes by default, at most n.
        seeds: One run of k-means each.
        restarts: Starts within a run, of which the one of least inertia counts.

    Raises:
        ConfigError: If clusters is below 1 or there is no seed.
        DataError: If lengths differ or features are not finite.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    check_pair(x, labels, "clustering")
    wanted = len(labels.unique()) if clusters is None else clusters
    if wanted < 1 or not seeds:
        raise ConfigError(f"k-means needs at least one cluster and one seed; got {wanted} and {len(seeds)}")
    points, truth = to_numpy(unit_rows(x)), to_numpy(labels)
    rows, found = [], wanted
    for seed in seeds:
        with warnings.catch_warnings():
            # Fewer distinct points than clusters is told in the message below.
            warnings.simplefilter("ignore", ConvergenceWarning)
            assigned = KMeans(min(wanted, len(points)), n_init=restarts, random_state=seed).fit_predict(points)
        rows.append(partition_agreement(truth, assigned))
        found = min(found, len(np.unique(assigned)))
    nmi, ari, accuracy = np.array(rows).T
    message = "" if found == wanted else f"only {found} of {wanted} clusters are not empty: too few distinct vectors"
    return ClusteringResult(nmi, ari, accuracy, wanted, message)
