"""Where samples stand on the map, and what lies nearest to them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from twofold.errors import DataError

MAP_LIMIT = 1500  # samples on a map: t-SNE stays at some seconds and the page below 3 MB
PCA_BELOW = 30  # fewer samples than this have no neighbourhoods that t-SNE could keep
PCA_FIRST = 50  # dimensions that t-SNE gets to see (van der Maaten & Hinton, JMLR 2008, section 4.2)
PERPLEXITY = 30.0
STEPS = 500  # half of scikit-learn's default: a start from principal components settles sooner


def choose_items(count: int, seed: int, limit: int = MAP_LIMIT) -> NDArray[np.int64]:
    """Which of ``count`` samples go on the map: all of them, or ``limit`` drawn without replacement, in order."""
    if count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, size=limit, replace=False))


def choose_queries(count: int, seed: int, labels: ArrayLike | None = None, queries: int = 12) -> NDArray[np.int64]:
    """Query samples in random order, taking the classes in turn where there are labels (-1 = none, used last)."""
    order = np.random.default_rng(seed).permutation(count)
    if labels is not None:
        classes = np.asarray(labels).reshape(-1)[order]
        turn = np.zeros(count, dtype=np.int64)
        for label in np.unique(classes):
            rows = np.flatnonzero(classes == label)
            turn[rows] = np.arange(len(rows)) + (count if label < 0 else 0)
        order = order[np.lexsort((classes, turn))]
    return order[:queries]


def layout(embeddings: Tensor | NDArray, seed: int) -> NDArray[np.float64]:
    """Map coordinates ``(n, 2)`` of embeddings ``(n, d)``.

    t-SNE (van der Maaten & Hinton, JMLR 2008) of the normalised vectors, started from their principal components, on
    one thread, so that the same vectors and seed give the same map. Below 30 samples, and for vectors that are all
    alike, the two leading principal components.

    Raises:
        DataError: For more than 1500 samples (see :func:`choose_items`) or values that are not finite.
    """
    vectors = _unit(embeddings)
    if len(vectors) > MAP_LIMIT:
        raise DataError(
            f"The map takes at most {MAP_LIMIT} samples, not {len(vectors)}; choose some with choose_items."
        )
    reduced = _principal_components(vectors, PCA_FIRST)
    flat = np.zeros((len(vectors), 2))
    flat[:, : min(2, reduced.shape[1])] = reduced[:, :2]
    if len(vectors) < PCA_BELOW or reduced.shape[1] < 2 or float(reduced.std(axis=0).max()) < 1e-6:
        return flat
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    with threadpool_limits(limits=1):
        placed = TSNE(2, init="pca", perplexity=perplexity, max_iter=STEPS, random_state=seed).fit_transform(reduced)
    return np.asarray(placed, dtype=np.float64)


def neighbours(
    embeddings: Tensor | NDArray, queries: ArrayLike, k: int = 8
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The ``k`` nearest samples of each query by cosine similarity, best first, the query itself left out.

    Args:
        embeddings: ``(n, d)``.
        queries: Row numbers, ``(q,)``.
        k: How many; fewer if there are not that many others.

    Returns:
        Row numbers and similarities, both ``(q, min(k, n - 1))``. Of equally similar rows the earlier comes first.
    """
    vectors = _unit(embeddings)
    rows = np.asarray(queries, dtype=np.int64).reshape(-1)
    similarity = vectors[rows] @ vectors.T
    similarity[np.arange(len(rows)), rows] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")[:, : min(k, max(len(vectors) - 1, 0))]
    return order, np.take_along_axis(similarity, order, axis=1).clip(-1.0, 1.0)


def _unit(embeddings: Tensor | NDArray) -> NDArray[np.float64]:
    if isinstance(embeddings, Tensor):
        embeddings = embeddings.detach().to("cpu", torch.float64).numpy()
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2:
        raise DataError(f"Embeddings must have the shape (n, d), not {vectors.shape}.")
    broken = int((~np.isfinite(vectors)).any(axis=1).sum())
    if broken:
        raise DataError(
            f"{broken} of {len(vectors)} embeddings hold values that are not finite; there is no map of them."
        )
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)


def _principal_components(vectors: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    if not vectors.size:
        return np.zeros((len(vectors), 0))
    u, s, vt = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    # A singular vector's sign is arbitrary: the largest loading is made positive, so that platforms agree.
    signs = np.sign(vt[np.arange(len(vt)), np.abs(vt).argmax(axis=1)])
    return (u * s * np.where(signs == 0, 1.0, signs))[:, :most]
