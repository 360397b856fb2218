"""Propagation along meta-paths as one sparse product, with a backward pass that needs no transposed copy."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twofold.modalities.graph.hetero.batches import MetaPath


def normalized(path: MetaPath) -> Tensor:
    """D^−1/2 A D^−1/2 of a meta-path's pairs, each counting once, as a sparse matrix ``(n, n)``. Symmetric."""
    degree = path.starts.diff().float().clamp(min=1).rsqrt()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")  # torch calls the format young
        return torch.sparse_csr_tensor(
            path.starts,
            path.partners,
            degree[path.owners] * degree[path.partners],
            (path.nodes, path.nodes),
            check_invariants=False,
        )


def propagate(matrix: Tensor, rows: Tensor) -> Tensor:
    """``matrix @ rows`` in at least float32, for a symmetric sparse ``matrix`` without gradient: ``(n, d)``."""
    result: Tensor = _Symmetric.apply(matrix, rows if rows.dtype == torch.float64 else rows.float())
    return result


class _Symmetric(torch.autograd.Function):
    # torch transposes the matrix anew in each backward pass, which takes thirty times as long as the product.

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, rows: Tensor) -> Tensor:
        ctx.matrix = matrix
        return _product(matrix, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Any) -> tuple[None, Tensor]:
        return None, _product(ctx.matrix, grads[0])


def _product(matrix: Tensor, rows: Tensor) -> Tensor:
    with torch.autocast(rows.device.type, enabled=False):
        return matrix.to(rows.dtype) @ rows.contiguous()
