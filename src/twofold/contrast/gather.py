"""The one gather: every process's rows, with the one rule of gradients that makes W processes equal one.

Each process computes its loss over its *local* anchors against *all* candidates and takes the mean over its local
anchors; the gradients of W processes are averaged (as DistributedDataParallel does). For that to equal the full-batch
gradient of one process, the gradient that a process's rows receive must be the sum over all processes' losses: hence
the backward pass reduce-scatters the sum. Other rules give wrong gradients while the loss value looks right.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx


def world_size() -> int:
    """The number of processes that train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number in the group; 0 without one."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(rows: Tensor, *, dim: int = 0) -> Tensor:
    """All processes' rows, concatenated along ``dim`` in the order of their ranks; ``rows`` itself in one process.

    Every process must bring the same shape. Differentiable: the backward pass sums over processes what they ask of
    these rows (see the module's docstring).

    Args:
        rows: Any tensor, the same shape on every process.
        dim: The dimension that counts samples.
    """
    if world_size() == 1:
        return rows
    moved = rows.movedim(dim, 0).contiguous()
    if rows.requires_grad and torch.is_grad_enabled():
        gathered: Tensor = _Gather.apply(moved)
    else:
        gathered = _all_gather(moved)
    return gathered.movedim(0, dim)


def local_rows(count: int, *, device: torch.device | str | None = None) -> Tensor:
    """Where this process's ``count`` rows lie among the gathered ones: int64 ``(count,)``."""
    return torch.arange(count, device=device) + rank() * count


def _all_gather(rows: Tensor) -> Tensor:
    gathered = rows.new_empty((world_size() * rows.shape[0], *rows.shape[1:]))
    collect = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # renamed in torch 2.13
    collect(gathered, rows)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor) -> Tensor:
        return _all_gather(rows)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Any) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)  # gloo has no reduce-scatter for every dtype; a sum and a slice are the same
        return total.chunk(world_size())[rank()]
