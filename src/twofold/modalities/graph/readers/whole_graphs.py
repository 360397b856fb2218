"""Many small graphs in one text file, in the form that graph kernels' sets are shared in (Xu et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.graph.batches import Graph
from twofold.modalities.graph.readers.facts import ManyGraphs, checked_graph
from twofold.modalities.labels import encode_labels

_LINE = 40  # bytes of memory that each byte of text may need


def from_text(path: Path) -> ManyGraphs:
    """The graphs of a text file: the number of graphs; of each a line ``nodes label``, and a line a node.

    A node's line is ``tag m neighbour_1 ... neighbour_m``, neighbours counted from 0. Tags become one-hot features,
    unless all are equal.

    Raises:
        DataError: Naming the line at fault.
    """
    check_memory(_LINE * path.stat().st_size, f"{path}: its graphs")
    try:
        text = path.read_text(encoding="ascii")
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: no text file of graphs ({error})") from error
    lines = enumerate(text.splitlines(), 1)
    (count,) = _numbers(path, lines, exactly=1)
    labels, tags, edges = [], [], []
    for _ in range(count):
        nodes, label = _numbers(path, lines, exactly=2)
        labels.append(label)
        found = [_node(path, lines) for _ in range(nodes)]
        tags.append([tag for tag, _ in found])
        pairs = [(neighbour, i) for i, (_, neighbours) in enumerate(found) for neighbour in neighbours]
        edges.append(torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T)
    values = sorted({tag for graph in tags for tag in graph})
    graphs = [
        _graph(graph_tags, values, graph_edges, f"{path}, graph {i}")
        for i, (graph_tags, graph_edges) in enumerate(zip(tags, edges, strict=True))
    ]
    if not graphs:
        raise DataError(f"{path}: it says that it holds no graphs")
    encoded, names = encode_labels(labels, f"{path}: labels", len(graphs))
    return ManyGraphs(graphs, str(path), encoded, names, [str(i) for i in range(len(graphs))])


def _graph(tags: list[int], values: list[int], edges: Tensor, where: str) -> Graph:
    if len(values) <= 1:
        return checked_graph(None, edges, nodes=len(tags), where=where)
    check_memory(4 * len(tags) * len(values), f"{where}: one-hot features of {len(values)} tags")
    place = {value: i for i, value in enumerate(values)}
    x = torch.nn.functional.one_hot(torch.tensor([place[tag] for tag in tags]), len(values)).float()
    return checked_graph(x, edges, where=where)


def _node(path: Path, lines: Iterator[tuple[int, str]]) -> tuple[int, list[int]]:
    number, values = _line(path, lines)
    if len(values) < 2 or values[1] < 0 or len(values) < 2 + values[1]:
        raise DataError(f"{path}, line {number}: a node's line must be 'tag m' and m neighbours")
    return values[0], values[2 : 2 + values[1]]


def _numbers(path: Path, lines: Iterator[tuple[int, str]], *, exactly: int) -> list[int]:
    number, values = _line(path, lines)
    if len(values) != exactly or values[0] < 0:
        wanted = "the number of graphs" if exactly == 1 else "'nodes label' of a graph"
        raise DataError(f"{path}, line {number}: {wanted} should stand here")
    return values


def _line(path: Path, lines: Iterator[tuple[int, str]]) -> tuple[int, list[int]]:
    number, text = next(lines, (0, ""))
    if number == 0:
        raise DataError(f"{path}: ends before all of its graphs have been read; it is cut off")
    try:
        return number, [int(word) for word in text.split()[: 2**20]]
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {text[:60]!r} are not whole numbers") from error
