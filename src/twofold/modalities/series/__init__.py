"""Series: sensor streams and skeletons in arrays, .ts files and tables; batched views; networks over time."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.series import data, reading
from twofold.modalities.series.data import Form, Layout, Normalize
from twofold.modalities.series.descriptors import series_descriptor
from twofold.modalities.series.encoders import check_name, make_encoder
from twofold.modalities.series.previews import picture
from twofold.modalities.series.readers.tables import Columns
from twofold.modalities.series.recordings import Fit
from twofold.modalities.series.views.presets import DEFAULT, DEFAULT_OF_SKELETONS, NAMES, make_views
from twofold.modalities.tasks import no_task

__all__ = ["MODALITY", "SeriesModality"]

_FORM = ("channels", "joints", "dims", "parts", "normalize")


class SeriesModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "series"
    item = "series"
    raw = "moments and spectrum"
    default_encoder = "convnet1d"

    def read(
        self,
        source: Any,
        *,
        length: int | None = None,
        fit: Fit = "resample",
        window: int | None = None,
        stride: int | None = None,
        skeleton: str | None = None,
        parts: str | None = None,
        normalize: Normalize | None = None,
        layout: Layout = "time-first",
        split: str | None = None,
        groups: str | None = None,
        series_column: str | None = None,
        time_column: str | None = None,
        label_column: str | None = None,
        group_column: str | None = None,
        channels: str | None = None,
    ) -> Dataset:
        """Read series; see :func:`twofold.modalities.series.reading.read`.

        Args:
            source: Folder, several folders, file (.ts, .npy, .npz, .csv, .tsv, .jsonl, .parquet), list of files, array,
                list of arrays, with labels or without, or a data set that is read already.
            length: Steps that every series is brought to; none takes their own, of different ones the largest, at most
                512.
            fit: How: resample stretches time, crop takes the middle and lets short ones stay at their last value.
            window: Cut recordings into windows of so many steps, instead.
            stride: Steps from window to window; none cuts them side by side.
            skeleton: Channels are joints: their number, or a known skeleton (coco-17, jhmdb-15, ntu-25).
            parts: Channels that belong together, in order, such as 3,3 for two sensors.
            normalize: Of each series: each (every channel to mean 0 and deviation 1), body (of skeletons, to the
                middle and size of the body), or none; skeletons take body, others none.
            layout: Of arrays; channels-first is (n, channels, steps).
            split: Which part of data that comes in parts, such as train or test.
            groups: Read only the recordings of these groups (subjects, say), separated by commas.
            series_column: Of a table, the recording a row is of.
            time_column: Of a table, when.
            label_column: Of a table, the class.
            group_column: Of a table, the subject or session.
            channels: Of a table, the columns that are channels, separated by commas; none takes all other numbers.
        """
        return reading.read(
            source,
            form=Form(length, fit, window, stride, skeleton, parts, normalize),
            layout=layout,
            split=split,
            columns=Columns(series_column, time_column, label_column, group_column, channels),
            groups=groups,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        kept = {name: spec[name] for name in ("fit", "window", "stride", "skeleton", "normalize")}
        parts = None if spec["parts"] is None else ",".join(map(str, spec["parts"]))
        return kept | {"parts": parts, "length": None if spec["window"] else spec["length"]}

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        if dataset.spec.get("modality") != "series":
            raise DataError(f"The encoder was trained on series, the data is {dataset.spec.get('modality')!r}.")
        unequal = [
            f"{key} {spec[key]}, the data {dataset.spec[key]}" for key in _FORM if dataset.spec[key] != spec[key]
        ]
        if unequal:
            raise DataError(f"The encoder was trained on other series: with {'; with '.join(unequal)}.")

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=NAMES)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        if preferred in NAMES:
            return preferred
        return DEFAULT if spec["joints"] is None else DEFAULT_OF_SKELETONS

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return make_views(name or self.choose_views(spec, preferred=preferred), spec, count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        series: Tensor = batch["inputs"]
        return series

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        return series_descriptor(batch["inputs"])

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        no_task(name, self.name)
        return None

    def previews(self, dataset: Dataset, index: Tensor) -> list[bytes]:
        joints = dataset.spec["joints"]
        return [picture(one, joints=joints) for one in dataset.fetch(index)["inputs"].double().numpy()]


MODALITY = SeriesModality()
