"""Convolutions, then a transformer over the steps: the inertial encoder of CMC-CMKM (Brinzea et al., IJCNN 2022)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.nn.attention import EncoderLayer

HEAD_WIDTH = 16
KERNEL = 5


class ConvTransformer(nn.Module):
    """Three convolutions (widths w/4, w/2, w; the last two halve the steps), transformer blocks; the tokens' mean.

    The published encoder has 32, 64, 128 channels, kernels of 5 and two blocks, for windows of 50 steps, and keeps all
    steps. Halving them costs little there and saves most of the time on longer ones.

    Args:
        channels: Numbers a step.
        width: w, of the tokens; a multiple of 16.
        depth: Transformer blocks.
    """

    def __init__(self, channels: int, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        if width % HEAD_WIDTH:
            raise ConfigError(f"the width of a transformer must be a multiple of {HEAD_WIDTH}, not {width}")
        widths = (width // 4, width // 2, width)
        sizes = zip((channels, *widths), widths, (1, 2, 2), strict=False)
        self.stem = nn.Sequential(*(layer for size in sizes for layer in _layer(*size)))
        self.blocks = nn.ModuleList(
            EncoderLayer(
                width,
                width // HEAD_WIDTH,
                dim_feedforward=2 * width,
                dropout=0.1,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.dim = width

    def tokens(self, series: Tensor) -> Tensor:
        """Tokens (n, about t / 4, width) after the last norm."""
        tokens = self.stem(series.transpose(1, 2)).transpose(1, 2)
        tokens = tokens + positions(tokens.shape[1], tokens.shape[2]).to(tokens)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed

    def forward(self, series: Tensor) -> Tensor:
        """Features (n, dim) of series (n, t, channels)."""
        return self.tokens(series).mean(1)


def _layer(inside: int, out: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv1d(inside, out, KERNEL, stride, KERNEL // 2, bias=False), nn.BatchNorm1d(out), nn.ReLU()


def positions(count: int, width: int) -> Tensor:
    """Sines and cosines of the places 0 to count - 1, (count, width) (Vaswani et al., NeurIPS 2017)."""
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(count)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], 1)
