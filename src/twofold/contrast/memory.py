"""What outlives a batch: a queue of past rows, a bank with one slot a sample, scalars per sample.

Everything is a persistent buffer, so a checkpoint has all of it. Every write gathers over processes, so all processes
hold the same memory. Writes are in place: write after the backward pass, since autograd refuses (with an error) a
backward pass through a memory that has changed since the forward pass.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.contrast.checks import check_rows, raise_precision
from twofold.contrast.gather import gather, rank, world_size


class Queue(nn.Module):
    """The last ``size`` normalised rows, first in, first out; random unit rows until it is filled.

    ``rows`` is ``(size, dim)``. With ``with_index``, ``index`` is int64 ``(size,)``, the sample that each row came
    from, −1 where none was pushed yet: use it to keep a sample's own old row from being its negative.

    Args:
        size: Number of rows; it need not be a multiple of the batch.
        dim: Dimensions of a row.
        with_index: Keep the sample index of each row.
        seed: Of the random rows at the start; the same on all processes.

    Raises:
        ValueError: If ``size`` or ``dim`` is below 1.

    Source: He et al., CVPR 2020, §3.2 (MoCo).
    """

    rows: Tensor
    index: Tensor | None
    pushed: Tensor

    def __init__(self, size: int, dim: int, *, with_index: bool = False, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("rows", _random_unit_rows(size, dim, seed))
        self.register_buffer("index", torch.full((size,), -1) if with_index else None)
        self.register_buffer("pushed", torch.zeros((), dtype=torch.int64))  # rows so far; the pointer is its remainder

    @property
    def filled(self) -> int:
        """How many rows are real ones; the others are still random. They are the first ``filled`` of ``rows``."""
        return min(int(self.pushed), len(self.rows))

    def share(self) -> Tensor:
        """This process's part of the rows, of equal size on all; all of them in one process.

        For use with what gathers over processes itself, such as :func:`twofold.contrast.prototypes.sinkhorn`.
        """
        even = len(self.rows) // world_size() * world_size()
        return self.rows[:even][rank() :: world_size()]

    @torch.no_grad()
    def push(self, rows: Tensor, index: Tensor | None = None) -> None:
        """Replace the oldest rows by these of all processes; of more than ``size`` the last ones stay.

        Args:
            rows: ``(n, dim)``, normalised here; the same n on all processes.
            index: int64 ``(n,)``, the rows' samples; exactly if the queue was made with ``with_index``.

        Raises:
            TypeError: If ``rows`` is no floating tensor.
            ValueError: If a shape is wrong, or ``index`` is missing or not wanted.
        """
        _check_new_rows(rows, dim=self.rows.shape[1])
        if (index is None) != (self.index is None):
            raise ValueError("Give push() an index exactly if the queue was made with with_index=True.")
        if index is not None:
            _check_index(index, rows=len(rows))
        size, rows = len(self.rows), gather(_unit(rows, self.rows.dtype))
        positions = (self.pushed + torch.arange(len(rows), device=rows.device))[-size:] % size
        self.rows[positions] = rows[-size:]
        if index is not None and self.index is not None:
            self.index[positions] = gather(index)[-size:]
        self.pushed += len(rows)


class Bank(nn.Module):
    """One normalised row for every sample of the data set, written with momentum; random unit rows at the start.

    ``rows`` is ``(samples, dim)``.

    Args:
        samples: Number of samples; an index runs from 0 to samples − 1.
        dim: Dimensions of a row.
        momentum: The share of the old row in the new one, 0 to 1, before it is normalised again; InstDisc's 0.5.
        seed: Of the random rows at the start; the same on all processes.

    Raises:
        ValueError: If ``samples`` or ``dim`` is below 1, or ``momentum`` outside 0 to 1.

    Source: Wu et al., CVPR 2018 (instance discrimination).
    """

    rows: Tensor

    def __init__(self, samples: int, dim: int, *, momentum: float = 0.5, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie between 0 and 1, got {momentum!r}.")
        self.momentum = momentum
        self.register_buffer("rows", _random_unit_rows(samples, dim, seed))

    def read(self, index: Tensor) -> Tensor:
        """The rows ``(n, dim)`` of the samples ``index``, int64 ``(n,)``; a copy, without gradient."""
        _check_index(index, slots=len(self.rows))
        return self.rows[index]

    @torch.no_grad()
    def write(self, index: Tensor, rows: Tensor) -> None:
        """Move the slots of these samples, of all processes, towards ``rows``; of a repeated sample the last counts.

        Args:
            index: int64 ``(n,)``; the same n on all processes.
            rows: ``(n, dim)``, normalised here.

        Raises:
            TypeError: If ``rows`` is no floating tensor, or ``index`` not int64.
            ValueError: If a shape is wrong.
            IndexError: If an index has no slot.
        """
        _check_new_rows(rows, dim=self.rows.shape[1])
        _check_index(index, slots=len(self.rows), rows=len(rows))
        index, rows = gather(index), gather(_unit(rows, self.rows.dtype))
        last = _last_occurrences(index)
        index, rows = index[last], rows[last]
        self.rows[index] = F.normalize(rows.lerp(self.rows[index], self.momentum), dim=-1)


class PerSampleState(nn.Module):
    """Named numbers for every sample of the data set, such as a moving denominator or a temperature of its own.

    Each field is a float32 buffer ``(samples,)`` under its name.

    Args:
        samples: Number of samples; an index runs from 0 to samples − 1.
        fields: Name and initial value of each field.

    Raises:
        ValueError: If ``samples`` is below 1, there is no field, or a module has an attribute of a field's name.
    """

    def __init__(self, samples: int, /, **fields: float) -> None:
        super().__init__()
        if samples < 1 or not fields:
            raise ValueError(f"Need at least one sample and one field, got {samples} sample(s), fields {list(fields)}.")
        self.samples = samples
        for name, initial in fields.items():
            if hasattr(self, name):
                raise ValueError(f"A field cannot be called {name!r}: the module has an attribute of that name.")
            self.register_buffer(name, torch.full((samples,), float(initial)))

    def read(self, index: Tensor) -> dict[str, Tensor]:
        """Every field's values ``(n,)`` for the samples ``index``, int64 ``(n,)``; copies."""
        _check_index(index, slots=self.samples)
        return {name: buffer[index] for name, buffer in self.named_buffers()}

    @torch.no_grad()
    def write(self, index: Tensor, /, **values: Tensor) -> None:
        """Set fields of these samples, of all processes; of a repeated sample the last counts.

        Args:
            index: int64 ``(n,)``; the same n on all processes.
            values: ``(n,)`` for each field to set; the other fields stay.

        Raises:
            TypeError: If ``index`` is not int64.
            ValueError: If there is no such field, or a shape is wrong.
            IndexError: If an index has no slot.
        """
        fields = dict(self.named_buffers())
        for name, new in values.items():
            if name not in fields:
                raise ValueError(f"There is no field {name!r}; the fields are {', '.join(fields)}.")
            if new.shape != index.shape:
                raise ValueError(f"{name} must be one value per index {tuple(index.shape)}, got {tuple(new.shape)}.")
        _check_index(index, slots=self.samples)
        index = gather(index)
        last = _last_occurrences(index)
        for name, new in values.items():
            fields[name][index[last]] = gather(new.detach().to(fields[name].dtype))[last]


def _random_unit_rows(count: int, dim: int, seed: int) -> Tensor:
    if count < 1 or dim < 1:
        raise ValueError(f"A memory needs at least one row and one dimension, got {count} row(s) of {dim}.")
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


def _unit(rows: Tensor, dtype: torch.dtype) -> Tensor:
    (rows,) = raise_precision(rows.detach())
    return F.normalize(rows, dim=-1).to(dtype)


def _last_occurrences(index: Tensor) -> Tensor:
    """Positions of the last occurrence of each value: writing to repeated positions would have no defined order."""
    values, order = torch.sort(index, stable=True)
    is_last = torch.ones_like(values, dtype=torch.bool)
    is_last[:-1] = values[1:] != values[:-1]
    return order[is_last]


def _check_new_rows(rows: Tensor, *, dim: int) -> None:
    check_rows("rows", rows, minimum=1)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ValueError(f"rows must be (n, {dim}), got shape {tuple(rows.shape)}.")


def _check_index(index: Tensor, *, slots: int | None = None, rows: int | None = None) -> None:
    """Refuse what is no index; on an accelerator its values are not read back, since that would stall the device."""
    if index.dtype != torch.int64:
        raise TypeError(f"index must be int64, got {index.dtype}.")
    if index.ndim != 1 or (rows is not None and len(index) != rows):
        wanted = "n" if rows is None else rows
        raise ValueError(f"index must be ({wanted},), one sample per row, got shape {tuple(index.shape)}.")
    if slots is None or len(index) == 0 or index.device.type != "cpu":
        return
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= slots:
        raise IndexError(f"index must lie between 0 and {slots - 1}, got {low} to {high}.")
