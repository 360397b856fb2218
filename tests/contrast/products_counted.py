"""Counts the multiplications of matrix products: what the tiled reductions cost, without a clock."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode


class Products(TorchDispatchMode):
    """Within it, ``multiplications`` grows by n · k · m for each product of (n, k) and (k, m); ``calls`` by 1."""

    calls = 0
    multiplications = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in ("mm", "addmm", "addmm_"):
            left, right = args[-2:]
            self.calls += 1
            self.multiplications += left.shape[0] * left.shape[1] * right.shape[1]
        return func(*args, **(kwargs or {}))
