"""Dynamic graph network (Wang et al., ACM TOG 2019)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from twofold.modalities.points.backbones.neighbours import gather_points, nearest_points
from twofold.modalities.points.backbones.shared import PointwiseLayer

_SLOPE = 0.2


class EdgeConv(nn.Module):
    """max_j h(x_i, x_j - x_i) over the `k` nearest points j in the space of the inputs (eq. 8)."""

    def __init__(self, inputs: int, outputs: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.edge = PointwiseLayer(2 * inputs, outputs, nn.LeakyReLU(_SLOPE))

    def forward(self, features: Tensor, space: Tensor) -> Tensor:
        """Features (n, p, outputs), of neighbours in `space` (n, p, d)."""
        neighbours = gather_points(features, nearest_points(space, space, min(self.k, space.shape[1])))
        centre = features.unsqueeze(2).expand_as(neighbours)
        return self.edge(torch.cat([centre, neighbours - centre], 3)).max(2).values


class DGCNN(nn.Module):
    """Four edge convolutions (w, w, 2w, 4w) with neighbours searched anew in the features, then all of them together.

    The feature is maximum and mean over the points, as in the paper. Memory is O(n p (k w + p)): the search compares
    all points of a cloud.

    Args:
        channels: Numbers a point.
        width: Of the first layer; 64 in the paper, which gives 2048 features.
        neighbours: 20 in the paper for 1024 points.
    """

    def __init__(self, channels: int, width: int = 64, neighbours: int = 20) -> None:
        super().__init__()
        self.dim, self.point_dim = 32 * width, 16 * width
        widths = [channels, width, width, 2 * width, 4 * width]
        self.convolutions = nn.ModuleList(EdgeConv(a, b, neighbours) for a, b in pairwise(widths))
        self.join = PointwiseLayer(8 * width, 16 * width, nn.LeakyReLU(_SLOPE))

    def point_features(self, clouds: Tensor) -> Tensor:
        """Features of the points, (n, p, point_dim)."""
        features, space, levels = clouds, clouds[..., :3], []
        for convolution in self.convolutions:
            features = space = convolution(features, space)
            levels.append(features)
        joined: Tensor = self.join(torch.cat(levels, 2))
        return joined

    def forward(self, clouds: Tensor) -> Tensor:
        """Features (n, dim)."""
        features = self.point_features(clouds)
        return torch.cat([features.max(1).values, features.mean(1)], 1)
