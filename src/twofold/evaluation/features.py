"""What the evaluation is given: vectors, one row an item, with labels or keys where there are such."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.errors import DataError

UNLABELLED = -1
"""The label of an item that has none."""


@dataclass(frozen=True, eq=False)
class Features:
    """Embeddings of one set of items.

    Args:
        x: Vectors (n, d), any floating type; kept without gradient.
        labels: Classes, int64 (n,), -1 where an item has none; None if no item has one.
        keys: One hashable a row: rows of the same key show the same thing (the same emoji of two vendors, two views of
            one object) and should find each other.

    Raises:
        DataError: If the shapes or lengths do not fit; all faults in one message.
    """

    x: Tensor
    labels: Tensor | None = None
    keys: Sequence[Hashable] | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or not self.x.is_floating_point():
            raise DataError(
                f"features must be a floating-point matrix (items, dimensions); got {self.x.dtype} of shape "
                f"{tuple(self.x.shape)}"
            )
        problems = []
        if self.labels is not None and (self.labels.ndim != 1 or self.labels.is_floating_point()):
            problems.append(
                f"labels must be whole numbers of shape (items,); got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        for name, column in (("labels", self.labels), ("keys", self.keys)):
            if column is not None and len(column) != len(self.x):
                problems.append(
                    f"{len(column)} {name} for {len(self.x)} rows of features; give one a row, in the same order"
                )
        if problems:
            raise DataError("; ".join(problems))
        object.__setattr__(self, "x", self.x.detach())

    def __len__(self) -> int:
        return len(self.x)

    @property
    def finite(self) -> Tensor:
        """Which rows hold neither NaN nor infinity, bool (n,)."""
        return finite_rows(self.x)

    @property
    def labelled(self) -> Tensor:
        """Which rows have a label, bool (n,)."""
        if self.labels is None:
            return torch.zeros(len(self.x), dtype=torch.bool, device=self.x.device)
        return (self.labels >= 0).to(self.x.device)

    def known_labels(self) -> Tensor:
        """Labels of the rows that have one, in order, on the CPU; int64 (at most n,)."""
        return torch.empty(0, dtype=torch.int64) if self.labels is None else self.labels[self.labels >= 0].cpu()

    def take(self, index: Tensor) -> Features:
        """The rows at `index` (int64 positions), in that order."""
        labels = None if self.labels is None else self.labels[index.to(self.labels.device)]
        keys = None if self.keys is None else [self.keys[i] for i in index.tolist()]
        return Features(self.x[index.to(self.x.device)], labels, keys)


def at_least_float32(x: Tensor) -> Tensor:
    """`x` without gradient; half precisions raised to float32, as cosines in them tie by rounding."""
    return x.detach() if x.dtype == torch.float64 else x.detach().float()


def unit_rows(x: Tensor) -> Tensor:
    """Rows of `x` (n, d) divided by their L2 norm; a row of zeros stays zero."""
    return F.normalize(at_least_float32(x), dim=1)


def finite_rows(x: Tensor) -> Tensor:
    """Which rows of `x` (n, d) hold neither NaN nor infinity, bool (n,); by parts, as the test copies its input."""
    return torch.cat([part.isfinite().all(dim=1) for part in x.split(4096)])


def to_numpy(x: Tensor) -> np.ndarray:
    """`x` on the CPU as a numpy array, at least float32 when it is floating-point."""
    return (at_least_float32(x) if x.is_floating_point() else x.detach()).cpu().numpy()


def check_pair(features: Tensor, labels: Tensor, name: str) -> None:
    """Refuse `features` and `labels` of unlike lengths, and non-finite features; `name` says whose they are.

    Raises:
        DataError: With the number of rows at fault and where the first of them are.
    """
    if len(features) != len(labels):
        raise DataError(f"{name}: {len(features)} rows of features but {len(labels)} labels")
    if len(features) == 0:
        raise DataError(f"{name}: no rows; at least one is needed")
    bad = (~finite_rows(features)).nonzero().flatten()
    if len(bad):
        raise DataError(f"{name}: {rows_at(bad)} NaN or infinite; leave them out or find out why the encoder made them")


def rows_at(index: Tensor, shown: int = 5) -> str:
    """`"3 rows (12, 40, 77) are"`: how many and where, for a message."""
    places = ", ".join(str(i) for i in index[:shown].tolist()) + (", ..." if len(index) > shown else "")
    return f"{len(index)} row{'s' if len(index) > 1 else ''} ({places}) {'are' if len(index) > 1 else 'is'}"
