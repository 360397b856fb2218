"""Small valid files of graphs, and what must hold of those that were read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch

EDGES = np.array([[0, 1, 2, 3], [1, 2, 3, 0]])


def read_graphs(source: Path) -> None:
    """Read a graph, or several, and everything in them."""
    from twofold.modalities.graph import MODALITY

    dataset: Any = MODALITY.read(source)
    batch = dataset.fetch(torch.arange(len(dataset)))
    inputs = batch["inputs"]
    assert len(inputs) == len(batch["index"]) == len(dataset) > 0
    assert inputs.finite().all()
    assert inputs.x.shape == (len(inputs.x), dataset.spec["features"])
    assert inputs.graph.edges == 0 or 0 <= int(inputs.edge_index.min()) <= int(inputs.edge_index.max()) < len(inputs.x)
    assert MODALITY.describe(dataset)


def graph_npz() -> bytes:
    """Four nodes in a ring."""
    file = io.BytesIO()
    part = np.arange(4)
    masks = {"train_mask": part == 0, "val_mask": part == 1, "test_mask": part > 1}
    np.savez_compressed(file, x=np.eye(4, 3, dtype=np.float32), edge_index=EDGES, y=part % 2, **masks)
    return file.getvalue()


def sparse_npz() -> bytes:
    """The same ring in compressed rows."""
    file = io.BytesIO()
    parts = {"data": np.ones(4), "indices": EDGES[1], "indptr": np.arange(5), "shape": np.array([4, 4])}
    matrices = {f"{name}_{part}": value for name in ("adj", "attr") for part, value in parts.items()}
    np.savez_compressed(file, labels=np.arange(4) % 2, **matrices)
    return file.getvalue()


def graph_tables() -> dict[str, bytes]:
    """The same ring as tables."""
    edges = "source,target,weight\n" + "".join(f"n{a},n{b},1.5\n" for a, b in EDGES.T.tolist())
    nodes = "id,label,split,f1,f2\n" + "".join(f"n{i},{i % 2},{'train' if i else 'test'},{i},2.5\n" for i in range(4))
    return {"edges.csv": edges.encode(), "nodes.csv": nodes.encode()}


def graph_text() -> bytes:
    """Two graphs, one of three nodes and one of two."""
    return b"2\n3 1\n0 1 1\n2 2 0 2\n0 1 1\n2 0\n2 1 1\n0 1 0\n"
