"""Layers that work on each point by itself."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class PointwiseLayer(nn.Module):
    """Linear, batch norm over all points of all clouds, and an activation: (..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, outputs: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs)
        self.activation = activation

    def forward(self, values: Tensor) -> Tensor:
        rows = self.norm(self.linear(values).flatten(0, -2))
        return self.activation(rows).view(*values.shape[:-1], -1)


def pointwise(*widths: int) -> nn.Sequential:
    """A shared network with layers of these widths, each with batch norm and ReLU."""
    return nn.Sequential(*(PointwiseLayer(a, b, nn.ReLU(inplace=True)) for a, b in pairwise(widths)))
