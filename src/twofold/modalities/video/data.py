"""Clips from anywhere: `read` turns a source into a data set, `summary` says what was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.folders import existing
from twofold.modalities.labels import label_sentence
from twofold.modalities.tables import TABLES
from twofold.modalities.video.clips import VideoClips
from twofold.modalities.video.readers.arrays import from_arrays, read_array_file
from twofold.modalities.video.readers.files import SUFFIXES, ClipSource, read_folders, read_listed
from twofold.modalities.video.readers.tables import read_table

__all__ = ["VideoClips", "read", "summary"]

_ARRAY_FILES = (".npy", ".npz")
_LIMITS = {"size": (8, 1024), "frames": (2, 1024), "stride": (1, 1024), "fps": (0.1, 240.0)}


def read(
    source: Any,
    *,
    size: int | None = None,
    frames: int | None = None,
    fps: float | None = None,
    stride: int | None = None,
    column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    cache: bool | None = None,
) -> Dataset:
    """Read clips, and labels where the source has some.

    Sources: a folder of films (.mp4, .webm, .avi, .mkv ...) and animations (.gif, .webp), or of numbered pictures,
    with or without class folders, or several (a list); one film or a list of them; a table .csv, .tsv, .jsonl or
    .parquet with a column of paths; a file .npy or .npz; a numpy array or torch tensor (n, t, h, w, c) or
    (n, t, c, h, w), a list of such without n, or either with labels, (clips, labels); a data set of ours, which is
    handed back. Of each clip the beginning is kept.

    Args:
        source: See above.
        size: Side of the squares that frames are squashed to, 8 to 1024 pixels. Default: the largest of 112, 96, 64,
            48, 32 that is not above the median shorter side of a sample of headers.
        frames: How many frames are kept of a clip, 2 to 1024; views see half of them. Default: what 95 % of a sample of
            clips do not exceed, at most 32.
        fps: Frames a second that films and animations are brought to by leaving out frames; slower ones keep all.
            Default: 8. Sequences of pictures and arrays have no times, and keep all.
        stride: Of the frames that then remain, every how manieth is kept. Default: 1.
        column: Of a table, the column of clips.
        label_column: Of a table, the column of classes.
        split: Which part of data that comes in parts, such as train or test. Default: train if there are several.
        cache: Keep decoded clips in memory. Default: if they take at most 2 GiB.

    Returns:
        A data set.

    Raises:
        ConfigError: For options that make no sense with this source.
        DataError: If there is nothing to read, or if more than half of it cannot be read.
        MissingExtraError: If PyAV (films) or Pillow (pictures) is needed and not installed.
    """
    form = {"size": size, "frames": frames, "fps": fps, "stride": stride}
    _check(form)
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        _check_same(source.spec, form)
        return source
    if isinstance(source, np.ndarray | Tensor):
        found = from_arrays(source, name="the array")
    elif isinstance(source, str | Path):
        found = _from_path(existing(source), column, label_column, split)
    elif isinstance(source, list | tuple):
        found = _from_several(source, column, label_column, split)
    else:
        raise DataError(
            f"cannot read clips from a {type(source).__name__}; see help(twofold.modalities.video.data.read)"
        )
    return VideoClips(found, size=size, frames=frames, fps=fps, stride=stride or 1, cache=cache)


def summary(dataset: Dataset) -> str:
    """One paragraph: how many clips, their form, their classes, and what was left out and why."""
    spec = dataset.spec
    colour = "grey" if spec["channels"] == 1 else "in colour"
    text = [
        f"{len(dataset):,} clips of up to {spec['frames']} frames, {spec['size']} × {spec['size']} pixels, {colour}.",
        label_sentence(dataset.labels, dataset.class_names, items="clips"),
    ]
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        text.append(f"{len(dataset.skipped)} could not be read so far and are left out, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in getattr(dataset, "notes", ())]
    return " ".join(text)


def _check(form: dict[str, Any]) -> None:
    problems = []
    for name, value in form.items():
        low, high = _LIMITS[name]
        kinds = (int, float) if name == "fps" else (int,)
        if value is not None and (
            not isinstance(value, kinds) or isinstance(value, bool) or not low <= float(value) <= high
        ):
            number = "a number" if name == "fps" else "a whole number"
            problems.append(f"{name}={value!r}: {number} within {low:g}..{high:g} is needed")
    if problems:
        raise ConfigError(problems)


def _check_same(spec: dict[str, Any], form: dict[str, Any]) -> None:
    problems = [
        f"{name}={value}: this data set was already read with {spec.get(name)}; set {name} there"
        for name, value in form.items()
        if value not in (None, spec.get(name))
    ]
    if problems:
        raise ConfigError(problems)


def _from_path(path: Path, column: str | None, label_column: str | None, split: str | None) -> ClipSource:
    if path.is_dir():
        return read_folders([path], split)
    suffix = path.suffix.lower()
    if suffix in _ARRAY_FILES:
        return read_array_file(path, split=split)
    if suffix in TABLES:
        return read_table(path, column=column, label_column=label_column)
    if suffix in SUFFIXES:
        return read_listed([path])
    readable = " ".join(sorted({*SUFFIXES, *_ARRAY_FILES, *TABLES}))
    raise DataError(f"{path}: files ending in {suffix or 'nothing'} are not read. Readable: {readable}, or a folder")


def _from_several(source: Sequence[Any], column: str | None, label_column: str | None, split: str | None) -> ClipSource:
    if len(source) == 0:
        raise DataError("an empty list holds no clips")
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str | Path):
        clips, labels = source
        return from_arrays(clips, labels, name="the array")
    if all(isinstance(item, np.ndarray | Tensor) for item in source):
        return from_arrays(source, name="the list")
    if not all(isinstance(item, str | Path) for item in source):
        kinds = sorted({type(item).__name__ for item in source})
        raise DataError(f"a list must hold only paths or only arrays, this one holds: {', '.join(kinds)}")
    if len(source) == 1:
        return _from_path(existing(source[0]), column, label_column, split)
    paths = [Path(item).expanduser() for item in source]
    if all(path.is_dir() for path in paths):
        return read_folders(paths, split)
    if any(path.is_dir() for path in paths):
        raise DataError("a list must hold only folders or only files, this one mixes them")
    return read_listed(paths)
