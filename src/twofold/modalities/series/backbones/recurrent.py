"""A recurrent network over the steps, both ways: what skeleton sequences are encoded with (HaLP, AimCLR's GRU)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class BiGRU(nn.Module):
    """Gated recurrent units, both ways; the features are mean and maximum over time of both directions.

    Args:
        channels: Numbers a step; of a skeleton its joints' coordinates.
        width: Of each direction. 1024 and 3 layers in the papers, on data a thousand times larger.
        depth: Layers.
    """

    def __init__(self, channels: int, width: int = 64, depth: int = 1) -> None:
        super().__init__()
        self.units = nn.GRU(channels, width, depth, batch_first=True, bidirectional=True)
        self.dim = 4 * width

    def step_features(self, series: Tensor) -> Tensor:
        """Features of the steps (n, t, 2 width)."""
        features: Tensor = self.units(series)[0]
        return features

    def forward(self, series: Tensor) -> Tensor:
        """Features (n, dim) of series (n, t, channels)."""
        features = self.step_features(series)
        return torch.cat([features.mean(1), features.max(1).values], 1)
