"""Sounds: recordings in files, arrays and tables; batched views; encoders of log-mel spectrograms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.audio import data, views
from twofold.modalities.audio.encoders import check_name, make_encoder
from twofold.modalities.audio.pictures import spectrogram_png
from twofold.modalities.audio.spectrogram import cepstrum, frame_count
from twofold.modalities.audio.views import PRESETS
from twofold.modalities.encoders import name_problems
from twofold.modalities.tasks import no_task

__all__ = ["MODALITY", "AudioModality"]

CEPSTRA = 20
"""Coefficients of the raw features, as usual for sounds; speech recognizers take 13."""


class AudioModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "audio"
    item = "sound"
    raw = "MFCC statistics"
    default_encoder = "logmel-convnet"

    def read(
        self,
        source: Any,
        *,
        rate: int | None = None,
        seconds: float | None = None,
        column: str | None = None,
        label_column: str | None = None,
        split: str | None = None,
        cache: bool | None = None,
    ) -> Dataset:
        """Read sounds; see :func:`twofold.modalities.audio.data.read`.

        Args:
            source: Folder, several folders, sound file, list of files, table (.csv, .tsv, .jsonl, .parquet), array
                file (.npy, .npz), array, or a data set that is read already.
            rate: Samples a second that all sounds are brought to; none takes the data's own, at most 16000. Of arrays
                that do not state theirs, the rate that they have.
            seconds: Length of a clip; none takes what nearly all sounds do not exceed, at most 10.
            column: Of a table, the column of sounds.
            label_column: Of a table, the column of classes.
            split: Which part of data that comes in parts, such as train or test.
            cache: Keep waveforms in memory; none does so up to 2 GiB.
        """
        return data.read(
            source,
            rate=rate,
            seconds=seconds,
            column=column,
            label_column=label_column,
            split=split,
            cache=cache,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"rate": spec["rate"], "seconds": spec["length"] / spec["rate"]}

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        ours = dataset.spec
        if ours.get("modality") != "audio":
            raise DataError(f"The encoder was trained on sounds, the data is {ours.get('modality')!r}.")
        if ours["rate"] != spec["rate"]:
            raise DataError(f"The encoder was trained at {spec['rate']} Hz, the sounds have {ours['rate']} Hz.")

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=PRESETS)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return preferred if preferred in views.PRESETS else views.DEFAULT

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return views.make_views(name or self.choose_views(spec, preferred=preferred), spec, count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        return views.whole_view(batch["inputs"], rate=int(spec["rate"]), length=batch.get("length"))

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        """Mean and deviation over time of the mel-frequency cepstral coefficients, ``(n, 40)``; without padding."""
        rate = int(spec["rate"])
        coefficients = cepstrum(self.prepare(batch, spec), CEPSTRA)
        length = batch.get("length", torch.full((len(coefficients),), batch["inputs"].shape[1]))
        frames = torch.tensor([frame_count(n, rate) for n in length.tolist()], device=coefficients.device)
        inside = (torch.arange(coefficients.shape[2], device=coefficients.device) < frames[:, None])[:, None]
        mean = (coefficients * inside).sum(2) / frames[:, None]
        deviation = ((coefficients - mean[..., None]).square() * inside).sum(2) / frames[:, None]
        return torch.cat([mean, deviation.sqrt()], 1)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        no_task(name, self.name)
        return None

    def previews(self, dataset: Dataset, index: Tensor) -> list[bytes]:
        spectrograms = self.prepare(dataset.fetch(index), dataset.spec)
        return [spectrogram_png(one) for one in spectrograms[:, 0]]


MODALITY = AudioModality()
