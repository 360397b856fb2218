"""Networks on graphs, from PyTorch Geometric's layers."""

from __future__ import annotations

from typing import Any

from twofold.errors import require


def geometric(part: str = "nn") -> Any:
    """A module of PyTorch Geometric: its layers, or another one such as ``nn.inits``.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return require(f"torch_geometric.{part}", extra="graph", purpose="An encoder of graphs")
