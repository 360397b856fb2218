"""Clouds of points: scans, meshes sampled on their surface, arrays; batched views; networks on sets of points."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.points import data, views
from twofold.modalities.points.clouds import Features
from twofold.modalities.points.descriptors import shape_descriptor
from twofold.modalities.points.encoders import check_name, make_encoder
from twofold.modalities.points.previews import picture
from twofold.modalities.points.readers.shapes import Up
from twofold.modalities.points.views import PRESETS
from twofold.modalities.points.views.presets import DEFAULT
from twofold.modalities.tasks import no_task

__all__ = ["MODALITY", "PointModality"]

POINT_BY_POINT = "pointcontrast"
"""A recipe that prefers these views compares points: whatever views it gets, points know where they came from."""

_FORM = ("channels", "normals", "extras", "normalize")


class PointModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "points"
    item = "cloud"
    raw = "D2 histogram and moments"
    default_encoder = "pointnet"

    def read(
        self,
        source: Any,
        *,
        points: int | None = None,
        split: str | None = None,
        features: Features = "none",
        normalize: bool = True,
        up: Up = "z",
    ) -> Dataset:
        """Read clouds; see :func:`twofold.modalities.points.data.read`.

        Args:
            source: Folder, several folders, file (.npy, .npz, .xyz, .ply, .off, .obj, .stl), list of files, array or
                list of arrays, with labels or without, or a data set that is read already.
            points: Points a cloud; none takes 1024, or as many as the largest cloud has if that is fewer.
            split: Which part of data that comes in parts, such as train or test.
            features: What is kept of a point beside its place: none, normals, or all (colours and other columns too).
            normalize: Centre each cloud and scale it into the unit ball.
            up: The axis of the source that points up; it is turned to become z.
        """
        read: Dataset = data.read(source, points=points, split=split, features=features, normalize=normalize, up=up)
        return read

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        features = "all" if spec["extras"] else "normals" if spec["normals"] else "none"
        return {
            "points": spec["points"],
            "features": features,
            "normalize": spec["normalize"],
            "up": spec["up"],
        }

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        if dataset.spec.get("modality") != "points":
            raise DataError(
                f"The encoder was trained on clouds of points, the data is {dataset.spec.get('modality')!r}."
            )
        unequal = [
            f"{key} {spec[key]}, the data {dataset.spec[key]}" for key in _FORM if dataset.spec[key] != spec[key]
        ]
        if unequal:
            raise DataError(f"The encoder was trained on other clouds: with {'; with '.join(unequal)}.")

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=PRESETS)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return preferred if preferred in views.PRESETS else DEFAULT

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        chosen = name or self.choose_views(spec, preferred=preferred)
        matched = preferred == POINT_BY_POINT
        return views.make_views(chosen, count=count, normals=bool(spec["normals"]), matched=matched)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        clouds: Tensor = batch["inputs"]
        return clouds

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        return shape_descriptor(batch["inputs"], normals=bool(spec["normals"]))

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        no_task(name, self.name)
        return None

    def previews(self, dataset: Dataset, index: Tensor) -> list[bytes]:
        return [picture(cloud[:, :3]) for cloud in dataset.fetch(index)["inputs"].double().numpy()]


MODALITY = PointModality()
