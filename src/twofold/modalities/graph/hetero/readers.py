"""Heterogeneous graphs from PyTorch Geometric's ``HeteroData`` and from folders as HeCo's data sets come in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.array_files import NpzArrays, open_npy
from twofold.modalities.graph.hetero.facts import Parts, check_links, merged
from twofold.modalities.graph.readers.facts import NodeSplit, checked_features, checked_graph, labels_of, splits_of
from twofold.modalities.shown import listed

_MASKS = ("train", "val", "test")


def from_data(data: Any, *, name: str = "the graph") -> Parts:
    """The parts of a ``HeteroData``: x, y and masks of its types, and the edges between them.

    Raises:
        DataError: Naming the type or relation at fault.
    """
    counts = {str(kind): _count(data, kind, name) for kind in data.node_types}
    if not counts:
        raise DataError(f"{name}: it has no nodes")
    x = {
        kind: checked_features(data[kind]["x"], f"{name}: x of {kind}")
        for kind in counts
        if data[kind].get("x") is not None
    }
    parts = Parts(name, counts, x, {})
    for source, relation, end in data.edge_types:
        where = f"{name}: {source}-{relation}-{end}"
        edges = _edges(data[source, relation, end].get("edge_index"), where)
        check_links(edges, (source, end), counts, where)
        if source == end:
            known = relation in parts.own
            parts.own[f"{source} {relation}" if known else relation] = (source, edges)
        else:
            parts.links = merged(parts.links, (source, end), edges)
    labelled = [kind for kind in counts if data[kind].get("y") is not None]
    if len(labelled) == 1:
        _take_labels(parts, data[labelled[0]], labelled[0])
    elif labelled:
        parts.notes.append(f"several types have labels ({listed(labelled)}), which are left out; target= names one")
    return parts


def _take_labels(parts: Parts, store: Any, kind: str) -> None:
    parts.target = kind
    count, where = parts.counts[kind], f"{parts.name}: {kind}"
    parts.labels, parts.class_names = labels_of(store.get("y"), count, where, parts.notes)
    masks = {part: store.get(f"{part}_mask") for part in _MASKS}
    found = splits_of({part: mask for part, mask in masks.items() if mask is not None}, count, where)
    parts.splits = {"" if len(found) == 1 else str(i): split for i, split in enumerate(found)}


def _count(data: Any, kind: str, name: str) -> int:
    store = data[kind]
    if store.get("x") is None and store.get("num_nodes") is None:
        raise DataError(
            f"{name}: how many nodes of {kind} there are is not said; set data[{kind!r}].num_nodes, or its x"
        )
    return len(store["x"]) if store.get("x") is not None else int(store["num_nodes"])


def _edges(values: Any, where: str) -> Tensor:
    if values is None:
        raise DataError(f"{where} has no edge_index")
    # A graph of its own, only to have the edges checked as all edges are; which nodes there are is checked later.
    return (
        checked_graph(None, values, where=where).edge_index if values.numel() else torch.empty(2, 0, dtype=torch.int64)
    )


def is_folder(path: Path) -> bool:
    """Whether a folder looks like one of HeCo's data sets: ``labels.npy`` and ``ab.txt`` for linked types a and b."""
    return (path / "labels.npy").is_file() and any(re.fullmatch(r"[a-z]{2}", f.stem) for f in path.glob("*.txt"))


def from_folder(path: Path) -> Parts:
    """The parts of a folder in the form of HeCo's data sets (github.com/liun-online/HeCo).

    Types have names of one letter: ``a_feat.npz`` (scipy's or numpy's format) features of a; ``ab.txt`` one link of a
    and b a line; ``aba.npz`` a meta-path matrix of scipy's; ``labels.npy``; ``train_20.npy`` and so on splits, as
    positions. Lists of neighbours saved as Python objects (``nei_a.npy``) are not read: the text files have the links.

    Raises:
        DataError: Naming the file at fault.
    """
    links_of = {tuple(file.stem): _text_links(file) for file in sorted(path.glob("*.txt")) if len(file.stem) == 2}
    x = {file.stem[0]: _features(file) for file in sorted(path.glob("?_feat.npz"))}
    named = [file for file in sorted(path.glob("*.npz")) if _is_palindrome(file.stem)]
    chains = [file.stem for file in named if _is_linked(file.stem, links_of)]  # whose matrix the links give, and counts
    adjacencies = {file.stem: _matrix(file) for file in named if file.stem not in chains}
    notes: list[str] = []
    classes = np.asarray(open_npy(path / "labels.npy"))
    labels, _ = labels_of(classes, len(classes), str(path), notes)
    counts = _counts(links_of, x, {name: shape for name, (_, shape) in adjacencies.items()}, path)
    target = _labelled(counts, [file.stem[0] for file in named], 0 if labels is None else len(labels), path)
    parts = Parts(str(path), counts, x, {}, target=target, labels=labels, notes=notes)
    for pair, edges in links_of.items():
        check_links(edges, (pair[0], pair[1]), counts, str(path / f"{''.join(pair)}.txt"))
        parts.links = merged(parts.links, (pair[0], pair[1]), edges)
    parts.usual = ["-".join(chain) for chain in chains]
    parts.own = {name: (name[0], edges) for name, (edges, _) in adjacencies.items()}
    parts.splits = _folder_splits(path, counts[target])
    return parts


def _is_palindrome(stem: str) -> bool:
    return len(stem) >= 3 and stem.isalpha() and stem == stem[::-1]


def _is_linked(chain: str, links: Mapping[tuple[str, ...], Tensor]) -> bool:
    return all((a, b) in links or (b, a) in links for a, b in pairwise(chain))


def _text_links(file: Path) -> Tensor:
    check_memory(32 * file.stat().st_size, f"{file}: its links")
    rows = []
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words:
                continue
            if len(words) != 2 or not all(re.fullmatch(r"\d{1,15}", word) for word in words):
                raise DataError(f"{file}, line {number}: {line.strip()[:60]!r} are not two numbers of nodes")
            rows.append((int(words[0]), int(words[1])))
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 2).T


def _features(file: Path) -> Tensor:
    with file.open("rb") as opened:
        plain = opened.read(6) == b"\x93NUMPY"  # one of HeCo's files is a .npy by another name
    if plain:
        return checked_features(np.asarray(open_npy(file)), str(file))
    (rows, columns), values, shape = _sparse(file)
    check_memory(4 * shape[0] * shape[1], f"{file}: features {shape}")
    dense = np.zeros(shape, np.float32)
    np.add.at(dense, (rows, columns), values)
    return checked_features(dense, str(file))


def _matrix(file: Path) -> tuple[Tensor, tuple[int, int]]:
    (rows, columns), values, shape = _sparse(file)
    if shape[0] != shape[1]:
        raise DataError(f"{file}: a meta-path matrix must be square, this one is {shape}")
    present = values != 0
    return torch.from_numpy(np.stack([rows[present], columns[present]]).astype(np.int64)), shape


def _sparse(file: Path) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, tuple[int, int]]:
    """Places, values and shape of a matrix that ``scipy.sparse.save_npz`` wrote."""
    arrays = NpzArrays(file)
    kind = bytes(arrays["format"]).strip(b"\0").decode("ascii", "replace") if "format" in arrays else "none"
    needed = {"coo": ("row", "col"), "csr": ("indptr", "indices"), "csc": ("indptr", "indices")}
    if kind not in needed or not {*needed[kind], "data", "shape"} <= set(arrays):
        raise DataError(f"{file} is no sparse matrix of scipy's (coo, csr or csc); it holds: {listed(arrays)}")
    first, second, values = arrays[needed[kind][0]], arrays[needed[kind][1]], arrays["data"]
    shape = tuple(int(length) for length in arrays["shape"].flatten())
    if (
        len(shape) != 2
        or values.dtype.kind not in "buif"
        or any(part.dtype.kind not in "iu" for part in (first, second))
    ):
        raise DataError(f"{file}: its arrays are not those of a sparse matrix; it is damaged")
    rows, columns = (first, second) if kind == "coo" else _expanded(first, second, file)
    if kind == "csc":
        rows, columns = columns, rows
    inside = len(rows) == len(columns) == len(values) and all(
        not len(part) or 0 <= int(part.min()) <= int(part.max()) < length
        for part, length in zip((rows, columns), shape, strict=True)
    )
    if not inside:
        raise DataError(f"{file}: its entries lie outside of the shape {shape} that it states; it is damaged")
    return (rows, columns), values, (shape[0], shape[1])


def _expanded(starts: np.ndarray, indices: np.ndarray, file: Path) -> tuple[np.ndarray, np.ndarray]:
    steps = np.diff(starts.astype(np.int64))
    if starts.ndim != 1 or len(starts) == 0 or starts[0] != 0 or starts[-1] != len(indices) or (steps < 0).any():
        raise DataError(f"{file}: indptr does not fit indices; it is damaged")
    return np.repeat(np.arange(len(steps)), steps.astype(np.int64)), indices


def _counts(
    links: Mapping[tuple[str, ...], Tensor], x: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, int]], path: Path
) -> dict[str, int]:
    """How many nodes each type has: what features or a matrix say, else what the links name."""
    counts: dict[str, int] = {}
    for (first, second), edges in links.items():
        for kind, row in ((first, edges[0]), (second, edges[1])):
            counts[kind] = max(counts.get(kind, 0), int(row.max()) + 1 if len(row) else 0)
    counts |= {name[0]: shape[0] for name, shape in shapes.items()}
    counts |= {kind: len(features) for kind, features in x.items()}
    for kind, count in counts.items():
        # A type without features gets a learned vector a node, as large as a single line of text may claim.
        check_memory(256 * count, f"{path}: {count:,} nodes of {kind}")
    return counts


def _labelled(counts: Mapping[str, int], ends: list[str], labels: int, path: Path) -> str:
    fitting = [kind for kind in sorted(set(ends) or counts) if counts.get(kind) == labels]
    if len(fitting) != 1:
        told = ", ".join(f"{kind}: {count}" for kind, count in counts.items())
        raise DataError(f"{path}: labels.npy has {labels} labels, which fit no single type; nodes by type: {told}")
    return fitting[0]


def _folder_splits(path: Path, nodes: int) -> dict[str, NodeSplit]:
    splits: dict[str, NodeSplit] = {}
    for train in sorted(path.glob("train*.npy")):
        name = train.stem.removeprefix("train").strip("_")
        files = {part: path / f"{part}{train.stem.removeprefix('train')}.npy" for part in _MASKS}
        if all(file.is_file() for file in files.values()):
            masks = {part: _mask(file, nodes) for part, file in files.items()}
            splits[name] = splits_of(masks, nodes, f"{path}, split {name}")[0]
    return splits


def _mask(file: Path, nodes: int) -> Tensor:
    places = np.asarray(open_npy(file))
    if (
        places.dtype.kind not in "ui"
        or places.ndim != 1
        or (len(places) and not 0 <= places.min() <= places.max() < nodes)
    ):
        raise DataError(f"{file}: it must hold positions of nodes, whole numbers from 0 to {nodes - 1}")
    mask = torch.zeros(nodes, dtype=torch.bool)
    mask[torch.from_numpy(places.astype(np.int64))] = True
    return mask
