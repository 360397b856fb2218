"""A transformer on patches of points, as masked point modelling uses it (Pang et al., ECCV 2022, Point-MAE)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.points.backbones.neighbours import farthest_points, gather_points, nearest_points
from twofold.modalities.points.backbones.shared import pointwise
from twofold.nn.attention import EncoderLayer

HEAD_WIDTH = 32


class PatchEmbed(nn.Module):
    """A small PointNet from the points of a patch to its token: twice a shared network and a maximum."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        inner = 2 * width // 3
        self.first = nn.Sequential(pointwise(channels, inner // 2), nn.Linear(inner // 2, inner))
        self.second = nn.Sequential(pointwise(2 * inner, 2 * inner), nn.Linear(2 * inner, width))

    def forward(self, patches: Tensor) -> Tensor:
        """Tokens (n, g, width) of patches (n, g, k, channels)."""
        features = self.first(patches)
        overall = features.max(2, keepdim=True).values.expand_as(features)
        tokens: Tensor = self.second(torch.cat([overall, features], 3)).max(2).values
        return tokens


def block(width: int) -> nn.Module:
    """A transformer block on tokens (n, g, width), normed first."""
    return EncoderLayer(
        width,
        width // HEAD_WIDTH,
        dim_feedforward=4 * width,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )


def position_embedding(width: int) -> nn.Sequential:
    """A small network from centres (n, g, 3) to what is added to their tokens."""
    return nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, width))


class PointTransformer(nn.Module):
    """Tokens of patches around farthest points, and transformer blocks; positions are added before each block.

    The feature is the maximum and the mean of the tokens after the last norm. Sizes of Point-MAE: width 384, depth 12,
    64 patches of 32 points; the default here is smaller.

    Args:
        channels: Numbers a point.
        width: Of the tokens; a multiple of 96.
        depth: Blocks.
        patches: Patches a cloud.
        neighbours: Points a patch.
    """

    def __init__(
        self, channels: int, width: int = 192, depth: int = 6, patches: int = 64, neighbours: int = 32
    ) -> None:
        super().__init__()
        if width % (3 * HEAD_WIDTH):
            raise ConfigError(f"the width of a point-transformer must be a multiple of {3 * HEAD_WIDTH}, not {width}")
        self.dim, self.patches, self.neighbours = 2 * width, patches, neighbours
        self.embed = PatchEmbed(channels, width)
        self.position = position_embedding(width)
        self.blocks = nn.ModuleList(block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def patches_of(self, clouds: Tensor) -> tuple[Tensor, Tensor]:
        """Patches (n, g, k, channels), their places relative to the centres, and the centres (n, g, 3)."""
        places = clouds[..., :3]
        centres = gather_points(places, farthest_points(places, self.patches))
        near = nearest_points(centres, places, min(self.neighbours, places.shape[1]))
        patches = gather_points(clouds, near)
        relative = patches[..., :3] - centres.unsqueeze(2)
        return torch.cat([relative, patches[..., 3:]], 3), centres

    def tokens(self, patches: Tensor, centres: Tensor) -> Tensor:
        """All tokens (n, g, width) after the last norm."""
        tokens, position = self.embed(patches), self.position(centres)
        for layer in self.blocks:
            tokens = layer(tokens + position)
        normed: Tensor = self.norm(tokens)
        return normed

    def forward(self, clouds: Tensor) -> Tensor:
        """Features (n, dim)."""
        tokens = self.tokens(*self.patches_of(clouds))
        return torch.cat([tokens.max(1).values, tokens.mean(1)], 1)
