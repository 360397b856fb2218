"""Contrast of points: PointContrast (Xie et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from twofold.contrast.objectives import dense_info_nce
from twofold.errors import ConfigError
from twofold.modalities.points.backbones.neighbours import gather_points, nearest_points
from twofold.nn.heads import mlp_head
from twofold.options import Positive, PositiveInt, Range
from twofold.recipes.base import Batch, Card, Outputs, Recipe


class PointContrast(Recipe):
    """PointContrast: the same point in two views attracts, all other matched points repel (Xie et al., ECCV 2020).

    Points of two views are matched by where they lay in the cloud before views moved it; then, with features f and g of
    matched points and V all matches of the batch (PointInfoNCE, eq. 2),

        L = mean_{i ∈ V} [ −s(f_i, g_i)/τ + log Σ_{j ∈ V} exp(s(f_i, g_j)/τ) ]

    What is new: contrast of points rather than of whole clouds, which fits tasks that label points. A point's feature
    is its own in the encoder joined with the largest of its cloud, as in the segmentation heads of these encoders, and
    goes through a small head. The embedding of a cloud is the encoder's.

    Reconstructed: the paper's networks are sparse U-Nets on scans of rooms, of which two overlap. Here both views are
    parts of one cloud, and a match must be the nearest in both directions, so that no point is its own negative.

    Measured here on furniture, three seeds: 20 neighbours 38.0 ± 0.7 % (untrained 36.3, raw 33.5), linear probe 39.5 ±
    2.0 % (38.8, 34.7); docs/modalities/points.md.

    Args:
        temperature: τ; 0.07 in the paper's code.
        matches: How many matches of each cloud are used, at most, drawn anew each step; the paper's code takes 4096 of
            a batch.
        radius: How far apart, before views move them, points may lie to be a match; the paper's 1.5 voxels. Clouds are
            scaled into the unit ball unless reading says otherwise.
        projection_dim: Dimensions of a point's feature; the paper's 32.
        hidden_dim: Width of the head.
        view_count: Two views are compared.
    """

    card: ClassVar[Card] = Card(
        name="pointcontrast",
        title="PointContrast: Unsupervised Pre-training for 3D Point Cloud Understanding",
        paper="Xie et al., ECCV 2020",
        new="points are contrasted with points, matched between two partial views",
        modalities=("points",),
    )
    preferred_views: ClassVar[str] = "pointcontrast"
    preferred_encoder: ClassVar[str | None] = "dgcnn"

    def __init__(
        self,
        *,
        temperature: Positive = 0.07,
        matches: PositiveInt = 128,
        radius: Positive = 0.1,
        projection_dim: PositiveInt = 32,
        hidden_dim: PositiveInt = 128,
        view_count: Annotated[int, Range(at_least=2, at_most=2)] = 2,
        **common: Any,
    ) -> None:
        super().__init__(view_count=view_count, **common)
        self.temperature, self.matches, self.radius = temperature, matches, radius
        self.projection_dim, self.hidden_dim = projection_dim, hidden_dim

    def build_heads(self, dim: int, spec: Mapping[str, Any]) -> None:
        backbone = self.encoder.backbone
        if not all(hasattr(backbone, part) for part in ("point_features", "point_dim")):
            raise ConfigError(
                "PointContrast compares points, so it needs an encoder with features of points: 'dgcnn', 'pointnet', "
                "or a module of your own with a method point_features and an attribute point_dim."
            )
        self.projector = mlp_head(2 * int(backbone.point_dim), self.hidden_dim, self.projection_dim, bias=False)

    def represent(self, batch: Batch) -> Outputs:
        first, second = batch["views"]
        places, partners, valid = matched(first["origin"], second["origin"], count=self.matches, radius=self.radius)
        z = torch.stack([self.project(first["points"], places), self.project(second["points"], partners)])
        return {"z": z, "valid": valid[None]}

    def project(self, clouds: Tensor, places: Tensor) -> Tensor:
        """Features of some points: clouds ``(n, p, c)``, places ``(n, m)`` -> ``(n, m, projection_dim)``."""
        features = self.encoder.backbone.point_features(self.encoder.normalized(clouds))
        overall = features.amax(1, keepdim=True).expand(-1, places.shape[1], -1)
        rows = torch.cat([gather_points(features, places), overall], 2)
        z: Tensor = self.projector(rows.flatten(0, 1))
        return z.unflatten(0, places.shape)

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor | dict[str, Tensor]:
        anchors, positives = outputs["z"]
        return dense_info_nce(anchors, positives, outputs["valid"][0], temperature=self.temperature)

    def encode(self, inputs: Any) -> Tensor:
        features: Tensor = self.encoder(inputs["points"] if isinstance(inputs, dict) else inputs)
        return features


def matched(first: Tensor, second: Tensor, *, count: int, radius: float) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of points that are each other's nearest and not farther apart than ``radius``.

    Which ones, if there are more than ``count``, is drawn from torch's own generator, as dropout is: the trainer seeds
    it for each step and each micro-batch.

    Args:
        first: Places ``(n, p, 3)``; of points that lie in the same place one is taken.
        second: ``(n, q, 3)``.
        count: How many at most.
        radius: The largest distance.

    Returns:
        Positions in ``first`` and in ``second``, int64 ``(n, m)``, m = min(count, p), and which of these are pairs.
    """
    forth = nearest_points(first, second, 1).squeeze(2)
    back = nearest_points(second, first, 1).squeeze(2)
    own = torch.arange(first.shape[1], device=first.device)
    near = (first - gather_points(second, forth)).square().sum(2) <= radius**2
    pairs = near & (back.gather(1, forth) == own)
    order = (torch.rand(pairs.shape, device=first.device) + ~pairs).argsort(1)[:, :count]
    return order, forth.gather(1, order), pairs.gather(1, order)
