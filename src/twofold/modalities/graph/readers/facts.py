"""What every reader gives, and the checks that all of them share: edges that name nodes, features that are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.graph.batches import Graph
from twofold.modalities.labels import encode_labels

_SHOWN = 5


@dataclass(frozen=True)
class NodeSplit:
    """Which nodes a given split trains on, chooses by and tests on; bool ``(N,)`` each, without overlap."""

    train: Tensor
    val: Tensor
    test: Tensor


@dataclass
class OneGraph:
    """A graph whose nodes are the samples.

    Attributes:
        graph: With ``x`` of no columns where the source has no features.
        name: The source, for messages.
        labels: int64 ``(N,)``, −1 where unknown; or None.
        class_names: Names of the classes, or None.
        ids: One readable name a node.
        splits: The source's own splits; none, one or several.
        notes: What else a user should know.
    """

    graph: Graph
    name: str
    labels: Tensor | None = None
    class_names: list[str] | None = None
    ids: Sequence[str] = ()
    splits: list[NodeSplit] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class ManyGraphs:
    """Graphs that are the samples, with attributes as of :class:`OneGraph`; broken ones stand in ``skipped``."""

    graphs: list[Graph]
    name: str
    labels: Tensor | None = None
    class_names: list[str] | None = None
    ids: Sequence[str] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def checked_graph(x: Any, edge_index: Any, edge_weight: Any = None, *, nodes: int | None = None, where: str) -> Graph:
    """A graph out of arrays or tensors.

    Args:
        x: Features ``(N, f)``, or None.
        edge_index: ``(2, e)``, whole numbers from 0 up.
        edge_weight: ``(e,)``, or None.
        nodes: N, where ``x`` is None; without it, what the edges name.
        where: The source, for messages.

    Raises:
        DataError: Naming the rows of features and the edges at fault.
    """
    edges = _edges(edge_index, where)
    if x is None:
        count = nodes if nodes is not None else int(edges.max()) + 1 if edges.numel() else 0
        features = torch.empty(count, 0)
    else:
        features = checked_features(x, f"{where}: x")
    if len(features) == 0:
        raise DataError(f"{where}: a graph without nodes")
    _check_ends(edges, len(features), where)
    weight = None if edge_weight is None else _weights(edge_weight, edges.shape[1], where)
    return Graph(features, edges, weight)


def checked_features(values: Any, where: str) -> Tensor:
    """Features as float32 ``(N, f)``.

    Raises:
        DataError: If they are no table of numbers, or hold NaN or infinities; it names the rows.
    """
    x = _tensor(values, where)
    if x.layout != torch.strided:
        x = x.to_dense()
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2 or x.is_complex():
        raise DataError(f"{where} has shape {tuple(x.shape)}; features must be (nodes, features), one row a node")
    x = x.float()
    broken = (~x.isfinite().all(1)).nonzero().flatten()
    if len(broken):
        raise DataError(
            f"{where}: {told_rows(broken)} NaN or infinite. Fill them in (with 0 or the column's mean, say), or leave "
            "these columns out"
        )
    return x.contiguous()


def _edges(values: Any, where: str) -> Tensor:
    edges = _tensor(values, f"{where}: edge_index")
    if edges.ndim != 2 or edges.shape[0] != 2:
        hint = "; transpose it" if edges.ndim == 2 and edges.shape[1] == 2 else ""
        raise DataError(f"{where}: edge_index has shape {tuple(edges.shape)}; it must be (2, edges){hint}")
    if edges.is_floating_point():
        broken = (edges != edges.round()).any(0).nonzero().flatten()
        if len(broken):
            raise DataError(f"{where}: edge_index must hold whole numbers; {told_rows(broken, 'edge')} not")
    return edges.long().contiguous()


def _check_ends(edges: Tensor, nodes: int, where: str) -> None:
    outside = ((edges < 0) | (edges >= nodes)).any(0).nonzero().flatten()
    if len(outside):
        named = ", ".join(f"{a}-{b}" for a, b in edges[:, outside[:_SHOWN]].T.tolist())
        raise DataError(
            f"{where}: {len(outside)} of {edges.shape[1]} edges name nodes that do not exist, such as {named}; there "
            f"are {nodes} nodes, 0 to {nodes - 1}. Number the nodes from 0 in the order of their features"
        )


def _weights(values: Any, edges: int, where: str) -> Tensor:
    weight = _tensor(values, f"{where}: edge_weight").float().flatten()
    if len(weight) != edges:
        raise DataError(f"{where}: {len(weight)} edge weights for {edges} edges; give one an edge")
    broken = (~weight.isfinite() | (weight < 0)).nonzero().flatten()
    if len(broken):
        raise DataError(f"{where}: edge weights must be finite and not negative; {told_rows(broken, 'edge')} not")
    return weight


def _tensor(values: Any, where: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach().cpu()
    array = np.asarray(values) if isinstance(values, np.ndarray | list | tuple) else None
    if array is None or array.dtype.kind not in "buif":
        what = f"{array.dtype}" if array is not None else type(values).__name__
        raise DataError(f"{where} must be an array or tensor of numbers, not {what}")
    return torch.from_numpy(np.ascontiguousarray(array).copy())


def told_rows(index: Tensor, thing: str = "row") -> str:
    """``"2 rows (3, 7) are"``: how many and where, for a message."""
    places = ", ".join(map(str, index[:_SHOWN].tolist())) + (", ..." if len(index) > _SHOWN else "")
    return f"{len(index)} {thing}{'s' if len(index) > 1 else ''} ({places}) {'are' if len(index) > 1 else 'is'}"


def labels_of(values: Any, count: int, where: str, notes: list[str]) -> tuple[Tensor | None, list[str] | None]:
    """Classes of nodes or graphs; measurements and several labels at once are left out, with a note."""
    if values is None:
        return None, None
    if isinstance(values, Tensor | np.ndarray):
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        if array.ndim == 2 and array.shape[1] > 1:
            notes.append(f"its labels have shape {array.shape}, several for each, and are left out")
            return None, None
        if array.dtype.kind == "f" and bool((array != np.round(array))[~np.isnan(array)].any()):
            notes.append("its labels are measurements, no classes, and are left out")
            return None, None
        values = array.astype(np.int64) if array.dtype.kind == "f" and not np.isnan(array).any() else array
    return encode_labels(values, f"{where}: labels", count)


def splits_of(masks: dict[str, Any], nodes: int, where: str) -> list[NodeSplit]:
    """The splits that masks named train, val and test give; masks ``(N, k)`` give k of them.

    Raises:
        DataError: If masks have another length, overlap, or one of train and test is missing or empty.
    """
    if not {"train", "test"} <= masks.keys():
        return []
    columns: dict[str, Tensor] = {}
    for name, values in masks.items():
        mask = _tensor(values, f"{where}: {name}_mask")
        if mask.shape[0] != nodes or mask.ndim > 2:
            raise DataError(
                f"{where}: {name}_mask has shape {tuple(mask.shape)} for {nodes} nodes; it must be one a node"
            )
        columns[name] = mask.bool().reshape(nodes, -1)
    count = max(mask.shape[1] for mask in columns.values())
    if any(mask.shape[1] not in (1, count) for mask in columns.values()):
        raise DataError(f"{where}: the masks hold different numbers of splits")
    none = torch.zeros(nodes, 1, dtype=torch.bool)
    parts = [columns.get(name, none).expand(nodes, count) for name in ("train", "val", "test")]
    splits = [NodeSplit(*(part[:, i].clone() for part in parts)) for i in range(count)]
    for split in splits:
        if ((split.train & split.val) | (split.train & split.test) | (split.val & split.test)).any():
            raise DataError(f"{where}: its train, val and test masks overlap; a node must stand in one of them at most")
        if not split.train.any() or not split.test.any():
            raise DataError(f"{where}: its train or test mask is empty")
    return splits


def masks_of_words(words: Sequence[Any], where: str) -> dict[str, Any]:
    """Masks out of one word a node: train, val (valid, validation, dev), test; anything else is in none."""
    same = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}
    plain = [same.get(str(word).strip().lower(), str(word).strip().lower()) for word in words]
    return {part: torch.tensor([word == part for word in plain]) for part in ("train", "val", "test") if part in plain}
