"""Graphs with one kind of node and one kind of edge: nodes as samples, or graphs as samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from twofold.dataset import Dataset, Subset, Views
from twofold.errors import DataError
from twofold.evaluation import Task
from twofold.modalities.graph import data, graph_tasks, tasks, views
from twofold.modalities.graph.batches import Batch, GraphBatch, NodeBatch
from twofold.modalities.graph.encoders import make_encoder
from twofold.modalities.graph.views.presets import GRAPH_DEFAULT, NODE_DEFAULT, PRESETS
from twofold.options import options_of

MOST_ANCHORS = 2**15
"""Nodes that are contrasted in a step at most, unless the user wants more: the time grows with their square."""
_FORM = ("level", "features", "degrees", "normalize")
_READING = options_of(data.read)
_SHOWN = 6


class Homogeneous:
    """See :class:`twofold.modalities.Modality`; reading is left to the modality itself."""

    def reading_for(self, spec: dict[str, Any]) -> dict[str, Any]:
        options = {name: spec[name] for name in ("normalize", "degrees", "undirected")}
        if spec["level"] == "node":
            options |= {name: spec[name] for name in ("held_out", "held_out_seed")}
        return options

    def training_defaults(self, spec: dict[str, Any]) -> dict[str, Any]:
        return {"batch_size": min(spec["samples"], MOST_ANCHORS)} if spec["level"] == "node" else {"batch_size": 128}

    def check_fits(self, dataset: Dataset, spec: dict[str, Any]) -> None:
        unequal = [
            f"{key} {spec[key]}, the data {dataset.spec.get(key)}"
            for key in _FORM
            if dataset.spec.get(key) != spec[key]
        ]
        if unequal:
            raise DataError(f"The encoder was trained on other graphs: with {'; with '.join(unequal)}.")

    def describe(self, dataset: Dataset) -> str:
        return data.summary(_whole(dataset))

    def choose_views(self, spec: dict[str, Any], *, preferred: str) -> str:
        if preferred in PRESETS:
            return preferred
        return NODE_DEFAULT if spec["level"] == "node" else GRAPH_DEFAULT

    def make_views(self, name: str | None, spec: dict[str, Any], *, preferred: str, count: int) -> Views:
        fill = tuple(spec["mean"]) if spec["normalize"] == "columns" else None
        return views.make_views(name or self.choose_views(spec, preferred=preferred), count=count, fill=fill)

    def make_encoder(self, encoder: str | nn.Module, spec: dict[str, Any], *, rebuild: dict[str, Any]) -> nn.Module:
        return make_encoder(encoder, spec)

    def prepare(self, batch: dict[str, Any], spec: dict[str, Any]) -> Batch:
        inputs: Batch = batch["inputs"]
        return inputs

    def raw_features(self, batch: dict[str, Any], spec: dict[str, Any]) -> Tensor:
        """A node's own features; of a graph their mean, their sum, and the numbers of nodes and edges."""
        inputs = batch["inputs"]
        if isinstance(inputs, NodeBatch):
            return inputs.rows_of(inputs.x)
        sizes = inputs.ptr.diff()[:, None].float()
        edges = inputs.membership[inputs.edge_index[0]].bincount(minlength=len(inputs))[:, None].float()
        return torch.cat([inputs.mean_of(inputs.x), inputs.sum_of(inputs.x), sizes, edges], 1)

    def task(
        self, source: Any, spec: dict[str, Any], *, test: Any = None, name: str | None = None, **reading: Any
    ) -> Task | None:
        options = {"level": spec["level"]} | self.reading_for(spec) | reading
        dataset = data.read(source, **{key: value for key, value in options.items() if key in _READING})
        if isinstance(dataset, data.GraphData):
            return graph_tasks.make_task(dataset, source, name=name, apart=test is not None)
        return tasks.make_task(dataset, name=name, apart=test is not None)

    def previews(self, dataset: Any, index: Tensor) -> list[str]:
        inputs, ids = dataset.fetch(index)["inputs"], _whole(dataset).ids
        if isinstance(inputs, GraphBatch):
            edges = inputs.membership[inputs.edge_index[0]].bincount(minlength=len(inputs)).tolist()
            return [f"{nodes} nodes, {e} edges" for nodes, e in zip(inputs.ptr.diff().tolist(), edges, strict=True)]
        return [_node_preview(ids, inputs, node) for node in inputs.targets.tolist()]


def _whole(dataset: Any) -> Any:
    """The graph or graphs of which a data set is a part, or that it is."""
    return dataset.dataset if isinstance(dataset, Subset) else dataset


def _node_preview(ids: Sequence[str], batch: NodeBatch, node: int) -> str:
    source, target = batch.edge_index
    neighbours = source[target == node].tolist()
    shown = ", ".join(ids[i] for i in neighbours[:_SHOWN]) + (", ..." if len(neighbours) > _SHOWN else "")
    return f"{ids[node]}: {len(neighbours)} neighbours" + (f" ({shown})" if neighbours else "")
