"""Networks on clips: convolutions over space and time, and over single frames."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

Convolution = Callable[..., nn.Module]
"""``convolution(inputs, outputs, stride, middle)``: a 3 × 3 × 3 kernel, whole or factorized."""


class ResidualBlock(nn.Module):
    """Two convolutions, each with batch norm, and a shortcut (He et al., CVPR 2016), over space and time."""

    def __init__(self, convolution: Convolution, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = inputs * outputs * 27 // (inputs * 9 + 3 * outputs)
        self.layers = nn.Sequential(
            convolution(inputs, outputs, stride, middle),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
            convolution(outputs, outputs, 1, middle),
            nn.BatchNorm3d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm3d(outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.layers(maps) + self.shortcut(maps))


class ResNet3D(nn.Module):
    """Residual network on clips ``(n, c, t, s, s)``: a stem, then four stages that double width, halve space and time.

    Width 64 and depth 2 are R3D-18 and R(2+1)D-18 (Tran et al., CVPR 2018), layer by layer. The stem halves space only.
    The feature is the mean over space and time, so clips of any length and size will do.

    Args:
        channels: Of a frame.
        width: Channels of the first stage.
        depth: Blocks a stage.
        factorized: R(2+1)D: each kernel is one over space followed by one over time, with batch norm and ReLU between
            them and as many channels there as keep the number of parameters.
    """

    def __init__(self, channels: int, width: int = 32, depth: int = 1, *, factorized: bool = False) -> None:
        super().__init__()
        convolution = _factorized if factorized else _whole
        self.dim = 8 * width
        self.stem = _factorized_stem(channels, width) if factorized else _stem(channels, width)
        blocks: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            for number in range(depth):
                stride = 2 if stage > 0 and number == 0 else 1
                blocks.append(ResidualBlock(convolution, inputs, width << stage, stride))
                inputs = width << stage
        self.blocks = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, clips: Tensor) -> Tensor:
        """Features ``(n, dim)``."""
        maps: Tensor = self.blocks(self.stem(clips))
        return maps.mean((2, 3, 4))


class FramesConvNet(nn.Module):
    """Four strided convolutions (w, 2w, 4w, 8w) with batch norm and ReLU on each frame; the mean over space and time.

    It sees no motion: what the order of frames tells is lost. The baseline to beat for what looks in time.

    Args:
        channels: Of a frame.
        width: Channels of the first convolution.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.dim = 8 * width
        widths = [channels, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, clips: Tensor) -> Tensor:
        """Features ``(n, dim)`` of clips ``(n, c, t, s, s)``."""
        n, _, t = clips.shape[:3]
        maps: Tensor = self.layers(clips.transpose(1, 2).flatten(0, 1))
        return maps.mean((2, 3)).unflatten(0, (n, t)).mean(1)


def _whole(inputs: int, outputs: int, stride: int, middle: int) -> nn.Module:
    return nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


def _factorized(inputs: int, outputs: int, stride: int, middle: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(inputs, middle, (1, 3, 3), stride=(1, stride, stride), padding=(0, 1, 1), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, outputs, (3, 1, 1), stride=(stride, 1, 1), padding=(1, 0, 0), bias=False),
    )


def _stem(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )


def _factorized_stem(channels: int, width: int) -> nn.Sequential:
    middle = max(1, 45 * width // 64)  # R(2+1)D-18 has 45 for a width of 64
    return nn.Sequential(
        nn.Conv3d(channels, middle, (1, 7, 7), stride=(1, 2, 2), padding=(0, 3, 3), bias=False),
        nn.BatchNorm3d(middle),
        nn.ReLU(inplace=True),
        nn.Conv3d(middle, width, (3, 1, 1), padding=(1, 0, 0), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
