"""Clouds that are arrays already: numpy, tensors, lists of them, .npy and .npz files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.array_files import NpzArrays, open_npy
from twofold.modalities.folders import SPLITS, split_of
from twofold.modalities.labels import encode_labels
from twofold.modalities.points.clouds import CloudSource
from twofold.modalities.points.readers.shapes import MAX_COLUMNS, cloud_of_table

_POINT_KEYS = ("points", "clouds", "data", "x", "X", "pos", "xyz", "arr_0")
_LABEL_KEYS = ("labels", "label", "y", "Y", "targets", "target")
_OFFSETS = ("offsets", "offset", "ptr")
_SHOWN = 8


def from_array(clouds: Any, labels: Any = None, *, name: str, notes: Sequence[str] = ()) -> CloudSource:
    """Clouds of an array (n, p, 3 + columns), or one cloud (p, 3 + columns).

    Raises:
        DataError: For other shapes and types.
    """
    array = _numpy(clouds, name)
    if array.ndim == 2:
        array = array[None]
    turned = array.ndim == 3 and array.shape[1] == 3 < array.shape[2]
    if array.ndim != 3 or turned or not 3 <= array.shape[2] <= MAX_COLUMNS:
        hint = ". Its second axis has length 3: turn it with array.transpose(0, 2, 1)" if turned else ""
        raise DataError(
            f"{name} has shape {tuple(array.shape)}; clouds are (n, points, 3) or (n, points, 3 + columns){hint}"
        )
    if array.shape[1] == 0:
        raise DataError(f"{name} is empty: its shape is {tuple(array.shape)}")
    ids = [str(i) for i in range(len(array))]
    return _labelled(CloudSource(lambda i: cloud_of_table(array[i]), ids, name, notes=list(notes)), labels)


def from_list(clouds: Sequence[Any], labels: Any = None, *, name: str, ids: Sequence[str] | None = None) -> CloudSource:
    """Clouds of different sizes: arrays or tensors (p, 3 + columns) each.

    Raises:
        DataError: If something in the list is no array. Arrays that are no clouds are skipped when they are fetched.
    """
    arrays = [_numpy(cloud, f"{name}, entry {i}") for i, cloud in enumerate(clouds)]
    ids = ids or [str(i) for i in range(len(arrays))]
    return _labelled(CloudSource(lambda i: cloud_of_table(arrays[i]), ids, name), labels)


def from_array_file(path: Path, *, split: str | None) -> CloudSource:
    """A .npy file, or the points and labels of an .npz file.

    In .npz files these are looked for: points, clouds, data, x ... and labels, y, targets ...; with a split also
    train_points, x_train and such. Clouds of different sizes lie one after the other in points (total, 3 + columns),
    with offsets (n + 1,) that say where each begins and the last ends; or each in an array of its own.
    """
    if path.suffix.lower() == ".npy":
        return from_array(open_npy(path), name=str(path))
    arrays = NpzArrays(path)
    keys = list(arrays)
    wanted = split or (None if any(key in keys for key in _POINT_KEYS[:-1]) else "train")
    key = _find(keys, _POINT_KEYS, wanted)
    if key is None and split is not None:
        raise DataError(f"{path} has no points of split {split!r}; it holds: {_listed(keys)}")
    if key is None or (key == "arr_0" and "arr_1" in keys):
        return _arrays_apiece(arrays, path)
    part = next((split_of(word) for word in key.split("_") if split_of(word)), None)
    labels_key, offsets_key = _find(keys, _LABEL_KEYS, part), _find(keys, _OFFSETS, part)
    labels = None if labels_key is None else arrays[labels_key]
    where = f"{path}[{key}]"
    if offsets_key is not None:
        return _packed(arrays[key], arrays[offsets_key], labels, where)
    notes = [] if split or part is None else [f"read the array {key!r} of {_listed(keys)}"]
    return from_array(arrays[key], labels, name=where, notes=notes)


def _arrays_apiece(arrays: Mapping[str, np.ndarray], path: Path) -> CloudSource:
    """An .npz file with one array (p, 3 + columns) a cloud, named as it likes."""
    labels_key = next((key for key in _LABEL_KEYS if key in arrays), None)
    names = [key for key in arrays if key != labels_key]
    clouds = [arrays[key] for key in names]
    if not clouds or any(cloud.ndim != 2 or cloud.dtype.kind not in "buif" for cloud in clouds):
        raise DataError(
            f"{path} holds no clouds under a name that is known; it holds: {_listed(names)}. Name them 'points' and "
            "'labels'; clouds of different sizes one after the other, with 'offsets' (n + 1,)"
        )
    return from_list(clouds, None if labels_key is None else arrays[labels_key], name=str(path), ids=names)


def _packed(points: np.ndarray, offsets: np.ndarray, labels: Any, where: str) -> CloudSource:
    """Clouds of different sizes, one after the other in `points`; cloud i is points[offsets[i] : offsets[i + 1]]."""
    _numpy(points, where)
    if points.ndim != 2:
        raise DataError(f"{where} has shape {points.shape}; with offsets it must be (all points, 3 + columns)")
    if offsets.ndim != 1 or offsets.dtype.kind not in "ui" or len(offsets) < 2:
        raise DataError(f"{where}: offsets are {offsets.dtype} {offsets.shape}, not n + 1 whole numbers")
    ends = [int(offset) for offset in offsets.tolist()]
    rising = all(first <= second for first, second in pairwise(ends))
    if not rising or ends[0] != 0 or ends[-1] != len(points):
        raise DataError(
            f"{where}: offsets must rise from 0 to the number of points, {len(points):,}; they go from {ends[0]:,} to "
            f"{ends[-1]:,}{'' if rising else ' and fall in between'}"
        )
    ids = [str(i) for i in range(len(ends) - 1)]
    return _labelled(CloudSource(lambda i: cloud_of_table(points[ends[i] : ends[i + 1]]), ids, where), labels)


def _labelled(source: CloudSource, labels: Any) -> CloudSource:
    if labels is None:
        return source
    encoded, names = encode_labels(labels, f"{source.name}: labels", len(source.ids))
    return CloudSource(source.load, source.ids, source.name, encoded, names, source.notes)


def _numpy(values: Any, name: str) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        array = values.float().numpy() if values.is_floating_point() else values.numpy()
    else:
        array = values
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name} is a {type(values).__name__}, not an array or tensor (points, 3)")
    if array.dtype == object:
        raise DataError(f"{name} is an array of Python objects; give clouds of different sizes as a list of arrays")
    if array.dtype.kind not in "buif":
        raise DataError(f"{name} has type {array.dtype}; points are numbers")
    return array


def _find(keys: Sequence[str], names: Sequence[str], split: str | None) -> str | None:
    """The key among `keys` that is one of `names`, or for a split joined to it (x_train, train_x)."""
    bare = next((name for name in names if name in keys), None)
    if split is None:
        return bare
    words = SPLITS.get(split_of(split) or "", (split,))
    joined = (key for word in words for name in names for key in (f"{name}_{word}", f"{word}_{name}"))
    return next((key for key in joined if key in keys), bare if split == "train" else None)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40].encode("utf-8", "backslashreplace").decode() for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "nothing"
