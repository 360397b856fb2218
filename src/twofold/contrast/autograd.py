"""What the tiled functions share: backward passes in full precision, and one derivative only."""

from __future__ import annotations

from collections.abc import Callable
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
