"""Clips: films, animations, sequences of pictures, arrays; views that are consistent in time; 3-D convolutions."""

from __future__ import annotations

import io
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError, require
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.pixels.colour import grey
from twofold.modalities.tasks import no_task
from twofold.modalities.video import data, views
from twofold.modalities.video.encoders import check_name, make_encoder
from twofold.modalities.video.views import PRESETS

__all__ = ["MODALITY", "VideoModality"]

PREVIEW_SIZE = 64
RAW_SIZE = 24
"""Mean frames are compared at no more than this side: larger ones add noise and memory, not information."""


class VideoModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "video"
    item = "clip"
    raw = "mean frame and change"
    default_encoder = "r3d"

    def read(
        self,
        source: Any,
        *,
        size: int | None = None,
        frames: int | None = None,
        fps: float | None = None,
        stride: int | None = None,
        column: str | None = None,
        label_column: str | None = None,
        split: str | None = None,
        cache: bool | None = None,
    ) -> Dataset:
        """Read clips; see :func:`twofold.modalities.video.data.read`.

        Args:
            source: Folder, several folders, film or animation, list of files, table (.csv, .tsv, .jsonl, .parquet),
                array file (.npy, .npz), array, or a data set that is read already.
            size: Side of the squares that frames are squashed to; none takes what suits the data, at most 112.
            frames: Frames that are kept of a clip; none takes what nearly all clips do not exceed, at most 32.
            fps: Frames a second that films and animations are brought to; none takes 8.
            stride: Of the frames that then remain, every how manieth is kept; none keeps all.
            column: Of a table, the column of clips.
            label_column: Of a table, the column of classes.
            split: Which part of data that comes in parts, such as train or test.
            cache: Keep decoded clips in memory; none does so up to 2 GiB.
        """
        return data.read(
            source,
            size=size,
            frames=frames,
            fps=fps,
            stride=stride,
            column=column,
            label_column=label_column,
            split=split,
            cache=cache,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {name: spec[name] for name in ("size", "frames", "fps", "stride")}

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        if dataset.spec.get("modality") != "video":
            raise DataError(f"The encoder was trained on clips, the data is {dataset.spec.get('modality')!r}.")

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=PRESETS)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return preferred if preferred in PRESETS else views.DEFAULT

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return views.make_views(
            name or self.choose_views(spec, preferred=preferred),
            size=int(spec["size"]),
            frames=max(1, int(spec["frames"]) // 2),
            channels=int(spec["channels"]),
            count=count,
        )

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        whole = views.whole_view(
            batch["inputs"], size=int(spec["size"]), length=batch.get("length"), aspect=batch.get("aspect")
        )
        return as_channels(whole, int(spec["channels"]))

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        """The mean frame, and for each pixel by how much it changes from frame to frame; at most 24 × 24 pixels."""
        size = min(RAW_SIZE, int(spec["size"]))
        clips = self.prepare(batch, spec | {"size": size})
        change = (clips[:, 1:] - clips[:, :-1]).abs().mean((1, 2))
        return torch.cat([clips.mean(1).flatten(1), change.flatten(1)], 1)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        no_task(name, self.name)
        return None

    def previews(self, dataset: Dataset, index: Tensor) -> list[bytes]:
        library = require("PIL.Image", extra="video", purpose="showing clips in reports")
        batch = dataset.fetch(index)
        frames = views.still(batch["inputs"], length=batch.get("length")).float()
        if frames.shape[-1] > PREVIEW_SIZE:
            frames = F.interpolate(frames, (PREVIEW_SIZE,) * 2, mode="bilinear", antialias=True, align_corners=False)
        frames = frames.round().clamp(0, 255).to(torch.uint8).expand(-1, 3, -1, -1)
        pictures = []
        for pixels in frames.permute(0, 2, 3, 1).contiguous().numpy():
            file = io.BytesIO()
            library.fromarray(pixels).save(file, "PNG")
            pictures.append(file.getvalue())
        return pictures


def as_channels(clips: Tensor, channels: int) -> Tensor:
    """Grey clips (n, t, 1, s, s) as three equal channels, or coloured ones as their luminance, where that is wanted."""
    if clips.shape[2] == channels:
        return clips
    if clips.shape[2] == 1:
        return clips.expand(-1, -1, channels, -1, -1)
    return grey(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])


MODALITY = VideoModality()
