"""What the tiled functions share: full precision, one derivative only, and gradients that are formed early."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Backward = TypeVar("Backward", bound=Callable[..., Any])


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """No autocast on the device of ``like``."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def tiled_backward(backward: Backward) -> Backward:
    """Recompute the tiles as the forward pass did, also where ``loss.backward()`` is called under autocast."""

    @wraps(backward)
    def in_full_precision(ctx: Any, *grads: Tensor) -> Any:
        with full_precision(grads[0]):
            return backward(ctx, *grads)

    return cast(Backward, once_differentiable(in_full_precision))


def times(gradients: Iterable[Tensor | None], factor: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients that a forward pass has formed and saved, times what the backward pass received for its 0-d value.

    In place, so that no others are held beside them, unless the graph is kept for another backward pass.
    """
    multiply = Tensor.mul if _graph_is_kept() else Tensor.mul_
    return tuple(None if gradient is None else multiply(gradient, factor) for gradient in gradients)


def _graph_is_kept() -> bool:
    """Whether the backward pass that calls this retains its graph, as far as torch tells."""
    asked = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)  # not public: it may go away
    return True if asked is None else bool(asked())
