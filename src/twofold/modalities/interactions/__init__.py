"""Interactions of users and items: one graph of both, its views, and a vector for each."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.encoders import name_problems
from twofold.modalities.interactions import data, views
from twofold.modalities.interactions.data import Split
from twofold.modalities.interactions.encoders import check_name, make_encoder
from twofold.modalities.interactions.graph import Bipartite, pure_svd
from twofold.modalities.interactions.nodes import Nodes
from twofold.modalities.interactions.tasks import ranking_task
from twofold.modalities.interactions.views import PRESETS

__all__ = ["MODALITY", "InteractionsModality", "Nodes"]

FACTORS = 64
"""Of the raw features; Cremonesi et al. take 50 to 300."""
PASSES, DRAWS = 100, 4
"""Times that each interaction is drawn in a run, on average, if so many are drawn for each sample."""
BATCH = 512


class InteractionsModality:
    """See :class:`twofold.modalities.Modality`."""

    name = "interactions"
    item = "user or item"
    raw = f"PureSVD, {FACTORS} factors"
    default_encoder = "lightgcn"

    def read(
        self,
        source: Any,
        *,
        split: Split = "train",
        held_out: float = data.HELD_OUT,
        split_seed: int = 0,
        min_rating: float | None = None,
        user_column: str | None = None,
        item_column: str | None = None,
        rating_column: str | None = None,
        like: dict | None = None,
    ) -> Dataset:
        """Read interactions; see :func:`twofold.modalities.interactions.data.read`.

        Args:
            source: Table (.csv, .tsv, .jsonl, .parquet, .inter), list (.txt), several of them, columns in memory, an
                array (m, 2) of users and items, or a data set that is read already.
            split: Leave the interactions that are held out for the evaluation aside (train), or take all.
            held_out: Share of the interactions that is held out, 0 to 0.9.
            split_seed: Which ones are held out.
            min_rating: Interactions with a lower rating are left out.
            user_column: Of a table, the column of users.
            item_column: Of a table, the column of items.
            rating_column: Of a table, the column of ratings.
            like: From Python, the spec of other interactions, whose users and items are meant.
        """
        return data.read(
            source,
            split=split,
            held_out=held_out,
            split_seed=split_seed,
            min_rating=min_rating,
            user_column=user_column,
            item_column=item_column,
            rating_column=rating_column,
            like=like,
        )

    def reading_with(self, encoder: str | nn.Module | None) -> dict[str, Any]:
        return {}

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        """In use, everything that a source tells is known: nothing is held out of it."""
        columns: dict[str, Any] = {
            key: spec[key] for key in ("user_column", "item_column", "rating_column") if key in spec
        }
        known = {"users": spec["users"], "items": spec["items"]}
        return {"split": "all", "min_rating": spec["min_rating"], "like": known, **columns}

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        """As many steps as suit the number of interactions, not of users and items; see :data:`PASSES`."""
        samples = int(spec["samples"])
        batch = min(BATCH, samples)
        steps = PASSES * int(spec["interactions"]) / (DRAWS * batch)
        return {"batch_size": batch, "epochs": max(1, math.ceil(steps / (samples // batch))), "weight_decay": 0.0}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        if dataset.spec.get("modality") != "interactions":
            raise DataError(f"The encoder was trained on interactions, the data is {dataset.spec.get('modality')!r}.")
        if any(dataset.spec[side] != spec[side] for side in ("users", "items")):
            raise DataError(
                "The encoder has vectors of other users and items than this data set has: read the data with "
                "like=recipe.spec, or give its source."
            )

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def problems(self, encoder: str | None, views: str | None) -> list[str]:
        return name_problems(encoder, views, check=check_name, presets=PRESETS)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return views.chosen(preferred)

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return views.make_views(name, preferred=preferred, count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Nodes:
        nodes: Nodes = batch["inputs"]
        return nodes

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        """PureSVD (Cremonesi et al., RecSys 2010): R Q for users and Q for items, ``(n, factors)``."""
        nodes: Nodes = batch["inputs"]
        assert isinstance(nodes.graph, Bipartite)
        return pure_svd(nodes.graph, FACTORS)[nodes.index]

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        """All items ranked for every user with held-out ones; see `twofold.modalities.interactions.tasks`."""
        return ranking_task(source, spec, test=test, name=name, reading=self._as_trained(spec) | reading)

    def _as_trained(self, spec: dict[str, Any]) -> dict[str, Any]:
        split = {key: spec[key] for key in ("split", "held_out", "split_seed") if key in spec}
        return self.reading_for(spec) | split

    def previews(self, dataset: Dataset, index: Tensor) -> list[str]:
        graph: Bipartite = dataset.fetch(index)["inputs"].graph
        return [f"{dataset.ids[i]}, {int(graph.degrees[i]):,} interactions" for i in index.tolist()]


MODALITY = InteractionsModality()
