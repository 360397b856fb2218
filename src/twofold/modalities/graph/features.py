"""Features of nodes, of which views hide columns or exchange rows, without a copy of them all for each view."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from twofold.nn.sparse import compressed, product, transposed

MOST_DENSITY = 0.05
"""Up to this share of entries that are not 0 a product by entries is faster on a CPU than one of dense matrices."""
LEAST_ENTRIES = 2**16
"""Below so many entries, zeros counted, it is not worth looking."""


@dataclass(frozen=True)
class _Sparse:
    matrix: Tensor
    transpose: Tensor


@dataclass(frozen=True, eq=False)
class Features:
    """Float ``(N, f)``, perhaps with columns at 0 and rows in another order; the tensors are never changed in place.

    Args:
        values: ``(N, f)`` as they were read.
        hidden: Columns that are 0, bool ``(f,)``; None: none.
        order: int64 ``(N,)``, which row of ``values`` stands where; None: each in its place.
    """

    values: Tensor
    hidden: Tensor | None = None
    order: Tensor | None = None
    _facts: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> torch.Size:
        """(N, f)."""
        return self.values.shape

    @cached_property
    def dense(self) -> Tensor:
        """As one tensor."""
        rows = self.values if self.order is None else self.values[self.order]
        return rows if self.hidden is None else rows.masked_fill(self.hidden, 0.0)

    def hiding(self, columns: Tensor) -> Features:
        """The same with more columns at 0: bool ``(f,)``."""
        hidden = columns if self.hidden is None else self.hidden | columns
        return Features(self.values, hidden, self.order, self._facts)

    def reordered(self, order: Tensor) -> Features:
        """The same with row ``order[i]`` in place i: int64 ``(N,)``."""
        return Features(self.values, self.hidden, order if self.order is None else self.order[order], self._facts)

    def to(self, device: torch.device, non_blocking: bool = False) -> Features:
        """The same on a device."""
        hidden = None if self.hidden is None else self.hidden.to(device, non_blocking=non_blocking)
        order = None if self.order is None else self.order.to(device, non_blocking=non_blocking)
        return Features(self.values.to(device, non_blocking=non_blocking), hidden, order)

    @property
    def are_sparse(self) -> bool:
        """Whether so few are not 0 that :meth:`times` goes entry by entry."""
        return self._sparse is not None

    def times(self, weight: Tensor) -> Tensor:
        """``dense @ weight``, ``(N, d)`` in float32; differentiable in ``weight`` ``(f, d)``.

        Where most entries are 0 only the others are multiplied, and a hidden column is a row of ``weight`` left out.
        """
        sparse = self._sparse
        if sparse is None:
            return self.dense.to(weight.dtype) @ weight
        if self.hidden is not None:
            weight = weight.masked_fill(self.hidden[:, None], 0.0)
        rows = product(sparse.matrix, weight, sparse.transpose)
        return rows if self.order is None else rows.index_select(0, self.order)

    @property
    def _sparse(self) -> _Sparse | None:
        """The values in compressed rows, or None if that does not pay; decided once for all views of the same values.

        On GPUs it does not: their dense products are too fast, and to count the zeros the host would have to wait.
        """
        if "sparse" not in self._facts:
            with torch.inference_mode(False), torch.no_grad():
                self._facts["sparse"] = _compressed(self.values)
        sparse: _Sparse | None = self._facts["sparse"]
        return sparse


def _compressed(values: Tensor) -> _Sparse | None:
    if values.device.type != "cpu" or values.numel() < LEAST_ENTRIES:
        return None
    if int(values.count_nonzero()) > MOST_DENSITY * values.numel():
        return None
    rows, columns = values.nonzero().T
    counts = rows.bincount(minlength=len(values))
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    matrix = compressed(starts, columns, values[rows, columns].float(), (values.shape[0], values.shape[1]))
    return _Sparse(matrix, transposed(matrix))
