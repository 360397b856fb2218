"""Residual networks (He et al., CVPR 2016), with a stem for small pictures. Parameters are named as torchvision's."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from twofold.nn.convolution import Convolution


class BasicBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, width, stride)
        nn.init.zeros_(self.bn2.weight)  # every block starts as the identity (Goyal et al., 2017, section 5.1)

    def forward(self, maps: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(maps)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (maps if self.downsample is None else self.downsample(maps)))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions and a shortcut; the stride is on the 3×3 ("v1.5", as in torchvision)."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = _convolution(channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _convolution(width, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels, out_channels, stride)
        nn.init.zeros_(self.bn3.weight)  # as in BasicBlock

    def forward(self, maps: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(maps)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (maps if self.downsample is None else self.downsample(maps)))


class ResNet(nn.Module):
    """A residual network without its classifier.

    Args:
        block: `BasicBlock` (ResNet-18, -34) or `Bottleneck` (ResNet-50).
        depths: Blocks in each of the four stages.
        channels: Channels of the pictures.
        width: Channels of the first stage; 64 in the paper.
        small: Stem for small pictures: a 3×3 convolution of stride 1 and no pooling (Chen et al., ICML 2020, B.9),
            instead of a 7×7 convolution of stride 2 and max-pooling.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        channels: int,
        *,
        width: int = 64,
        small: bool = False,
    ) -> None:
        super().__init__()
        self.dim = 8 * width * block.expansion
        self.conv1 = _convolution(channels, width, 3) if small else _convolution(channels, width, 7, 2)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.Identity() if small else nn.MaxPool2d(3, 2, padding=1)
        widths = [width, 2 * width, 4 * width, 8 * width]
        incoming = [width, *(w * block.expansion for w in widths[:-1])]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(block, *shape) for shape in zip(incoming, widths, depths, (1, 2, 2, 2), strict=True)
        )

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps (n, dim, h, w); h = s/8 with the stem for small pictures, s/32 otherwise."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(maps))))

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim): the maps averaged over all places."""
        return self.maps(images).mean((2, 3))


def _stage(
    block: type[BasicBlock] | type[Bottleneck], channels: int, width: int, depth: int, stride: int
) -> nn.Sequential:
    first = block(channels, width, stride)
    return nn.Sequential(first, *(block(width * block.expansion, width, 1) for _ in range(depth - 1)))


def _convolution(channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    layer = Convolution(channels, out_channels, kernel, stride)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def _shortcut(channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """A 1×1 convolution where the shape changes, None where it does not."""
    if stride == 1 and channels == out_channels:
        return None
    return nn.Sequential(_convolution(channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels))
