"""Sounds from anywhere: `read` turns a source into a data set, `summary` says what was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.audio.readers.arrays import AudioArrays, from_arrays, read_array_file
from twofold.modalities.audio.readers.decode import SUFFIXES
from twofold.modalities.audio.readers.facts import check_options
from twofold.modalities.audio.readers.files import AudioFiles, Sounds, open_files
from twofold.modalities.audio.readers.tables import TABLES, read_table
from twofold.modalities.folders import FileTree, existing, listed_files, read_trees
from twofold.modalities.labels import label_sentence

__all__ = ["AudioArrays", "AudioFiles", "read", "summary"]

_ARRAY_FILES = (".npy", ".npz")
_OTHER_CODECS = (".m4a", ".aac", ".wma", ".mp4", ".webm", ".mka", ".amr", ".ape")


def read(
    source: Any,
    *,
    rate: int | None = None,
    seconds: float | None = None,
    column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    cache: bool | None = None,
) -> Dataset:
    """Read sounds, and labels where the source has some.

    Sources: a folder of sound files, with or without class folders, or several (a list); one sound file or a list of
    them; a table .csv, .tsv, .jsonl or .parquet with a column of paths (Parquet: or of encoded sounds); a file .npy or
    .npz; a numpy array or torch tensor (n, samples), a list of those of one clip each, or (sounds, labels); a data set
    of ours, which is handed back. Of each sound the beginning is kept; channels are averaged; other sampling rates
    are resampled.

    Args:
        source: See above.
        rate: Samples a second that all sounds are brought to, 4000 to 192000. Default: the most frequent rate among
            256 spread headers, but at most 16000. For arrays that do not state theirs, it is the rate that they have.
        seconds: Length of a clip, 0.1 to 600: longer sounds are cut, encoders and views see shorter ones
            repeated. Default: what 95 % of the sampled sounds do not exceed, at most 10.
        column: Of a table, the column of sounds.
        label_column: Of a table, the column of classes.
        split: Which part of data that comes in parts, such as train or test. Default: train if there are several.
        cache: Of files: keep waveforms in memory. Default: if they take at most 2 GiB.

    Returns:
        A data set (`AudioArrays` or `AudioFiles`).

    Raises:
        ConfigError: For options that make no sense with this source.
        DataError: If there is nothing to read, or if more than half of it cannot be read.
        MissingExtraError: If soundfile is needed and not installed.
    """
    check_options(rate, seconds)
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        _check_same(source.spec, rate, seconds)
        return source
    if isinstance(source, np.ndarray | Tensor):
        return from_arrays(source, rate=rate, seconds=seconds, source="the array")
    if isinstance(source, str | Path):
        found = _read_path(existing(source), rate, seconds, column=column, label_column=label_column, split=split)
    elif isinstance(source, list | tuple):
        found = _read_several(source, rate, seconds, column=column, label_column=label_column, split=split)
    else:
        raise DataError(
            f"cannot read sounds from a {type(source).__name__}; see help(twofold.modalities.audio.data.read)"
        )
    return open_files(found, rate=rate, seconds=seconds, cache=cache) if isinstance(found, Sounds) else found


def summary(dataset: Dataset) -> str:
    """One paragraph: how many sounds, their form, their classes, and what was left out and why."""
    spec = dataset.spec
    seconds = spec["length"] / spec["rate"]
    text = [
        f"{len(dataset):,} sounds of up to {seconds:.3g} s at {spec['rate']:,} Hz, mono.",
        label_sentence(dataset.labels, dataset.class_names, items="sounds"),
    ]
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        text.append(f"{len(dataset.skipped)} could not be read so far and are left out, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in getattr(dataset, "notes", ())]
    return " ".join(text)


def _check_same(spec: dict[str, Any], rate: int | None, seconds: float | None) -> None:
    if rate not in (None, spec.get("rate")):
        raise ConfigError(f"rate={rate}: this data set was already read at {spec.get('rate')} Hz; set rate there")
    if seconds is not None and round(seconds * spec["rate"]) != spec["length"]:
        own = spec["length"] / spec["rate"]
        raise ConfigError(f"seconds={seconds:g}: this data set was already read with {own:g} s; set seconds there")


def _read_path(
    path: Path,
    rate: int | None,
    seconds: float | None,
    *,
    column: str | None,
    label_column: str | None,
    split: str | None,
) -> AudioArrays | Sounds:
    if path.is_dir():
        return _of_files(read_trees([path], suffixes=SUFFIXES, split=split, things="sounds"), str(path))
    suffix = path.suffix.lower()
    if suffix in _ARRAY_FILES:
        return read_array_file(path, rate=rate, seconds=seconds, split=split)
    if suffix in TABLES:
        return read_table(path, column=column, label_column=label_column)
    if suffix in SUFFIXES:
        return _of_files(listed_files([path], suffixes=SUFFIXES, things="sounds"), str(path))
    if suffix in _OTHER_CODECS:
        raise DataError(f"{path}: {suffix} is not read; convert it first: ffmpeg -i {path.name} {path.stem}.flac")
    readable = " ".join(sorted({*SUFFIXES, *_ARRAY_FILES, *TABLES}))
    raise DataError(f"{path}: files ending in {suffix or 'nothing'} are not read. Readable: {readable}, or a folder")


def _read_several(
    source: Sequence[Any],
    rate: int | None,
    seconds: float | None,
    *,
    column: str | None,
    label_column: str | None,
    split: str | None,
) -> AudioArrays | Sounds:
    if not source:
        raise DataError("an empty list holds no sounds")
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str | Path):
        return from_arrays(source[0], source[1], rate=rate, seconds=seconds, source="the array")
    if all(isinstance(item, np.ndarray | Tensor) for item in source):
        return from_arrays(list(source), rate=rate, seconds=seconds, source="the list")
    if not all(isinstance(item, str | Path) for item in source):
        kinds = sorted({type(item).__name__ for item in source})
        raise DataError(f"a list must hold only paths or only arrays, this one holds: {', '.join(kinds)}")
    if len(source) == 1:
        return _read_path(existing(source[0]), rate, seconds, column=column, label_column=label_column, split=split)
    paths = [Path(item).expanduser() for item in source]
    if all(path.is_dir() for path in paths):
        found = read_trees(paths, suffixes=SUFFIXES, split=split, things="sounds")
        return _of_files(found, ", ".join(map(str, paths)))
    if any(path.is_dir() for path in paths):
        raise DataError("a list must hold only folders or only files, this one mixes them")
    return _of_files(listed_files(paths, suffixes=SUFFIXES, things="sounds"), f"a list of {len(paths)} files")


def _of_files(found: FileTree, source: str) -> Sounds:
    return Sounds(
        load=found.paths.__getitem__,
        ids=found.ids,
        source=source,
        labels=found.labels,
        class_names=found.class_names,
        notes=list(found.notes),
    )
