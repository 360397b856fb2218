"""Graphs as tables: a list of edges, and beside it a table of nodes with features, labels and split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities import tables
from twofold.modalities.graph.readers.facts import (
    OneGraph,
    checked_features,
    checked_graph,
    labels_of,
    masks_of_words,
    splits_of,
    told_rows,
)
from twofold.modalities.shown import listed

EDGE_FILES = ("edges", "edge_list", "edgelist", "links", "relations")
NODE_FILES = ("nodes", "node_table", "features", "vertices")
_SOURCE = ("source", "src", "from", "u", "head", "node1")
_TARGET = ("target", "dst", "to", "v", "tail", "node2")
_WEIGHT = ("weight", "edge_weight", "w")
_ID = ("id", "node", "node_id", "name")
_SPLIT = ("split", "part", "fold")


def from_folder(folder: Path) -> OneGraph | None:
    """The graph of a folder with an edge table and perhaps a node table; None if it holds no edge table."""
    edges = _table(folder, EDGE_FILES)
    return None if edges is None else from_tables(edges, _table(folder, NODE_FILES))


def from_tables(edge_path: Path, node_path: Path | None = None) -> OneGraph:
    """A graph out of tables.

    Args:
        edge_path: Two columns that name nodes (source and target, or the first two), and perhaps a weight.
        node_path: One row a node: an id, a label and a split where there are such columns, and features: all other
            columns, which must hold numbers. Without it there are as many nodes as the edges name.

    Raises:
        DataError: Naming the rows at fault.
    """
    sources, targets, weight, notes = _edge_columns(edge_path)
    if node_path is None:
        ids = _in_order(sources + targets)
        edges = _numbered(ids, sources, targets, str(edge_path), "")
        graph = checked_graph(None, edges, weight, nodes=len(ids), where=str(edge_path))
        return OneGraph(graph, str(edge_path), ids=ids, notes=notes)
    where = str(node_path)
    names, _ = tables.column_names(node_path)
    table = tables.load_whole(node_path, names)
    id_column, label, split = (
        tables.pick(names, None, usual, where, option)
        for usual, option in ((_ID, "id"), (tables.LABEL_COLUMNS, "label"), (_SPLIT, "split"))
    )
    ids = _ids(table, id_column, where)
    edges = _numbered(ids, sources, targets, str(edge_path), f" of {where}")
    x = _features(table, [name for name in names if name not in (id_column, label, split)], where)
    graph = checked_graph(x, edges, weight, nodes=len(ids), where=str(edge_path))
    labels, class_names = labels_of(table[label].to_pylist() if label else None, len(ids), where, notes)
    masks = masks_of_words(table[split].to_pylist(), where) if split else {}
    return OneGraph(graph, where, labels, class_names, ids, splits_of(masks, len(ids), where), notes)


def _table(folder: Path, stems: tuple[str, ...]) -> Path | None:
    found = sorted(p for p in folder.iterdir() if p.stem.lower() in stems and p.suffix.lower() in tables.TABLES)
    if len(found) > 1:
        raise DataError(f"{folder} holds several tables of one kind: {listed(p.name for p in found)}; leave one there")
    return found[0] if found else None


def _edge_columns(path: Path) -> tuple[list[str], list[str], Any, list[str]]:
    """Both ends of the edges, their weights or None, and a remark on rows that could not be read."""
    names, _ = tables.column_names(path)
    where = str(path)
    source, target = (
        tables.pick(names, None, _SOURCE, where, "source"),
        tables.pick(names, None, _TARGET, where, "target"),
    )
    if source is None or target is None:
        if len(names) < 2:
            raise DataError(f"{where} must have two columns of nodes, source and target; it has: {listed(names)}")
        source, target = names[:2]
    weight = tables.pick(names, None, _WEIGHT, where, "weight")
    loaded = tables.load(path, [source, target] + ([weight] if weight else []))
    table, ends = loaded.sound_rows(), []
    for name in (source, target):
        values = table[name].to_pylist()
        empty = [i for i, value in enumerate(values) if value is None]
        if empty:
            raise DataError(
                f"{where}: column {name!r} is empty in {told_rows(torch.tensor(empty))}".removesuffix(" is")
            )
        ends.append([str(value) for value in values])
    return ends[0], ends[1], _number_column(table, weight, where) if weight else None, loaded.told("edges")


def _in_order(names: list[str]) -> list[str]:
    """Each name once, numbers in their order and before words, so that nodes 0 .. N − 1 keep their numbers."""
    return sorted(set(names), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def _ids(table: Any, column: str | None, where: str) -> list[str]:
    if column is None:
        return [str(i) for i in range(table.num_rows)]
    ids = [str(value) for value in table[column].to_pylist()]
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        again = next(name for name in ids if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"{where}: node {again!r} has more than one row; column {column!r} must name each node once")
    return ids


def _numbered(ids: list[str], sources: list[str], targets: list[str], where: str, nodes: str) -> np.ndarray:
    place = {name: i for i, name in enumerate(ids)}
    dangling = [i for i, ends in enumerate(zip(sources, targets, strict=True)) if not place.keys() >= set(ends)]
    if dangling:
        row = dangling[0]
        unknown = sources[row] if sources[row] not in place else targets[row]
        raise DataError(
            f"{where}: {len(dangling)} of {len(sources)} edges end at nodes that do not exist; row {row} names "
            f"{unknown[:80]!r}, which is none of the {len(ids)} nodes{nodes}"
        )
    return np.array([[place[name] for name in end] for end in (sources, targets)], dtype=np.int64).reshape(2, -1)


def _features(table: Any, names: list[str], where: str) -> Any:
    if not names:
        return None
    check_memory(8 * len(names) * table.num_rows, f"{where}: its features")
    columns = [_number_column(table, name, where) for name in names]
    return checked_features(np.stack(columns, 1), where)


def _number_column(table: Any, name: str, where: str) -> np.ndarray:
    import pyarrow as arrow

    kind = table.schema.field(name).type
    if not (arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_boolean(kind)):
        raise DataError(
            f"{where}: column {name[:80]!r} holds {kind}, and features are numbers. Leave it out, or make it numbers "
            "(one column a word or category)"
        )
    column: np.ndarray = table[name].cast(arrow.float32()).to_numpy()
    return column
