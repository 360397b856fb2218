"""PointNet (Qi et al., CVPR 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from twofold.modalities.points.backbones.shared import pointwise


class PointNet(nn.Module):
    """One network for each point by itself (widths w, w, w, 2w, 16w), then the largest value of each channel.

    Without the two small networks of the paper that predict a transformation of the input and of the features (T-nets):
    the second needs a loss of its own, and views turn the clouds anyway. The paper calls this its vanilla version.

    Args:
        channels: Numbers a point.
        width: Of the first layers; 64 in the paper, which gives 1024 features.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        self.dim = self.point_dim = 16 * width
        self.layers = pointwise(channels, width, width, width, 2 * width, 16 * width)

    def point_features(self, clouds: Tensor) -> Tensor:
        """Features of the points, (n, p, point_dim)."""
        features: Tensor = self.layers(clouds)
        return features

    def forward(self, clouds: Tensor) -> Tensor:
        """Features (n, dim)."""
        return self.point_features(clouds).max(1).values  # its backward pass is faster than that of amax
