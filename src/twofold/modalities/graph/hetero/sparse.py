"""Propagation along meta-paths as one sparse product, with a backward pass that needs no transposed copy."""

from __future__ import annotations

import torch
from torch import Tensor

from twofold.modalities.graph.hetero.batches import MetaPath
from twofold.nn.sparse import compressed, product


def normalized(path: MetaPath) -> Tensor:
    """D^−1/2 A D^−1/2 of a meta-path's pairs, each counting once, as a sparse matrix ``(n, n)``. Symmetric."""
    degree = path.starts.diff().float().clamp(min=1).rsqrt()
    weight = degree[path.owners] * degree[path.partners]
    return compressed(path.starts, path.partners, weight, (path.nodes, path.nodes))


def propagate(matrix: Tensor, rows: Tensor) -> Tensor:
    """``matrix @ rows`` in at least float32, for a symmetric sparse ``matrix`` without gradient: ``(n, d)``."""
    return product(matrix, rows if rows.dtype == torch.float64 else rows.float())
