"""Graphs in array files: our own names, or the sparse matrices that the Amazon and Coauthor sets come in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.array_files import NpzArrays
from twofold.modalities.graph.readers.facts import OneGraph, checked_graph, labels_of, splits_of
from twofold.modalities.shown import listed

_EDGES, _FEATURES, _LABELS = ("edge_index", "edges"), ("x", "features", "attr_matrix"), ("y", "labels", "label")


def from_npz(path: Path) -> OneGraph:
    """One graph of an .npz file.

    Either ``edge_index (2, e)`` with ``x``, ``y``, ``edge_weight`` and ``train_mask``, ``val_mask``, ``test_mask``
    where there are such; or a sparse matrix in the pieces ``adj_data``, ``adj_indices``, ``adj_indptr``, ``adj_shape``
    with ``attr_...`` likewise, and ``labels``, as gnn-benchmark's files have it (Shchur et al., 2018).
    """
    arrays, where = NpzArrays(path), str(path)
    notes: list[str] = []
    if "adj_indptr" in arrays:
        rows, columns, count = _pieces(arrays, "adj", where)
        edges: Any = np.stack([rows, columns])
        x = _sparse_features(arrays, where) if "attr_indptr" in arrays else _first(arrays, _FEATURES)
    else:
        edges, x, count = _first(arrays, _EDGES), _first(arrays, _FEATURES), None
    if edges is None:
        raise DataError(f"{where} holds no edges under a name that is known (edge_index); it holds: {listed(arrays)}")
    graph = checked_graph(x, edges, _first(arrays, ("edge_weight",)), nodes=count, where=where)
    labels, names = labels_of(_first(arrays, _LABELS), graph.nodes, where, notes)
    masks = {part: arrays[f"{part}_mask"] for part in ("train", "val", "test") if f"{part}_mask" in arrays}
    splits = splits_of(masks, graph.nodes, where)
    return OneGraph(graph, where, labels, names, [str(i) for i in range(graph.nodes)], splits, notes)


def _first(arrays: NpzArrays, names: tuple[str, ...]) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _pieces(arrays: NpzArrays, prefix: str, where: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Row and column of each entry of a matrix in compressed rows, and how many rows there are."""
    missing = [f"{prefix}_{part}" for part in ("indices", "indptr") if f"{prefix}_{part}" not in arrays]
    if missing:
        raise DataError(f"{where} holds a sparse matrix without {listed(missing)}")
    columns, starts = arrays[f"{prefix}_indices"], arrays[f"{prefix}_indptr"]
    whole = all(array.ndim == 1 and array.dtype.kind in "ui" for array in (columns, starts))
    whole_starts = starts.astype(np.int64) if whole else np.zeros(1, np.int64)
    lengths = whole_starts[1:] - whole_starts[:-1]
    rising = whole and len(starts) > 0 and bool((lengths >= 0).all())
    if not rising or starts[0] != 0 or starts[-1] != len(columns):
        raise DataError(f"{where}: {prefix}_indptr does not fit {prefix}_indices; the matrix is damaged")
    count = len(starts) - 1
    return np.repeat(np.arange(count), lengths), columns.astype(np.int64), count


def _sparse_features(arrays: NpzArrays, where: str) -> np.ndarray:
    rows, columns, count = _pieces(arrays, "attr", where)
    shape = arrays["attr_shape"] if "attr_shape" in arrays else np.array([count, columns.max(initial=-1) + 1])
    values = arrays["attr_data"] if "attr_data" in arrays else np.ones(len(columns), np.float32)
    if (
        shape.shape != (2,)
        or int(shape[0]) != count
        or values.shape != columns.shape
        or values.dtype.kind not in "buif"
    ):
        raise DataError(f"{where}: attr_shape or attr_data does not fit attr_indices; the matrix is damaged")
    width = int(shape[1])
    if len(columns) and not 0 <= int(columns.min()) <= int(columns.max()) < width:
        raise DataError(f"{where}: attr_indices name columns outside of the {width} that attr_shape gives")
    check_memory(4 * count * width, f"{where}: features ({count}, {width})")
    dense = np.zeros((count, width), np.float32)
    dense[rows, columns] = values
    return dense
