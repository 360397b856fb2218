"""Vision transformers (Dosovitskiy et al., ICLR 2021; sizes of Touvron et al., ICML 2021). Named as in timm."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.nn.attention import attend


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        n, length, dim = tokens.shape
        qkv = self.qkv(tokens).view(n, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)  # each (n, heads, length, dim / heads)
        return self.proj(attend(query, key, value).transpose(1, 2).reshape(n, length, dim))


class Block(nn.Module):
    """Attention and a two-layer network, each behind a layer norm and beside a shortcut."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = FeedForward(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class FeedForward(nn.Module):
    """Linear, GELU, linear; four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


class PatchEmbed(nn.Module):
    """Non-overlapping patches as tokens."""

    def __init__(self, channels: int, patch: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images).flatten(2).transpose(1, 2)  # (n, patches, dim)


class VisionTransformer(nn.Module):
    """A vision transformer without its classifier; its feature is the class token after the last layer norm.

    Args:
        size: Side of the pictures, in pixels. Others can be fed too: the positions are interpolated then.
        channels: Channels of the pictures.
        patch: Side of a patch; must divide `size`.
        dim: Width of the tokens; a multiple of 4 · heads.
        depth: Blocks.
        heads: Attention heads.
        positions: "learnable", or "sincos": fixed sines and cosines of the row and the column (Chen et al., ICCV 2021).
    """

    def __init__(
        self,
        size: int,
        channels: int,
        *,
        patch: int,
        dim: int,
        depth: int = 12,
        heads: int,
        positions: Literal["learnable", "sincos"] = "learnable",
    ) -> None:
        super().__init__()
        if size % patch:
            divisors = ", ".join(str(p) for p in range(1, size + 1) if size % p == 0)
            raise ConfigError(f"patch size {patch} does not divide the picture size {size}; possible: {divisors}")
        self.dim, self.patch, self.grid = dim, patch, size // patch
        self.patch_embed = PatchEmbed(channels, patch, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid**2, dim), requires_grad=positions == "learnable")
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.apply(_initialize)
        nn.init.normal_(self.cls_token, std=0.02)
        if positions == "sincos":
            self.pos_embed.data[0, 1:] = sincos_positions(self.grid, dim)
        else:
            nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def tokens(self, images: Tensor) -> Tensor:
        """All tokens (n, 1 + patches, dim) after the last norm, the class token first."""
        height, width = images.shape[-2:]
        if height % self.patch or width % self.patch:
            raise ValueError(f"pictures of {width} × {height} do not divide into patches of {self.patch}")
        patches = self.patch_embed(images)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1).to(patches.dtype), patches], 1)
        tokens = tokens + self._positions(height // self.patch, width // self.patch)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def maps(self, images: Tensor) -> Tensor:
        """The patch tokens as maps (n, dim, h / patch, w / patch)."""
        n, rows = len(images), images.shape[-2] // self.patch
        return self.tokens(images)[:, 1:].transpose(1, 2).reshape(n, self.dim, rows, -1)

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, dim): the class token."""
        return self.tokens(images)[:, 0]

    def _positions(self, rows: int, columns: int) -> Tensor:
        if rows == columns == self.grid:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].view(1, self.grid, self.grid, self.dim).permute(0, 3, 1, 2)
        grid = F.interpolate(grid.float(), (rows, columns), mode="bicubic", antialias=True, align_corners=False)
        return torch.cat([self.pos_embed[:, :1], grid.flatten(2).transpose(1, 2)], 1)


def sincos_positions(grid: int, dim: int) -> Tensor:
    """Fixed positions (grid², dim): sines and cosines of columns and rows at dim/4 frequencies from 1 to 1/10000."""
    if dim % 4:
        raise ConfigError(f"sincos positions need a width that is a multiple of 4, got {dim}")
    frequency = 10000.0 ** -(torch.arange(dim // 4) / (dim // 4))
    rows, columns = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    angles = [place.flatten()[:, None] * frequency for place in (columns, rows)]
    return torch.cat([function(angle) for angle in angles for function in (torch.sin, torch.cos)], 1)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
