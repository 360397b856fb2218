"""Images: folders of pictures, arrays, tables; batched views; convolutional and transformer encoders."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.image import data, views
from twofold.modalities.image.encoders import check_name, make_encoder
from twofold.modalities.image.views.presets import FUSED, PRESETS
from twofold.modalities.pixels.colour import grey
from twofold.modalities.tasks import no_task

__all__ = ["MODALITY", "ImageModality"]

GLOBAL_VIEWS = 2
"""Of multi-crop's views, how many are global."""
CHARACTERS = 12
"""Up to this side, pictures (of digits, say) get the views made for characters."""
PREVIEW_SIZE = 64
RAW_SIZE = 32
"""Pixels are compared at no more than this side: larger ones add noise and memory, not information."""


class ImageModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "image"
    item = "image"
    raw = "raw images"
    default_encoder = "resnet18"

    def read(
        self,
        source: Any,
        *,
        size: int | None = None,
        column: str | None = None,
        label_column: str | None = None,
        split: str | None = None,
        cache: bool | str | None = None,
    ) -> Dataset:
        """Read pictures; see :func:`twofold.modalities.image.data.read`.

        Args:
            source: Folder, several folders, file (.npy, .npz, .parquet, .csv, .jsonl, IDX), array, list of pictures,
                Hugging Face data set, or a data set that is read already.
            size: Side of the squares that all pictures are brought to; none takes what suits the data.
            column: Of a table, the column of pictures.
            label_column: Of a table, the column of classes.
            split: Which part of data that comes in parts, such as train or test.
            cache: Keep decoded pixels in memory (true or false; none does so up to 2 GiB), or on disk for this run and
                later ones: "disk", or "disk:FOLDER".
        """
        read: Dataset = data.read(source, size=size, column=column, label_column=label_column, split=split, cache=cache)
        return read

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"size": spec["size"]}

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        ours, theirs = dataset.spec, spec
        if ours.get("modality") != "image":
            raise DataError(f"The encoder was trained on images, the data is {ours.get('modality')!r}.")
        if ours["channels"] != theirs["channels"] and {ours["channels"], theirs["channels"]} != {1, 3}:
            raise DataError(f"The encoder takes {theirs['channels']} channels, the pictures have {ours['channels']}.")

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=PRESETS)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return "digits" if int(spec["size"]) <= CHARACTERS else preferred

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        size, channels = int(spec["size"]), int(spec["channels"])
        chosen = name or self.choose_views(spec, preferred=preferred)
        if chosen.removesuffix(FUSED) != "multi-crop":
            return views.make_views(chosen, size=size, channels=channels, count=count)
        local = max(0, count - GLOBAL_VIEWS)
        return views.make_views(chosen, size=size, channels=channels, count=min(count, GLOBAL_VIEWS), local_count=local)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec, rebuild=rebuild or None)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        images = views.center_view(batch["inputs"], size=int(spec["size"]), aspect=batch.get("aspect"))
        return as_channels(images, int(spec["channels"]))

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        size = min(RAW_SIZE, int(spec["size"]))
        images = self.prepare(batch, spec | {"size": size})
        mean, std = (torch.tensor(spec[name]).reshape(1, -1, 1, 1) for name in ("mean", "std"))
        return ((images - mean) / std).flatten(1)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        no_task(name, self.name)
        return None

    def previews(self, dataset: Dataset, index: Tensor) -> list[bytes]:
        from PIL import Image

        images = dataset.fetch(index)["inputs"]
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        pictures = []
        for pixels in images.permute(0, 2, 3, 1).contiguous().numpy():
            file = io.BytesIO()
            picture = Image.fromarray(pixels)
            picture.thumbnail((PREVIEW_SIZE, PREVIEW_SIZE))
            picture.save(file, "WEBP", quality=85)
            pictures.append(file.getvalue())
        return pictures


def as_channels(images: Tensor, channels: int) -> Tensor:
    """Grey pictures as three equal channels, or coloured ones as their luminance, where the encoder wants that."""
    if images.shape[1] == channels:
        return images
    return images.expand(-1, channels, -1, -1) if images.shape[1] == 1 else grey(images)


MODALITY = ImageModality()
