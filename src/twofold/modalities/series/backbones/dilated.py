"""Dilated residual convolutions, as TS2Vec has them (Yue et al., AAAI 2022)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

KERNEL = 3


class DilatedBlock(nn.Module):
    """GELU, convolution, GELU, convolution, both with the same dilation, beside a skip."""

    def __init__(self, width: int, out: int, dilation: int, *, projected: bool) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, out, KERNEL, padding="same", dilation=dilation)
        self.second = nn.Conv1d(out, out, KERNEL, padding="same", dilation=dilation)
        self.skip = nn.Conv1d(width, out, 1) if projected else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(n, width, t) -> (n, out, t)."""
        y: Tensor = self.second(F.gelu(self.first(F.gelu(x))))
        return y + self.skip(x)


class DilatedConvNet(nn.Module):
    """A linear layer on each step, ``depth`` dilated blocks and a last one to the output; the maximum over time.

    Block i has dilation 2^i, so ten blocks see far beyond a thousand steps.

    Args:
        channels: Numbers a step.
        width: Of the blocks; 64 in the paper. The features are five times as wide (320).
        depth: Blocks before the last; 10 in the paper.
        dropout: Share of the features of steps that are dropped in training; 0.1 in the paper.
    """

    def __init__(self, channels: int, width: int = 64, depth: int = 10, dropout: float = 0.1) -> None:
        super().__init__()
        self.dim = 5 * width
        self.embed = nn.Linear(channels, width)
        blocks = [DilatedBlock(width, width, 2**i, projected=False) for i in range(depth)]
        self.blocks = nn.Sequential(*blocks, DilatedBlock(width, self.dim, 2**depth, projected=True))
        self.dropout = nn.Dropout(dropout)

    def step_features(self, series: Tensor, keep: Tensor | None = None) -> Tensor:
        """Features of the steps (n, t, dim); those not to be kept, bool (n, t), are hidden after the embedding.

        Hidden there and not in the input, since 0 is an ordinary value of a series (section 3.2 of the paper).
        """
        latent = self.embed(series)
        if keep is not None:
            latent = latent * keep[:, :, None]
        features: Tensor = self.dropout(self.blocks(latent.transpose(1, 2)).transpose(1, 2))
        return features

    def forward(self, series: Tensor) -> Tensor:
        """Features (n, dim) of series (n, t, channels)."""
        return self.step_features(series).max(1).values
