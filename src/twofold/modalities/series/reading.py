"""From whatever holds series to a data set of them: :func:`read`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.folders import existing
from twofold.modalities.labels import encode_labels
from twofold.modalities.series.data import Form, Layout, SeriesData
from twofold.modalities.series.readers.arrays import from_array, from_file, from_list, from_mapping
from twofold.modalities.series.readers.folders import SUFFIXES, read_folders, read_list
from twofold.modalities.series.readers.tables import Columns, read_table
from twofold.modalities.series.readers.ts import read_ts
from twofold.modalities.series.recordings import Recordings, of_groups
from twofold.modalities.tables import TABLES

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def read(
    source: Any,
    *,
    form: Form | None = None,
    layout: Layout = "time-first",
    split: str | None = None,
    columns: Columns | None = None,
    groups: str | None = None,
) -> Dataset:
    """Read series.

    Args:
        source: Folder, several folders, file (.ts, .npy, .npz, table), list of files; array ``(n, steps, channels)``,
            ``(n, steps)`` or ``(n, steps, joints, coordinates)``; list of arrays of different lengths; a pair
            ``(series, labels)``; a mapping with series, labels, groups. Or a data set that is read already.
        form: What the series are brought to.
        layout: Of arrays: ``channels-first`` is ``(n, channels, steps)``.
        split: Which part of data that comes in parts, such as train or test.
        columns: Which columns of a table hold what.
        groups: Read only the recordings of these groups, separated by commas; moments are those of what is read.

    Raises:
        DataError: If it cannot be read; the message says what and where.
        ConfigError: If options contradict one another or the data.
    """
    form, columns = form or Form(), columns or Columns()
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        return _already_read(source, form)
    channels_first, recording = layout == "channels-first", form.window is not None
    if isinstance(source, str | Path):
        path = existing(source)
        found = _from_path(path, split, columns, channels_first=channels_first, recording=recording)
    elif isinstance(source, Mapping):
        found = from_mapping(
            source, name="the mapping", split=split, channels_first=channels_first, recording=recording
        )
    elif isinstance(source, np.ndarray | Tensor):
        found = from_array(source, name="the array", channels_first=channels_first, recording=recording)
    elif isinstance(source, list | tuple):
        found = _from_several(source, split, columns, channels_first=channels_first, recording=recording)
    else:
        raise DataError(
            f"cannot read series from a {type(source).__name__}; see help(twofold.modalities.series.reading.read)"
        )
    if groups is not None:
        found = of_groups(found, [name.strip() for name in groups.split(",")])
    return SeriesData(found, form)


def _already_read(source: Any, form: Form) -> Dataset:
    asked = {"length": form.length or form.window, "window": form.window, "skeleton": form.skeleton}
    other = [f"{k}={v}" for k, v in asked.items() if v is not None and source.spec.get(k) not in (None, v)]
    if other:
        raise ConfigError(f"{', '.join(other)}: this dataset was already read otherwise; set that there")
    return source


def _from_path(path: Path, split: str | None, columns: Columns, *, channels_first: bool, recording: bool) -> Recordings:
    if path.is_dir():
        return read_folders([path], split=split, columns=columns, channels_first=channels_first)
    suffix = path.suffix.lower()
    if suffix == ".ts":
        return read_ts(path)
    if suffix in (".npy", ".npz"):
        return from_file(path, split=split, channels_first=channels_first, recording=recording)
    if suffix in TABLES:
        return read_table(path, columns)
    if suffix in _PICKLES:
        raise DataError(f"{path}: pickled files are not read, because they can run any code; save arrays as .npz")
    known = " ".join((".ts", ".npz", *sorted({*SUFFIXES, *TABLES})))
    raise DataError(f"{path}: series are not read from {suffix or 'such'} files. Known: {known}")


def _from_several(
    source: Sequence[Any], split: str | None, columns: Columns, *, channels_first: bool, recording: bool
) -> Recordings:
    if len(source) == 0:
        raise DataError("an empty list holds no series")
    series, labels = _apart(source)
    if isinstance(series, np.ndarray | Tensor):
        found = from_array(series, name="the array", channels_first=channels_first, recording=recording)
    elif all(isinstance(item, str | Path) for item in series):
        found = _from_paths([existing(item) for item in series], split, columns, channels_first, recording)
    elif any(isinstance(item, str | Path) for item in series):
        raise DataError("a list must hold only paths or only arrays, this one mixes them")
    else:
        found = from_list(series, name="the list", channels_first=channels_first)
    if labels is not None:
        found.labels, found.class_names = encode_labels(labels, f"{found.name}: labels", len(found.series))
    return found


def _from_paths(
    paths: Sequence[Path], split: str | None, columns: Columns, channels_first: bool, recording: bool
) -> Recordings:
    if all(path.is_dir() for path in paths):
        return read_folders(paths, split=split, columns=columns, channels_first=channels_first)
    if len(paths) == 1:
        return _from_path(paths[0], split, columns, channels_first=channels_first, recording=recording)
    return read_list(paths, columns=columns, channels_first=channels_first)


def _apart(source: Sequence[Any]) -> tuple[Any, Any]:
    """Series and labels of a pair (series, labels); anything else has no labels."""
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str | Path):
        series, labels = source
        one_dimensional = isinstance(labels, np.ndarray | Tensor) and labels.ndim <= 1
        plain = isinstance(labels, list | tuple) and not any(isinstance(one, np.ndarray | Tensor) for one in labels)
        if one_dimensional or plain:
            return series, labels
    return source, None
