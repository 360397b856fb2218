"""A small folder with a heterogeneous graph, and what must hold of one that was read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch


def read_hetero(source: Path) -> None:
    """Read a heterogeneous graph and everything in it."""
    from twofold.modalities.graph import MODALITY

    dataset: Any = MODALITY.read(source, level="hetero")
    batch = dataset.fetch(torch.arange(len(dataset)))
    inputs = batch["inputs"]
    assert len(inputs) == len(batch["index"]) == len(dataset) > 0
    assert inputs.finite().all()
    graph = inputs.graph
    for (first, second), edges in graph.links.items():
        assert edges.numel() == 0 or int(edges[0].max()) < graph.counts[first]
        assert edges.numel() == 0 or int(edges[1].max()) < graph.counts[second]
    assert all(path.nodes == len(dataset) for path in graph.paths.values())
    assert MODALITY.describe(dataset)


def hetero_folder() -> dict[str, bytes]:
    """Four papers with authors, one matrix that the links do not give, and a split."""
    from scipy import sparse

    def saved(array: np.ndarray) -> bytes:
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()

    def packed(array: np.ndarray) -> bytes:
        file = io.BytesIO()
        sparse.save_npz(file, sparse.coo_matrix(array))
        return file.getvalue()

    return {
        "labels.npy": saved(np.array([0, 1, 0, 1])),
        "p_feat.npz": packed(np.eye(4, 3, dtype=np.float32)),
        "pa.txt": b"0 0\n1 1\n2 0\n3 2\n",
        "pxp.npz": packed(np.eye(4)[::-1].copy()),
        "train_1.npy": saved(np.array([0, 1])),
        "val_1.npy": saved(np.array([2])),
        "test_1.npy": saved(np.array([3])),
    }
