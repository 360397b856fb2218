"""Series that are arrays already: numpy, tensors, lists of them, .npy and .npz files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities.array_files import NpzArrays, open_npy
from twofold.modalities.folders import SPLITS, split_of
from twofold.modalities.labels import encode_labels
from twofold.modalities.series.recordings import Recordings

SERIES_KEYS = ("series", "sequences", "signals", "values", "pose", "data", "x", "X", "arr_0")
LABEL_KEYS = ("labels", "label", "y", "Y", "targets", "target", "arr_1")
GROUP_KEYS = ("groups", "group", "subjects", "subject")
_OFFSETS, _LENGTHS = ("offsets", "offset", "ptr"), ("lengths", "length")
_SKELETON = 3  # dimensions of a recording whose steps are (joints, coordinates)
_SHOWN = 8


def from_array(series: Any, *, name: str, channels_first: bool, recording: bool = False) -> Recordings:
    """Series of one array.

    Args:
        series: ``(n, steps, channels)``, ``(n, steps)`` with one channel, or ``(n, steps, joints, coordinates)``.
        name: What it is called, for messages.
        channels_first: It is ``(n, channels, steps)``.
        recording: An array of two dimensions or one is a single recording, ``(steps, channels)``.

    Raises:
        DataError: For other shapes and types.
    """
    array = numbers(series, name)
    if recording and array.ndim <= 2:
        return from_list([array], name=name, channels_first=channels_first)
    if not 2 <= array.ndim <= 1 + _SKELETON:
        shapes = "(n, steps, channels), (n, steps) or (n, steps, joints, coordinates)"
        hint = " (with window= it may be one recording)" if array.ndim == 1 else ""
        raise DataError(f"{name} has shape {array.shape}; series are {shapes}{hint}")
    if 0 in array.shape:
        raise DataError(f"{name} is empty: its shape is {array.shape}")
    check_memory(len(array) * SAMPLE_BYTES, name)
    return from_list(list(array), name=name, channels_first=channels_first)


def from_list(
    series: Sequence[Any], *, name: str, channels_first: bool = False, ids: Sequence[str] | None = None
) -> Recordings:
    """Series of different lengths: ``(steps, channels)``, ``(steps,)`` or ``(steps, joints, coordinates)`` each.

    Raises:
        DataError: If something in the list is no array of numbers, or has another shape.
    """
    ids = ids or [str(i) for i in range(len(series))]
    arrays = [numbers(one, f"{name}, series {i}") for i, one in enumerate(series)]
    joints = {one.shape[1] for one in arrays if one.ndim == _SKELETON}
    rows = [as_recording(one, f"{name}, series {i}", channels_first) for i, one in enumerate(arrays)]
    return Recordings(rows, ids, name, joints=joints.pop() if len(joints) == 1 else None)


def from_mapping(
    arrays: Mapping[str, Any], *, name: str, split: str | None, channels_first: bool, recording: bool = False
) -> Recordings:
    """Series with their labels and groups, by name.

    Looked for are series, values, data, x ...; labels, y, targets ...; groups, subjects ...; with a split also
    train_series, x_train and such. Series of different lengths are a list, or lie one after the other in one array,
    with offsets ``(n + 1,)`` or lengths ``(n,)``.

    Raises:
        DataError: If there are no series under a known name, or they do not go together.
    """
    key = find(arrays, SERIES_KEYS, split)
    if key is None:
        which = f" of split {split!r}" if split else ""
        raise DataError(f"{name} has no series{which} under a known name; it holds: {listed(arrays)}. Name it 'series'")
    part = split or next((split_of(word) for word in key.split("_") if split_of(word)), None)
    where = f"{name}[{key}]"
    found = _series(arrays, key, part, where, channels_first=channels_first, recording=recording)
    if part and split is None:
        found.notes.append(f"read {key!r} of {listed(arrays)}")
    if (label_key := find(arrays, LABEL_KEYS, part)) is not None:
        labels = arrays[label_key]
        found.labels, found.class_names = encode_labels(labels, f"{name}[{label_key}]", len(found.series))
    if (group_key := find(arrays, GROUP_KEYS, part)) is not None:
        found.groups = names_of(arrays[group_key], f"{name}[{group_key}]", len(found.series))
    return found


def from_file(path: Path, *, split: str | None, channels_first: bool, recording: bool) -> Recordings:
    """A .npy file, or the arrays of an .npz file: see :func:`from_array` and :func:`from_mapping`."""
    if path.suffix.lower() == ".npy":
        return from_array(open_npy(path), name=str(path), channels_first=channels_first, recording=recording)
    arrays = NpzArrays(path)
    return from_mapping(arrays, name=str(path), split=split, channels_first=channels_first, recording=recording)


def numbers(values: Any, name: str) -> np.ndarray:
    """An array of numbers, or a DataError."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        array = values.float().numpy() if values.is_floating_point() else values.numpy()
    else:
        array = values
    if not isinstance(array, np.ndarray):
        raise DataError(f"{name} is a {type(values).__name__}, not an array or tensor (steps, channels)")
    if array.dtype == object:
        raise DataError(f"{name} is an array of Python objects; give series of different lengths as a list of arrays")
    if array.dtype.kind not in "buif":
        raise DataError(f"{name} has type {array.dtype}; series are numbers")
    return array


def as_recording(array: np.ndarray, name: str, channels_first: bool) -> np.ndarray:
    """One series as ``(steps, channels)``; the coordinates of a joint lie side by side."""
    if array.ndim == 1:
        return array[:, None]
    if array.ndim == _SKELETON:
        return array.reshape(len(array), array.shape[1] * array.shape[2])
    if array.ndim != 2:
        raise DataError(
            f"{name} has shape {array.shape}; a series is (steps, channels), of bodies (steps, joints, coordinates)"
        )
    return array.T if channels_first else array


def names_of(values: Any, name: str, count: int) -> list[str]:
    """One name a recording, such as its subject's."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.shape != (count,) or array.dtype.kind not in "buiUS":
        raise DataError(f"{name} must be {count} whole numbers or texts, one a series; got {array.dtype} {array.shape}")
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in array.tolist()]


def find(arrays: Mapping[str, Any], names: Sequence[str], split: str | None) -> str | None:
    """One of the names, bare or joined to a split (x_train, train_x); by default to train."""
    bare = next((name for name in names if name in arrays), None)
    if split is None and bare is not None:
        return bare
    words = SPLITS.get(split_of(split or "train") or "", (split or "",))
    joined = (key for word in words for name in names for key in (f"{name}_{word}", f"{word}_{name}"))
    return next((key for key in joined if key in arrays), None)


def listed(names: Mapping[str, Any]) -> str:
    """The first names of a mapping, for a message."""
    shown = ", ".join(str(name)[:40] for name in list(names)[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown or "nothing"


def _series(
    arrays: Mapping[str, Any], key: str, part: str | None, where: str, *, channels_first: bool, recording: bool
) -> Recordings:
    values = arrays[key]
    if isinstance(values, list | tuple):
        return from_list(values, name=where, channels_first=channels_first)
    offsets, lengths = find(arrays, _OFFSETS, part), find(arrays, _LENGTHS, part)
    if offsets is None and lengths is None:
        return from_array(values, name=where, channels_first=channels_first, recording=recording)
    if offsets is not None:
        ends = _whole_numbers(arrays[offsets], f"{where}: {offsets}")
    else:
        ends = np.concatenate([[0], np.cumsum(_whole_numbers(arrays[str(lengths)], f"{where}: {lengths}"))])
    array = numbers(values, where)
    if channels_first:
        raise DataError(f"{where}: series one after the other are (all steps, channels); leave layout= out")
    return from_list(_packed(array, ends, where), name=where)


def _packed(array: np.ndarray, ends: np.ndarray, where: str) -> list[np.ndarray]:
    """Series that lie one after the other: the i-th is ``array[ends[i] : ends[i + 1]]``."""
    if not 1 <= array.ndim <= _SKELETON:
        raise DataError(f"{where} has shape {array.shape}; with offsets or lengths it is (all steps, channels)")
    places = [int(end) for end in ends.tolist()]
    rising = len(places) > 1 and all(first <= second for first, second in pairwise(places))
    if not rising or places[0] != 0 or places[-1] != len(array):
        raise DataError(
            f"{where}: where series begin must rise from 0 to the number of steps, {len(array):,}; it goes "
            f"from {places[0] if places else 'nothing'} to {places[-1] if places else 'nothing'}"
        )
    check_memory(len(places) * SAMPLE_BYTES, where)
    return [array[first:second] for first, second in pairwise(places)]


def _whole_numbers(values: Any, where: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "ui" or (array.size and array.min() < 0):
        raise DataError(f"{where} must be whole numbers from 0 up, one a series; got {array.dtype} {array.shape}")
    return array.astype(np.int64)
