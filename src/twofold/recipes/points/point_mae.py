"""Masked point patches: Point-MAE (Pang et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.points.backbones.neighbours import gather_points
from twofold.modalities.points.backbones.transformer import PointTransformer, block, position_embedding
from twofold.nn.point_sets import chamfer
from twofold.options import PositiveInt, Range
from twofold.recipes.base import Batch, Card, Outputs, Recipe, by_view

Share = Annotated[float, Range(above=0, below=1)]


class PatchDecoder(nn.Module):
    """From tokens of the visible patches to the points of the hidden ones.

    Args:
        width: Of the tokens.
        depth: Blocks.
        points: Of a patch.
    """

    def __init__(self, width: int, depth: int, points: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.empty(width))
        nn.init.trunc_normal_(self.hidden, std=0.02)
        self.position = position_embedding(width)
        self.blocks = nn.ModuleList(block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 3 * points)

    def forward(self, visible: Tensor, shown: Tensor, centres: Tensor) -> Tensor:
        """Tokens of all patches, ``(n, g, width)``, in their own order and not normed.

        Args:
            visible: ``(n, v, width)``.
            shown: int64 ``(n, v)``, which patches these are.
            centres: ``(n, g, 3)``, of all patches.
        """
        n, g, _ = centres.shape
        blank = self.hidden.to(visible.dtype).expand(n, g, -1)
        tokens, position = blank.scatter(1, shown[..., None].expand_as(visible), visible), self.position(centres)
        for layer in self.blocks:
            tokens = layer(tokens + position)
        return tokens

    def points(self, tokens: Tensor) -> Tensor:
        """The points of patches, relative to their centres: ``(n, m, width)`` -> ``(n, m, points, 3)``."""
        points: Tensor = self.head(self.norm(tokens))
        return points.unflatten(2, (-1, 3))


class PointMAE(Recipe):
    """Point-MAE: hide most patches of a cloud and give back their points (Pang et al., ECCV 2022).

    The cloud is cut into patches around far-apart centres, of which a share is hidden. The encoder sees the visible
    ones only; a small decoder adds a learned token at the centre of each hidden one and predicts its points P̂, relative
    to that centre. With the squared Chamfer distance (eq. 3), over the hidden patches i of a cloud:

        L = mean_i [ mean_{a ∈ P̂_i} min_{b ∈ P_i} ‖a − b‖² + mean_{b ∈ P_i} min_{a ∈ P̂_i} ‖a − b‖² ]

    What is new: masked autoencoding of unordered points without telling the encoder where the hidden ones are. Nothing
    is contrasted: it is here as the base of Point-CMAE and to be compared with. The embedding is the maximum and the
    mean of all tokens. In the paper's code hidden patches go through the patch embedding too (only its batch statistics
    see them); here they do not. Distances are in units of the cloud.

    Measured here on furniture, three seeds: 20 neighbours 34.8 ± 1.8 % (untrained 40.0), linear probe 39.5 ± 2.9 %
    (39.7): ten epochs teach it nothing; docs/modalities/points.md.

    Args:
        mask_rate: Share of the patches that is hidden; 0.6 in the paper.
        decoder_depth: Blocks of the decoder; the paper's 4.
        view_count: Views of each cloud in a step, each masked by itself; the paper has one.
    """

    card: ClassVar[Card] = Card(
        name="point-mae",
        title="Masked Autoencoders for Point Cloud Self-supervised Learning",
        paper="Pang et al., ECCV 2022",
        new="masked autoencoding of point patches; no contrast, the base of point-cmae",
        modalities=("points",),
    )
    preferred_views: ClassVar[str] = "point-mae"
    preferred_encoder: ClassVar[str | None] = "point-transformer"
    training_defaults: ClassVar[dict[str, Any]] = {"weight_decay": 0.05}

    def __init__(
        self,
        *,
        mask_rate: Share = 0.6,
        decoder_depth: PositiveInt = 4,
        view_count: PositiveInt = 1,
        **common: Any,
    ) -> None:
        super().__init__(view_count=view_count, **common)
        self.mask_rate, self.decoder_depth = mask_rate, decoder_depth

    @property
    def backbone(self) -> PointTransformer:
        """The encoder's network."""
        backbone: PointTransformer = self.encoder.backbone
        return backbone

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        if not isinstance(self.backbone, PointTransformer):
            raise ConfigError(
                f"{type(self).__name__} hides patches, so its encoder must be 'point-transformer', maybe with options, "
                "such as 'point-transformer-w96-d4-g32-k16'."
            )
        self.decoder = self.make_decoder(int(spec["points"]))

    def make_decoder(self, points: int) -> PatchDecoder:
        """A decoder for the encoder's patches of clouds of ``points``."""
        return PatchDecoder(self.backbone.dim // 2, self.decoder_depth, min(self.backbone.neighbours, points))

    def represent(self, batch: Batch) -> Outputs:
        return {"error": by_view(self.reconstruct, batch["views"])}

    def reconstruct(self, view: Tensor) -> Tensor:
        """How far the hidden patches are missed, ``(n,)``."""
        patches, centres = self.backbone.patches_of(self.encoder.normalized(view))
        shown, hidden = random_masks(*centres.shape[:2], rate=self.mask_rate, device=centres.device)
        tokens = self.decoder(self.visible_tokens(patches, centres, shown), shown, centres)
        return self.error(self.decoder, tokens, patches, hidden)

    def visible_tokens(self, patches: Tensor, centres: Tensor, shown: Tensor) -> Tensor:
        """What the encoder makes of some patches, ``(n, v, width)``; it does not see the others."""
        n, v = shown.shape
        seen = gather_points(patches.flatten(2), shown).view(n, v, *patches.shape[2:])
        return self.backbone.tokens(seen, gather_points(centres, shown))

    def error(self, decoder: PatchDecoder, tokens: Tensor, patches: Tensor, hidden: Tensor) -> Tensor:
        """The Chamfer distance of the hidden patches, averaged, ``(n,)``, in the units of the cloud."""
        predicted = decoder.points(gather_points(tokens, hidden)).flatten(0, 1)
        wanted = gather_points(patches[..., :3].flatten(2), hidden).view(*predicted.shape)
        scale = self.encoder.std[0].square()  # the three axes share one deviation
        return scale * chamfer(predicted, wanted).view(hidden.shape).mean(1)

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        return outputs["error"].mean()


def random_masks(n: int, patches: int, *, rate: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which patches are shown and which are hidden, drawn for each cloud, as many in each.

    Drawn from torch's own generator, as dropout is: the trainer seeds it for each step and each micro-batch.

    Args:
        n: Clouds.
        patches: Of each, at least 2.
        rate: Share that is hidden; at least one patch is, and at least one is not.
        device: Where to draw.

    Returns:
        Their numbers, int64 ``(n, v)`` and ``(n, h)``, v + h = patches.
    """
    count = min(max(1, round(rate * patches)), patches - 1)
    order = torch.rand(n, patches, device=device).argsort(1)
    return order[:, count:].sort(1).values, order[:, :count].sort(1).values
