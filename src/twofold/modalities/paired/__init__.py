"""Pairs of two kinds of data at once: a picture and its caption, a sound and its transcript, a table row and a text.

The only modality that looks at others, and only through their common protocol: it reads, augments and encodes each
side as that side's own modality does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twofold import modalities
from twofold.dataset import Dataset, Views
from twofold.errors import ConfigError, DataError
from twofold.evaluation import Task
from twofold.modalities.paired import data, tasks
from twofold.modalities.paired import views as pair_views
from twofold.modalities.paired.dataset import OneSide, Pairs
from twofold.modalities.paired.encoders import DEFAULT, PairEncoder, make_encoder, parsed
from twofold.modalities.paired.readers.tables import Wanted
from twofold.modalities.paired.sides import SIDES, sides_of

__all__ = ["MODALITY", "OneSide", "PairEncoder", "PairedModality", "Pairs"]


class PairedModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "paired"
    item = "pair"
    raw = "raw features of both sides"
    default_encoder = DEFAULT

    def read(
        self,
        source: Any,
        *,
        first: str = "image",
        second: str = "text",
        side: str = "both",
        first_column: str | None = None,
        second_column: str | None = None,
        label_column: str | None = None,
        key_column: str | None = None,
        swap_column: str | None = None,
        split: str | None = None,
        prompts: str | None = None,
        form: dict[str, Any] | None = None,
    ) -> Dataset:
        """Read pairs; see :func:`twofold.modalities.paired.data.read`.

        Args:
            source: Table, folder, WebDataset shards, two sources as a tuple, a list of pairs, or a data set that is
                read already.
            first: Modality of the first side, with reading options of its own after a colon, such as image:size=32.
            second: The same of the second side.
            side: Both sides, or only the first or second: then the source may also be one of that modality alone.
            first_column: Of a table, the column of the first side; in shards, the ending of its files.
            second_column: The same of the second side.
            label_column: Of a table, the column of classes.
            key_column: Of a table, a column whose equal values belong together in retrieval; none takes samples that
                share a file or a text.
            swap_column: Of a table, a column of wrong texts, which the evaluation compares with the right ones.
            split: Which part of data that comes in parts, such as train or test.
            prompts: For the evaluation: a text with {} in place of the class name, or a file of such, one a line.
            form: What a trained recipe brings data to; given by the recipe itself.
        """
        return data.read(
            source,
            sides=data.sides_read(first, second, form),
            side=side,
            wanted=Wanted(first_column, second_column, label_column, key_column, swap_column),
            split=split,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {"form": {"encoder": encoder}} if isinstance(encoder, str) else {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        sides = sides_of(spec)
        form = {side: modality.reading_for(dict(spec[side])) for side, modality in sides.items()}
        return {side: modality.name for side, modality in sides.items()} | {"form": form}

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        wished = [modality.training_defaults(dict(spec[side])) for side, modality in sides_of(spec).items()]
        return {name: value for wishes in reversed(wished) for name, value in wishes.items()}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        if dataset.spec.get("modality") != "paired":
            raise DataError(
                f"The encoder was trained on pairs, the data is {dataset.spec.get('modality')!r}. To "
                "use one side of it: side='first' or side='second'."
            )
        theirs = sides_of(spec)
        for side, modality in sides_of(dataset.spec).items():
            if side not in theirs or theirs[side].name != modality.name:
                kinds = ", ".join(f"{name} is {one.name}" for name, one in theirs.items())
                raise DataError(f"The data's {side} side is {modality.name}; of the encoder's sides, {kinds}.")
            modality.check_fits(_Facts(dataset.spec[side]), dict(spec[side]))

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        found: list[str] = []
        if encoder is not None:
            try:
                parsed(encoder)
            except ConfigError as error:
                found += error.problems
        return found + (pair_views.problems_with(views) if views is not None else [])

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return pair_views.choose_views(spec, preferred=preferred)

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        chosen = name or self.choose_views(spec, preferred=preferred)
        return pair_views.make_views(chosen, spec, preferred=preferred, count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec, rebuild=rebuild or None)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        return {side: sides_of(spec)[side].prepare(_part(batch, side), dict(spec[side])) for side in batch["inputs"]}

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        """The raw features of the sides that there are, side by side, ``(n, d)``."""
        known = sides_of(spec)
        parts = [known[side].raw_features(_part(batch, side), dict(spec[side])) for side in batch["inputs"]]
        return torch.cat([part.flatten(1).float() for part in parts], 1)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        if name not in (None, *tasks.TASKS, "labels"):
            raise ConfigError(f"There is no task {name!r} for pairs; there are {', '.join(tasks.TASKS)}, and labels.")
        if name == "labels" or reading.get("side", "both") != "both":
            return None
        chosen = source if test is None else test
        options = self.reading_for(spec) | reading
        pairs = self.read(chosen, **options)
        if not isinstance(pairs, Pairs):
            return None
        return tasks.make_task(pairs, data.sides_read(**_sides_in(options)), name=name, prompts=options.get("prompts"))

    def previews(self, dataset: Dataset, index: Tensor) -> list[bytes] | list[str]:
        whole: Any = dataset
        while not isinstance(whole, Pairs | OneSide) and hasattr(whole, "dataset"):
            index, whole = whole.positions[index], whole.dataset
        if isinstance(whole, OneSide):
            side, rows = whole.dataset, whole.rows[index]
        elif isinstance(whole, Pairs):
            side, rows = whole.first, whole.first_rows[index]
        else:
            return [str(dataset.ids[i]) for i in index.tolist()]
        return modalities.get(side.spec["modality"]).previews(side, rows)


class _Facts:
    """A side's facts in the form of a data set, for a modality to check."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.labels: Tensor | None = None
        self.class_names: list[str] | None = None
        self.ids: Sequence[str] = ()
        self.skipped: dict[str, str] = {}

    def __len__(self) -> int:
        return int(self.spec.get("samples", 0))

    def fetch(self, index: Tensor) -> dict[str, Any]:
        raise DataError("facts alone hold no samples")


def _part(batch: dict[str, Any], side: str) -> dict[str, Any]:
    """One side of a batch as that side's modality gave it; of several choices the first."""
    inputs, extra = batch["inputs"][side], dict(batch.get(f"{side}_extra", {}))
    if side == "second" and "second_count" in batch:
        inputs, extra = pair_views.choose(inputs), pair_views.choose(extra)
    return {"inputs": inputs, "index": batch["index"]} | extra


def _sides_in(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in (*SIDES, "form") if name in options}


MODALITY = PairedModality()
