"""Graphs from anywhere: `read` turns a source into a dataset of nodes or of graphs, `summary` says what was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.folders import existing
from twofold.modalities.graph.batches import Graph, GraphBatch, NodeBatch
from twofold.modalities.graph.links import HeldOut, hold_out
from twofold.modalities.graph.readers.edge_lists import from_folder, from_tables
from twofold.modalities.graph.readers.facts import ManyGraphs, NodeSplit, OneGraph
from twofold.modalities.graph.readers.files import from_npz
from twofold.modalities.graph.readers.objects import from_arrays, from_data, from_many, is_data
from twofold.modalities.graph.readers.public import from_name, is_name
from twofold.modalities.graph.readers.whole_graphs import from_text
from twofold.modalities.graph.tidying import degree_features, largest_degree, row_normalized, tidied
from twofold.modalities.labels import checked_index, label_sentence
from twofold.modalities.tables import TABLES
from twofold.options import Count, Fraction

__all__ = ["GraphData", "NodeData", "Normalize", "read", "summary"]

Normalize = Literal["auto", "rows", "columns", "none"]
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
_MOST_DEGREES = 255


class NodeData:
    """The nodes of one graph as a data set; every batch holds the whole graph, and says which nodes are its samples.

    Args:
        source: What a reader found.
        normalize: See :func:`read`.
        degrees: See :func:`read`.
        undirected: See :func:`read`.
        held_out: See :func:`read`.
        held_out_seed: See :func:`read`.

    Attributes:
        splits: The source's own splits.
        held_out: Edges that were taken out, and as many pairs without an edge; None if none were.
        notes: What else a user should know.
    """

    def __init__(
        self,
        source: OneGraph,
        *,
        normalize: Normalize = "auto",
        degrees: int | None = None,
        undirected: bool = True,
        held_out: float = 0.0,
        held_out_seed: int = 0,
    ) -> None:
        graph, notes = tidied(source.graph, undirected=undirected)
        self.held_out: HeldOut | None = None
        if held_out:
            graph, self.held_out = hold_out(graph, share=held_out, seed=held_out_seed, where=source.name)
        form, (self.graph,) = _with_features([graph], normalize, degrees, rows=True)
        self.labels, self.class_names, self.ids = source.labels, source.class_names, source.ids
        self.splits: list[NodeSplit] = source.splits
        self.notes = source.notes + notes
        self.skipped: dict[str, str] = {}
        self.spec: dict[str, Any] = {
            "modality": "graph",
            "level": "node",
            "samples": self.graph.nodes,
            "undirected": undirected,
            "held_out": held_out,
            "held_out_seed": held_out_seed,
        } | form

    def __len__(self) -> int:
        return self.graph.nodes

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The whole graph with these nodes as targets; see :class:`twofold.dataset.Dataset`."""
        index = checked_index(index, len(self))
        batch: dict[str, Any] = {"inputs": NodeBatch(self.graph, index), "index": index}
        return batch if self.labels is None else batch | {"label": self.labels[index]}


class GraphData:
    """Whole graphs as a data set.

    Args:
        source: What a reader found.
        normalize: See :func:`read`.
        degrees: See :func:`read`.
        undirected: See :func:`read`.

    Attributes:
        notes: What else a user should know.
    """

    def __init__(
        self,
        source: ManyGraphs,
        *,
        normalize: Normalize = "auto",
        degrees: int | None = None,
        undirected: bool = True,
    ) -> None:
        tidy = [tidied(graph, undirected=undirected)[0] for graph in source.graphs]
        form, self.graphs = _with_features(tidy, normalize, degrees, rows=False)
        self.labels, self.class_names, self.ids = source.labels, source.class_names, source.ids
        self.skipped, self.notes = dict(source.skipped), source.notes
        self.spec: dict[str, Any] = {
            "modality": "graph",
            "level": "graph",
            "samples": len(self.graphs),
            "undirected": undirected,
        } | form

    def __len__(self) -> int:
        return len(self.graphs)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """These graphs side by side; see :class:`twofold.dataset.Dataset`."""
        index = checked_index(index, len(self))
        if not len(index):
            raise DataError("a batch of graphs needs at least one")
        batch: dict[str, Any] = {"inputs": GraphBatch.of([self.graphs[i] for i in index.tolist()]), "index": index}
        return batch if self.labels is None else batch | {"label": self.labels[index]}


def read(
    source: Any,
    *,
    level: Literal["node", "graph"] | None = None,
    root: str | None = None,
    normalize: Normalize = "auto",
    degrees: Count | None = None,
    undirected: bool = True,
    held_out: Fraction = 0.0,
    held_out_seed: Count = 0,
) -> Dataset:
    """Read a graph whose nodes are the samples, or many graphs, and labels where the source has some.

    Sources: PyTorch Geometric's Data, a list of them, or a data set of that library; a pair (x, edge_index), or with
    labels (x, edge_index, y); an .npz file (edge_index, x, y, train_mask ..., or the sparse matrices of the Amazon and
    Coauthor sets); a folder with a table of edges (edges.csv: source, target, perhaps weight) and perhaps one of nodes
    (nodes.csv: id, label, split, and features), as CSV, TSV, JSON Lines or Parquet; a table of edges alone; a .txt file
    of many graphs in the form of graph kernels' sets; a public set by name, such as planetoid:Cora or tu:MUTAG; a data
    set of ours, which is handed back.

    Args:
        source: See above.
        level: What a sample is: "node" or "graph". Default: a node if the source is one graph, else a graph.
        root: For public sets by name: the folder that holds, or will hold, them. Their files are unpickled by PyTorch
            Geometric, so it must be a folder that you trust.
        normalize: "rows" divides each node's features by their sum (words of a paper); "columns" has the encoder
            bring each feature to mean 0 and deviation 1; "none" takes them as they are. "auto" takes columns if
            any feature is negative, else rows for nodes and none for graphs.
        degrees: Use the degree of a node as its feature, one-hot up to this number; 0 never. Default: only where the
            source has no features, up to the largest degree (at most 255).
        undirected: Add to every edge its reverse.
        held_out: Share of the edges taken out before anything else, to be predicted in the task "links".
        held_out_seed: Decides which.

    Returns:
        A dataset.

    Raises:
        ConfigError: For options that make no sense with this source.
        DataError: If there is nothing to read, or most of it is broken.
        MissingExtraError: If a public set is asked for, and PyTorch Geometric is not installed.
    """
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        return source
    if held_out >= 1:
        raise ConfigError(f"held_out={held_out}: some edges must be left; take 0.1, say")
    found = _as_level(_found(source, root, level), level)
    form: dict[str, Any] = {"normalize": normalize, "degrees": degrees, "undirected": undirected}
    if isinstance(found, OneGraph):
        return NodeData(found, held_out=float(held_out), held_out_seed=held_out_seed, **form)
    if held_out:
        raise ConfigError(f"held_out={held_out}: edges are held out of one graph, and {found.name} holds many")
    return GraphData(found, **form)


def summary(dataset: Any) -> str:
    """One paragraph: how many nodes, edges, features and classes, the source's splits, and what was changed."""
    spec = dataset.spec
    features = f"{spec['features']} features a node" + (" (one-hot degree)" if spec["degrees"] else "")
    if spec["level"] == "node":
        items = "nodes"
        text = [f"A graph of {len(dataset):,} nodes and {dataset.graph.edges:,} directed edges, {features}."]
        if dataset.splits:
            split = dataset.splits[0]
            sizes = " / ".join(f"{int(part.sum()):,}" for part in (split.train, split.val, split.test))
            more = f", and {len(dataset.splits) - 1} more splits" if len(dataset.splits) > 1 else ""
            text.append(f"Its own split: {sizes} nodes to train, choose and test{more}.")
        if dataset.held_out is not None:
            text.append(f"{dataset.held_out.positives.shape[1]:,} edges are held out.")
    else:
        items = "graphs"
        nodes = sum(graph.nodes for graph in dataset.graphs) / len(dataset)
        edges = sum(graph.edges for graph in dataset.graphs) / len(dataset)
        text = [f"{len(dataset):,} graphs of {nodes:.1f} nodes and {edges:.1f} directed edges on average, {features}."]
    text.append(label_sentence(dataset.labels, dataset.class_names, items=items))
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        text.append(f"{len(dataset.skipped)} could not be read and are left out, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in dataset.notes]
    return " ".join(text)


def _found(source: Any, root: str | None, level: str | None) -> OneGraph | ManyGraphs:
    if is_name(source):
        return from_name(source, root)
    if isinstance(source, str | Path):
        return _from_path(existing(source))
    if is_data(source):
        return from_data(source)
    if isinstance(source, tuple) and len(source) in (2, 3) and not is_data(source[0]):
        return from_arrays(*source)
    if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
        raise DataError(
            f"cannot read graphs from a {type(source).__name__}; see help(twofold.modalities.graph.data.read)"
        )
    if len(source) == 0:
        raise DataError("an empty list holds no graphs")
    if len(source) == 1 and level != "graph" and is_data(source[0]):
        return from_data(source[0])
    return from_many((source[i] for i in range(len(source))), name=f"the {type(source).__name__}")


def _from_path(path: Path) -> OneGraph | ManyGraphs:
    if path.is_dir():
        found = from_folder(path)
        if found is None:
            hint = ""
            if any(path.rglob("ind.*.graph")):
                hint = (
                    ". It holds Planetoid's raw files, which are pickled and read only for a set that is asked for by "
                    "name, in a folder that you trust: planetoid:Cora with root=FOLDER, and them in FOLDER/Cora/raw"
                )
            raise DataError(f"{path} holds no table of edges (edges.csv, edges.parquet ...){hint}")
        return found
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return from_npz(path)
    if suffix == ".txt":
        return from_text(path)
    if suffix in TABLES:
        return from_tables(path)
    if suffix in _PICKLES:
        raise DataError(
            f"{path}: pickled files are not read, because they can run any code. Load it yourself where you trust it, "
            "and give the Data object; or save x, edge_index and y as .npz"
        )
    raise DataError(f"{path}: graphs are not read from {suffix or 'such'} files. Known: .npz .txt {' '.join(TABLES)}")


def _as_level(found: OneGraph | ManyGraphs, level: str | None) -> OneGraph | ManyGraphs:
    if level == "node" and isinstance(found, ManyGraphs):
        raise ConfigError(f"level='node': {found.name} holds {len(found.graphs)} graphs; give one of them")
    if level == "graph" and isinstance(found, OneGraph):
        raise ConfigError(f"level='graph': {found.name} is one graph; graphs as samples need several")
    return found


def _with_features(
    graphs: list[Graph], normalize: Normalize, degrees: int | None, *, rows: bool
) -> tuple[dict[str, Any], list[Graph]]:
    """Graphs with the features that networks will see, and the facts about them for the spec."""
    own = graphs[0].x.shape[1] > 0
    if degrees == 0 and not own:
        raise DataError("the source has no features of nodes, and degrees=0 asks not to use their degrees instead")
    count = (0 if own else min(_MOST_DEGREES, max(map(largest_degree, graphs)))) if degrees is None else degrees
    if count or not own:
        graphs = [graph.with_features(degree_features(graph, count)) for graph in graphs]
    chosen = _normalization(graphs, normalize, rows=rows and not count)
    if chosen == "rows":
        graphs = [graph.with_features(row_normalized(graph.x)) for graph in graphs]
    spec: dict[str, Any] = {"features": graphs[0].x.shape[1], "degrees": count, "normalize": chosen}
    if chosen == "columns":
        x = torch.cat([graph.x for graph in graphs]).double()
        deviation = x.std(0, correction=0)
        spec["mean"] = x.mean(0).tolist()
        spec["std"] = torch.where(deviation > 1e-6, deviation, 1.0).tolist()
    return spec, graphs


def _normalization(graphs: list[Graph], normalize: Normalize, *, rows: bool) -> str:
    negative = any(bool((graph.x < 0).any()) for graph in graphs)
    if normalize == "rows" and negative:
        raise ConfigError("normalize='rows' divides features by their sum, and some are negative; take 'columns'")
    if normalize != "auto":
        return normalize
    return "columns" if negative else "rows" if rows else "none"
