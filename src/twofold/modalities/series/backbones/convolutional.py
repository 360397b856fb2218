"""The two convolutional baselines for time series (Wang et al., IJCNN 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KERNELS = (8, 5, 3)


def _layer(inside: int, out: int, kernel: int) -> nn.Sequential:
    # Padded by hand: "same" with an even kernel copies its input anyway, and warns.
    pad = nn.ConstantPad1d(((kernel - 1) // 2, kernel // 2), 0.0)
    return nn.Sequential(pad, nn.Conv1d(inside, out, kernel, bias=False), nn.BatchNorm1d(out))


class ConvNet1d(nn.Module):
    """Three convolutions (kernels 8, 5, 3; widths 2w, 4w, 2w), batch norm, ReLU; mean and maximum over time.

    The "fully convolutional network" of the paper, half as wide, and with the maximum beside its mean.

    Args:
        channels: Numbers a step.
        width: w; 64 in the paper.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        widths = (2 * width, 4 * width, 2 * width)
        sizes = zip((channels, *widths), widths, KERNELS, strict=False)
        self.layers = nn.Sequential(*(nn.Sequential(_layer(*size), nn.ReLU()) for size in sizes))
        self.dim = 4 * width

    def step_features(self, series: Tensor) -> Tensor:
        """Features of the steps (n, t, 2w)."""
        features: Tensor = self.layers(series.transpose(1, 2)).transpose(1, 2)
        return features

    def forward(self, series: Tensor) -> Tensor:
        """Features (n, dim) of series (n, t, channels)."""
        features = self.step_features(series)
        return torch.cat([features.mean(1), features.max(1).values], 1)


class ResidualUnit(nn.Module):
    """Three convolutions beside a skip."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__()
        sizes = zip((inside, out, out), (out, out, out), KERNELS, strict=True)
        self.layers = nn.ModuleList(_layer(*size) for size in sizes)
        self.skip = nn.BatchNorm1d(out) if inside == out else _layer(inside, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inside, t) -> (n, out, t)."""
        y = F.relu(self.layers[1](F.relu(self.layers[0](x))))
        return F.relu(self.layers[2](y) + self.skip(x))


class ResNet1d(nn.Module):
    """Three residual units of three convolutions (widths w, 2w, 2w); mean and maximum over time.

    Args:
        channels: Numbers a step.
        width: w; 64 in the paper.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        sizes = zip((channels, width, 2 * width), (width, 2 * width, 2 * width), strict=True)
        self.units = nn.Sequential(*(ResidualUnit(*size) for size in sizes))
        self.dim = 4 * width

    def step_features(self, series: Tensor) -> Tensor:
        """Features of the steps (n, t, 2w)."""
        features: Tensor = self.units(series.transpose(1, 2)).transpose(1, 2)
        return features

    def forward(self, series: Tensor) -> Tensor:
        """Features (n, dim) of series (n, t, channels)."""
        features = self.step_features(series)
        return torch.cat([features.mean(1), features.max(1).values], 1)
