"""Constant sparse matrices in compressed rows, and products with them whose backward pass transposes nothing.

torch's own backward pass of a sparse product makes the transposed matrix anew each time, which takes several times as
long as the product. Who multiplies here hands both in, or says that the matrix is symmetric.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_MOST_INT32 = 2**31 - 1


def compressed(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A sparse CSR matrix; its indices are int32 where they fit, which is half of what a product reads of them.

    Args:
        starts: Integers ``(rows + 1,)``: the entries of row i are those from ``starts[i]`` up to ``starts[i + 1]``.
        columns: Integers ``(entries,)``, the column of each entry, in any order within a row.
        values: Float ``(entries,)``.
        shape: ``(rows, columns)``.
    """
    if max(len(columns), *shape) <= _MOST_INT32:
        starts, columns = starts.int(), columns.int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Sparse.*")  # torch says once that this layout is in beta
        return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


def transposed(matrix: Tensor) -> Tensor:
    """The transpose of a CSR matrix, in compressed rows too; entries of a row come in the order of their columns."""
    rows, columns = matrix.shape
    column = matrix.col_indices().long()
    order = column.argsort(stable=True)
    counts = column.bincount(minlength=columns)
    owners = torch.arange(rows, device=column.device).repeat_interleave(
        matrix.crow_indices().long().diff(), output_size=len(column)
    )
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return compressed(starts, owners[order], matrix.values()[order], (columns, rows))


def product(matrix: Tensor, rows: Tensor, transpose: Tensor | None = None) -> Tensor:
    """``matrix @ rows``, differentiable in ``rows`` only; also under autocast in the precision of ``rows``.

    Args:
        matrix: Sparse CSR ``(n, m)``, without gradient.
        rows: ``(m, d)``.
        transpose: The matrix's transpose, for the backward pass; None: the matrix is symmetric.
    """
    result: Tensor = _Product.apply(matrix, matrix if transpose is None else transpose, rows)
    return result


def plain_product(matrix: Tensor, rows: Tensor) -> Tensor:
    """``matrix @ rows`` without gradients.

    On CPUs in float32 it is computed as sums of embeddings: the same numbers in the same order, and torch is faster at
    them.
    """
    with torch.autocast(rows.device.type, enabled=False):  # sparse products know no bfloat16
        values = matrix.values()
        if rows.device.type != "cpu" or rows.dtype != torch.float32 or rows.shape[1] == 0:
            return matrix.to(rows.dtype) @ rows.contiguous()
        return F.embedding_bag(
            matrix.col_indices(),
            rows.contiguous(),
            matrix.crow_indices(),
            mode="sum",
            per_sample_weights=values.to(rows.dtype),
            include_last_offset=True,
        )


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, transpose: Tensor, rows: Tensor) -> Tensor:
        ctx.transpose = transpose
        return plain_product(matrix, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None, Tensor]:
        return None, None, plain_product(ctx.transpose, grads[0])
