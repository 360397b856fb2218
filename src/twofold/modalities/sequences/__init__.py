"""Sequences of items that users chose, one after the other; views of them, and a transformer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.hashed import hashed
from twofold.modalities.sequences import data, views
from twofold.modalities.sequences.data import Split
from twofold.modalities.sequences.encoders import check_name, make_encoder
from twofold.modalities.sequences.tasks import next_item_task
from twofold.modalities.sequences.views import PRESETS

__all__ = ["MODALITY", "SequencesModality"]

RAW_NUMBERS = 512
"""Of the raw features, into which larger catalogues are hashed."""
DECAY = 0.8
"""What an item weighs in the raw features for each later one."""
BATCH = 128
"""The paper's."""
_SHOWN = 5


class SequencesModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "sequences"
    item = "sequence"
    raw = "bag of items, recent ones first"
    default_encoder = "sasrec"

    def read(
        self,
        source: Any,
        *,
        split: Split = "train",
        length: int | None = None,
        min_rating: float | None = None,
        user_column: str | None = None,
        item_column: str | None = None,
        time_column: str | None = None,
        rating_column: str | None = None,
        like: dict | None = None,
    ) -> Dataset:
        """Read sequences; see :func:`twofold.modalities.sequences.data.read`.

        Args:
            source: Table (.csv, .tsv, .jsonl, .parquet, .inter), list (.txt), several of them, columns in memory, an
                array (m, 2 or 3) of users, items and times, or a data set that is read already.
            split: Leave the last two items of each user aside for the evaluation (train), or take all.
            length: Items that are kept of a user, the last ones; none takes what 95 % do not exceed, at most 50.
            min_rating: Events with a lower rating are left out.
            user_column: Of a table, the column of users.
            item_column: Of a table, the column of items.
            time_column: Of a table, the column of times.
            rating_column: Of a table, the column of ratings.
            like: From Python, the spec of other sequences, whose items are meant.
        """
        return data.read(
            source,
            split=split,
            length=length,
            min_rating=min_rating,
            user_column=user_column,
            item_column=item_column,
            time_column=time_column,
            rating_column=rating_column,
            like=like,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        """In use, all that a source tells of a user counts: nothing is held out."""
        names = ("user_column", "item_column", "time_column", "rating_column")
        known = {"items": spec["items"], "length": spec["length"]}
        return {"split": "all", "min_rating": spec["min_rating"], "like": known} | {
            name: spec[name] for name in names if name in spec
        }

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"batch_size": min(BATCH, int(spec["samples"])), "weight_decay": 0.0}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        if dataset.spec.get("modality") != "sequences":
            raise DataError(f"The encoder was trained on sequences, the data is {dataset.spec.get('modality')!r}.")
        if dataset.spec["items"] != spec["items"] or dataset.spec["length"] > spec["length"]:
            raise DataError(
                "The encoder has vectors of other items, or fewer places, than this data set has: read the data with "
                "like=recipe.spec, or give its source."
            )

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=PRESETS)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return views.chosen(preferred)

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return views.make_views(name, mask=len(spec["items"]) + 1, preferred=preferred, count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        sequences: Tensor = batch["inputs"]
        return sequences

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        """A bag of items, each weighing less the more came after it, ``(n, items)``, or hashed into fewer numbers."""
        items, places = batch["inputs"].abs(), batch["inputs"].shape[1]
        weight = DECAY ** torch.arange(places - 1, -1, -1, dtype=torch.float32) * (items > 0)
        width = min(len(spec["items"]), RAW_NUMBERS)
        column = items - 1
        if len(spec["items"]) > RAW_NUMBERS:
            drawn = hashed(items)
            column, weight = drawn % width, weight * (1 - 2 * (drawn >> 40 & 1))
        return torch.zeros(len(items), width).scatter_add(1, column.clamp(min=0), weight)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        """Which item comes next; see `twofold.modalities.sequences.tasks`."""
        return next_item_task(source, spec, test=test, name=name, reading=self.reading_for(spec) | reading)

    def previews(self, dataset: Dataset, index: Tensor) -> list[str]:
        """The last items of each, the latest at the end."""
        names: list[str] = dataset.spec["items"]
        rows = dataset.fetch(index)["inputs"].abs().tolist()
        return [" › ".join(names[item - 1] for item in row[-_SHOWN:] if item) for row in rows]


MODALITY = SequencesModality()
