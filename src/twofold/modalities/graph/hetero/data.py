"""The nodes of one type of a heterogeneous graph as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.modalities.graph.data import Normalize
from twofold.modalities.graph.hetero import facts, readers
from twofold.modalities.graph.hetero.batches import HeteroBatch, HeteroGraph
from twofold.modalities.graph.hetero.metapaths import most_similar
from twofold.modalities.graph.readers.facts import NodeSplit
from twofold.modalities.graph.readers.objects import is_hetero
from twofold.modalities.graph.tidying import row_normalized
from twofold.modalities.labels import checked_index, label_sentence

LEVEL = "hetero"
"""What ``spec["level"]`` says of these data sets."""


class HeteroNodes:
    """Target nodes as samples; all of them are read, and a batch carries the whole graph (see ``HeteroBatch``).

    Args:
        graph: With its meta-paths.
        parts: What was found in the source.
        normalize: See :func:`read`.
        nearest: See :func:`read`.
    """

    def __init__(
        self,
        graph: HeteroGraph,
        parts: facts.Parts,
        *,
        normalize: Normalize = "auto",
        nearest: int | None = None,
    ) -> None:
        forms = {kind: _form(graph, kind, normalize, parts.name) for kind in graph.counts}
        x = {kind: row_normalized(x) if forms[kind]["normalize"] == "rows" else x for kind, x in graph.x.items()}
        paths = {name: path if nearest is None else most_similar(path, nearest) for name, path in graph.paths.items()}
        graph = graph.changed(x=x, paths=paths)
        self.graph, self.name, self.notes = graph, parts.name, list(parts.notes)
        of_target = parts.target == graph.target
        self.labels: Tensor | None = parts.labels if of_target else None
        self.class_names: list[str] | None = parts.class_names if of_target else None
        self.splits: dict[str, NodeSplit] = parts.splits if of_target else {}
        self.ids: Sequence[str] = [f"{graph.target} {i}" for i in range(graph.nodes)]
        self.skipped: dict[str, str] = {}
        self.spec: dict[str, Any] = {
            "modality": "graph",
            "level": LEVEL,
            "target": graph.target,
            "types": forms,
            "neighbours": graph.neighbours(),
            "metapaths": {name: list(path.chain) for name, path in graph.paths.items()},
            "nearest": nearest,
            "normalize": normalize,
            "samples": graph.nodes,
        }

    def __len__(self) -> int:
        return self.graph.nodes

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """These nodes, in the whole graph."""
        index = checked_index(index, len(self))
        batch: dict[str, Any] = {"inputs": HeteroBatch(self.graph, index), "index": index}
        return batch if self.labels is None else batch | {"label": self.labels[index]}


def _form(graph: HeteroGraph, kind: str, normalize: Normalize, name: str) -> dict[str, Any]:
    """What networks need to know of a type: its nodes, the width of its features, and how these are scaled."""
    x, nodes = graph.x.get(kind), graph.counts[kind]
    if x is None or x.shape[1] == 0:
        return {"nodes": nodes, "features": 0, "normalize": "none"}
    negative = bool((x < 0).any())
    if normalize == "rows" and negative:
        raise ConfigError(
            f"normalize='rows' divides features by their sum, and some of {kind} in {name} are negative; "
            "take 'columns'."
        )
    chosen = ("columns" if negative else "rows") if normalize == "auto" else normalize
    form = {"nodes": nodes, "features": x.shape[1], "normalize": chosen}
    if chosen != "columns":
        return form
    return form | {"mean": float(x.mean()), "std": max(float(x.std()), 1e-6)}


def is_source(source: Any) -> bool:
    """Whether a source is a heterogeneous graph: a ``HeteroData``, or a folder in HeCo's form."""
    if isinstance(source, str | Path):
        try:
            return readers.is_folder(Path(source).expanduser())
        except OSError:
            return False
    return is_hetero(source)


def read(
    source: Any,
    *,
    target: str | None = None,
    metapaths: str | Sequence[str] | None = None,
    nearest: int | None = None,
    normalize: Normalize = "auto",
) -> HeteroNodes:
    """Read a heterogeneous graph.

    Args:
        source: A ``torch_geometric.data.HeteroData``, a folder as HeCo's data sets are, or what is read already.
        target: The type whose nodes are the samples; none takes the one that has labels.
        metapaths: Chains of types such as ``paper-author-paper,paper-subject-paper``, or names of the target's links
            with itself; none takes those that the source names and all links with itself, and where there are none,
            each neighbouring type and back.
        nearest: Of each meta-path only the pairs are kept that are among this many most similar of either node
            (PathSim); none keeps all.
        normalize: "rows" divides each node's features by their sum, "columns" has the encoder bring the features of
            each type to mean 0 and deviation 1, "none" takes them as they are. "auto" takes columns for types with
            negative features, else rows.

    Raises:
        ConfigError: If a type or meta-path is asked for that there is not.
        DataError: If the graph cannot be read.
    """
    if isinstance(source, HeteroNodes):
        return source
    if not is_source(source):
        raise DataError(
            f"{source!r:.80} is no heterogeneous graph: give a HeteroData, or a folder with labels.npy and links such "
            "as pa.txt"
        )
    parts = (
        readers.from_folder(Path(source).expanduser()) if isinstance(source, str | Path) else readers.from_data(source)
    )
    return HeteroNodes(
        facts.assemble(parts, target=target, wanted=metapaths), parts, normalize=normalize, nearest=nearest
    )


def reading_for(spec: dict[str, Any]) -> dict[str, Any]:
    """Reading options that bring other data to the form of ``spec``."""
    names = list(spec["metapaths"])
    return {
        "target": spec["target"],
        "metapaths": ",".join(names),
        "nearest": spec["nearest"],
        "normalize": spec["normalize"],
    }


def check_fits(dataset: Any, spec: dict[str, Any]) -> None:
    """Raise a DataError if a data set cannot go into networks built for ``spec``."""
    own = dataset.spec
    if own.get("level") != LEVEL:
        raise DataError("The encoder was trained on a heterogeneous graph, the data is a plain one.")
    unequal = [part for part in ("target", "neighbours", "metapaths") if own[part] != spec[part]]
    if unequal:
        raise DataError(
            "The encoder was trained on another heterogeneous graph: "
            + "; ".join(f"{part} {spec[part]}, the data {own[part]}" for part in unequal)
        )
    for kind, form in spec["types"].items():
        other = own["types"].get(kind, {"features": None, "nodes": None})
        if other["features"] != form["features"]:
            raise DataError(
                f"The encoder was trained with {form['features']} features of {kind}, not {other['features']}."
            )
        if form["features"] == 0 and other["nodes"] != form["nodes"]:
            raise DataError(
                f"{kind} has no features, so the encoder has learned a vector for each of its {form['nodes']} nodes; "
                f"the data has {other['nodes']}."
            )


def summary(dataset: Any) -> str:
    """One paragraph: types, links, meta-paths, classes, splits."""
    graph: HeteroGraph = dataset.graph
    kinds = ", ".join(
        f"{count:,} {kind} ({graph.x[kind].shape[1]:,} features)" if kind in graph.x else f"{count:,} {kind}"
        for kind, count in graph.counts.items()
    )
    paths = ", ".join(f"{name} ({len(path.partners):,} pairs)" for name, path in graph.paths.items())
    text = [
        f"A heterogeneous graph: {kinds}; the samples are nodes of type {graph.target}. Meta-paths: {paths}.",
        label_sentence(dataset.labels, dataset.class_names, items="nodes"),
    ]
    if dataset.splits:
        text.append(f"Splits of its own: {len(dataset.splits)}.")
    return " ".join(text + [f"Note: {note}." for note in dataset.notes])


def raw_features(batch: dict[str, Any]) -> Tensor:
    """Each target node's own features; without any, its number of partners on each meta-path. ``(n, d)``."""
    nodes: HeteroBatch = batch["inputs"]
    x = nodes.graph.x.get(nodes.graph.target)
    if x is None or x.shape[1] == 0:
        x = torch.stack([path.starts.diff().float() for path in nodes.graph.paths.values()], 1)
    return nodes.rows_of(x)
