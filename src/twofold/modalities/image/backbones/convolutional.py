"""Small convolutional and fully connected networks, for experiments of minutes."""

from __future__ import annotations

from torch import Tensor, nn

PLACES = 2
"""Side of the map that :class:`PatchNet` pools to."""


class ConvNet(nn.Module):
    """Three 3×3 convolutions (width, 2·width, 4·width; the last two of stride 2), each with batch norm and ReLU.

    Args:
        channels: Channels of the pictures.
        width: Channels of the first convolution.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.dim = 4 * width
        self.layers = nn.Sequential(
            *_block(channels, width, 1), *_block(width, 2 * width, 2), *_block(2 * width, 4 * width, 2)
        )

    def maps(self, images: Tensor) -> Tensor:
        """Feature maps (n, dim, s/4, s/4)."""
        return self.layers(images)

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim): the maps averaged over all places."""
        return self.maps(images).mean((2, 3))


class PatchNet(nn.Module):
    """A 4×4 stem of stride 2, two 3×3 convolutions of stride 2 (width, 2·width, 4·width), pooled to 2×2 places.

    Several times faster than :class:`ConvNet`, since nothing is computed at full resolution; and the four pooled
    places keep some of a picture's layout, which global pooling forgets.

    Args:
        channels: Channels of the pictures.
        width: Channels of the stem.
    """

    def __init__(self, channels: int, width: int = 48) -> None:
        super().__init__()
        self.dim = 4 * width * PLACES**2
        self.layers = nn.Sequential(
            *_block(channels, width, 2, kernel=4), *_block(width, 2 * width, 2), *_block(2 * width, 4 * width, 2)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim): the maps averaged over each quarter of the picture."""
        maps = self.layers(images)
        return nn.functional.adaptive_avg_pool2d(maps, PLACES).flatten(1)


class MLP(nn.Module):
    """Two hidden layers with batch norm and ReLU over all pixels; for pictures of up to about 32 × 32.

    Args:
        pixels: channels · size · size.
        width: Width of both layers, and of the features.
    """

    def __init__(self, pixels: int, width: int = 256) -> None:
        super().__init__()
        self.dim = width
        self.layers = nn.Sequential(
            nn.Linear(pixels, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim)."""
        return self.layers(images.flatten(1))


def _block(channels: int, width: int, stride: int, *, kernel: int = 3) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels, width, kernel, stride, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)
