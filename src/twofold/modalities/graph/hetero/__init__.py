"""Graphs with several kinds of nodes: nodes of one type as samples, meta-paths between them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from twofold.dataset import Dataset, Views
from twofold.errors import ConfigError
from twofold.evaluation import Task
from twofold.modalities.encoders import from_name, parsed
from twofold.modalities.graph.hetero import data, tasks, views
from twofold.modalities.graph.hetero.batches import HeteroBatch, HeteroGraph
from twofold.modalities.graph.hetero.data import read
from twofold.modalities.graph.hetero.encoders import ContextGCN, MetaPathGCN, SchemaAttention
from twofold.modalities.graph.hetero.views import PRESETS

__all__ = ["ENCODERS", "HETERO", "PRESETS", "HeteroBatch", "HeteroGraph", "check_name", "read", "reading_with"]

MOST_ANCHORS = 2**15
"""Nodes that are contrasted in a step at most, unless the user wants more: the time grows with their square."""
NEAREST = 128
"""Pairs that ``context`` propagates along, of each node and meta-path."""
_OPTIONS = {"w": "width"}

ENCODERS = {"gcn": (MetaPathGCN, "w"), "schema": (SchemaAttention, "w"), "context": (ContextGCN, "w")}
"""Name → function of the spec, and the letters of the options it takes."""


class Hetero:
    """See :class:`twofold.modalities.Modality`; reading is left to the modality itself."""

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        return data.reading_for(spec)

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"batch_size": min(int(spec["samples"]), MOST_ANCHORS)}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        data.check_fits(dataset, spec)

    def describe(self, dataset: Dataset) -> str:
        return data.summary(dataset)

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        return preferred if preferred in PRESETS else views.DEFAULT

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        return views.make_views(name or self.choose_views(spec, preferred=preferred), count=count)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        """An encoder by name, or a module of one's own.

        Names: ``gcn`` (a graph convolution on each meta-path and attention over them, HeCo's), ``schema`` (attention
        over direct neighbours, HeCo's), ``context`` (what lies on the way of each meta-path, and a GCN; MEOW's), all 64
        wide; ``gcn-w32``. A module of one's own takes a ``HeteroBatch``, gives ``(n, dim)`` and has the attribute
        ``dim``.
        """
        if isinstance(encoder, str):
            return from_name(encoder, spec, ENCODERS, _OPTIONS)
        if not isinstance(getattr(encoder, "dim", None), int):
            raise ConfigError(
                f"the encoder {type(encoder).__name__} must have an attribute dim: the width of the rows that it gives."
            )
        if not hasattr(encoder, "rebuild"):
            encoder.rebuild = {}  # type: ignore[assignment]
        return encoder

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> HeteroBatch:
        inputs: HeteroBatch = batch["inputs"]
        return inputs

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        return data.raw_features(batch)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        options = {key: value for key, value in (self.reading_for(spec) | reading).items() if key != "level"}
        return tasks.make_task(read(source, **options), name=name, apart=test is not None)

    def previews(self, dataset: Any, index: Tensor) -> list[str]:
        graph: HeteroGraph = dataset.graph
        sizes = {name: path.starts.diff() - 1 for name, path in graph.paths.items()}
        return [
            f"{dataset.ids[i]}: " + ", ".join(f"{int(count[i])} others by {name}" for name, count in sizes.items())
            for i in index.tolist()
        ]


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder of heterogeneous graphs has this name."""
    parsed(name, ENCODERS, _OPTIONS)


def reading_with(encoder: str | nn.Module | None) -> dict[str, Any]:
    """Reading options that an encoder asks for: MEOW's works on the most similar pairs of each meta-path."""
    wanted = isinstance(encoder, ContextGCN) or (isinstance(encoder, str) and encoder.split("-")[0] == "context")
    return {"nearest": NEAREST} if wanted else {}


HETERO = Hetero()
