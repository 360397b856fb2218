"""Pictures from anywhere: `read` turns a source into a dataset, `summary` says what was read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.image.readers.arrays import ImageArrays
from twofold.modalities.image.readers.arrow_tables import is_saved_dataset, read_parquet, read_saved
from twofold.modalities.image.readers.files import ImageFiles, Pictures, open_files
from twofold.modalities.image.readers.folders import read_folders, read_paths
from twofold.modalities.image.readers.hub import is_hub_dataset, read_hub
from twofold.modalities.image.readers.idx import choose_images, is_idx
from twofold.modalities.image.readers.memory import from_arrays, from_idx, from_pictures, read_array_file
from twofold.modalities.image.readers.text_tables import TEXT_TABLES, read_text_table
from twofold.modalities.pixels.decode import SUFFIXES

__all__ = ["ImageArrays", "ImageFiles", "read", "summary"]

_ARRAY_FILES = (".npy", ".npz", ".safetensors")
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar")


def read(
    source: Any,
    *,
    size: int | None = None,
    column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    cache: bool | str | None = None,
) -> Dataset:
    """Read pictures, and labels where the source has some.

    Sources: a folder of pictures, with or without class folders, or several (a list); one picture or a list of them; a
    folder of IDX files, of Parquet files, or written by Hugging Face's `save_to_disk`; a file .npy, .npz, .safetensors,
    .parquet, .csv, .tsv, .jsonl or IDX; a numpy array or torch tensor, or (images, labels); a list of PIL pictures; a
    `datasets.Dataset` or DatasetDict; a dataset of ours, which is handed back.

    Files may come from anybody: no code in them is run, and what would need more memory than is free is refused before
    it is allocated (see `twofold.limits`). A table may name pictures anywhere that its reader may read, and links in
    folders are followed: what is found there is decoded as a picture and nothing else. A folder of `save_to_disk`
    leads to files beside it only.

    Args:
        source: See above.
        size: Side, in pixels, of the squares all pictures are squashed to. Default: for arrays their shorter side;
            for files the largest of 32, 64, 96, 128, 160, 224 that is at most the median shorter side (of 256 spread
            headers), or that median if it is below 32.
        column: Of a table: the column of the pictures. Default: a usual name, or the only one that holds pictures.
        label_column: Of a table: the column of the classes. Default: a usual name such as "label", if it is there.
        split: "train", "test" or "val", where the source has splits. Default: "train" if there are several.
        cache: Of files: keep decoded pixels in memory. Default: if they take at most 2 GiB. "disk" keeps them on disk,
            for this run and later ones, in ``~/.cache/twofold/pictures`` (below ``$XDG_CACHE_HOME`` where that is
            set); "disk:FOLDER" in a folder of your choice. It may be deleted at any time.

    Returns:
        A dataset (`ImageArrays` or `ImageFiles`).

    Raises:
        ConfigError: For options that make no sense with this source.
        DataError: If there is nothing to read, if most of it cannot be read, or if there is no room for a cache.
        MissingExtraError: If the source needs a library that is not installed.
    """
    _check_size(size)
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        if size not in (None, source.spec.get("size")):
            raise ConfigError(f"size={size}: this dataset was already read at {source.spec['size']}; set size there")
        return source
    if isinstance(source, np.ndarray | Tensor):
        return from_arrays(source, size=size, source="the array")
    if is_hub_dataset(source):
        found = read_hub(source, column=column, label_column=label_column, split=split, name="the Hugging Face dataset")
        return open_files(found, size=size, cache=cache)
    if isinstance(source, str | Path):
        dataset = _read_path(_existing(source), size=size, column=column, label_column=label_column, split=split)
    elif isinstance(source, list | tuple):
        dataset = _read_several(source, size=size, column=column, label_column=label_column, split=split)
    else:
        raise DataError(
            f"cannot read pictures from a {type(source).__name__}; see help(twofold.modalities.image.data.read)"
        )
    return open_files(dataset, size=size, cache=cache) if isinstance(dataset, Pictures) else dataset


def summary(dataset: Dataset) -> str:
    """One paragraph: how many pictures, their form, their classes, and what was left out and why."""
    spec = dataset.spec
    colour = {1: "grey", 3: "RGB"}.get(spec["channels"], f"{spec['channels']} channels")
    text = [f"{len(dataset):,} pictures, {spec['size']} × {spec['size']}, {colour}.", _label_sentence(dataset)]
    skipped = list(dataset.skipped.items())
    if skipped:
        name, reason = skipped[0]
        text.append(f"{len(skipped)} could not be read so far and are left out, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in getattr(dataset, "notes", ())]
    return " ".join(text)


def _label_sentence(dataset: Dataset) -> str:
    if dataset.labels is None:
        return "No labels."
    known = dataset.labels[dataset.labels >= 0]
    counts = known.bincount()
    counts = counts[counts > 0]
    if len(counts) == 0:
        return "No picture has a label."
    origin = getattr(dataset, "label_source", None)
    low, high = int(counts.min()), int(counts.max())
    each = f"{low}" if low == high else f"{low}-{high}"
    names = ""
    if dataset.class_names:
        shown = ", ".join(dataset.class_names[:5])
        names = f" ({shown}{', ...' if len(dataset.class_names) > 5 else ''})"
    sentence = f"{len(counts)} classes{names}{f', from {origin}' if origin else ''}; {each} pictures a class"
    missing = len(dataset) - len(known)
    return sentence + (f"; {missing:,} without a label." if missing else ".")


def _check_size(size: int | None) -> None:
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 4096):
        raise ConfigError(f"size={size!r}: the side of the squares must be a whole number of pixels in 1..4096")


def _existing(source: str | Path) -> Path:
    if "://" in str(source):
        raise DataError(f"{source}: addresses are not read; download it, and give the folder or file")
    try:
        path = Path(source).expanduser()
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # names that are too long; ~ of nobody
        raise DataError(f"{source} cannot be looked for: {error}") from error
    if not exists:
        near = path.parent
        while not near.exists():
            near = near.parent
        raise DataError(f"{path} does not exist (the part that does: {near.resolve()})")
    return path


def _read_path(
    path: Path, *, size: int | None, column: str | None, label_column: str | None, split: str | None
) -> ImageArrays | Pictures:
    if path.is_dir():
        return _read_folder(path, size=size, column=column, label_column=label_column, split=split)
    if not path.is_file():
        raise DataError(f"{path} is no file but a pipe or a device; save its content in a file")
    suffix = path.suffix.lower()
    if is_idx(path.name):
        return from_idx(path, size=size)
    if suffix in _ARRAY_FILES:
        return read_array_file(path, size=size, split=split)
    if suffix == ".parquet":
        return read_parquet([path], column=column, label_column=label_column)
    if suffix in TEXT_TABLES:
        return read_text_table(path, column=column, label_column=label_column)
    if suffix in SUFFIXES:
        return read_paths([path])
    raise DataError(_unknown_file(path, suffix))


def _read_folder(
    folder: Path, *, size: int | None, column: str | None, label_column: str | None, split: str | None
) -> ImageArrays | Pictures:
    if is_saved_dataset(folder):
        return read_saved(folder, column=column, label_column=label_column, split=split)
    with os.scandir(folder) as entries:  # a Path a file is slow for millions of them
        names = sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())
    if any(is_idx(name) for name in names):
        chosen = choose_images(folder, split)
        notes = [] if split else [f"read {chosen.name}"]
        return from_idx(chosen, size=size, notes=notes)
    tables = [folder / name for name in names if name.lower().endswith(".parquet")]
    if tables and not any(Path(name).suffix.lower() in SUFFIXES for name in names):
        return read_parquet(_of_split(tables, split, folder), column=column, label_column=label_column)
    return read_folders([folder], split)


def _of_split(tables: list[Path], split: str | None, folder: Path) -> list[Path]:
    """The Parquet files of a split, by the usual names (train-00000-of-00002.parquet)."""
    wanted = split or "train"
    chosen = [path for path in tables if path.name.lower().startswith(wanted)]
    if split and not chosen:
        raise DataError(f"{folder} has no Parquet files whose names start with {split!r}: {tables[0].name}, ...")
    return chosen or tables


def _read_several(
    source: Sequence[Any], *, size: int | None, column: str | None, label_column: str | None, split: str | None
) -> ImageArrays | Pictures:
    if not source:
        raise DataError("an empty list holds no pictures")
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray | Tensor):
        return from_arrays(source[0], source[1], size=size, source="the array")
    if all(hasattr(item, "convert") and hasattr(item, "getbands") for item in source):
        return from_pictures(source, size=size)
    if not all(isinstance(item, str | Path) for item in source):
        kinds = sorted({type(item).__name__ for item in source})
        raise DataError(f"a list must hold only paths or only PIL pictures, this one holds: {', '.join(kinds)}")
    paths = [Path(item).expanduser() for item in source]
    if all(path.is_dir() for path in paths):
        return read_folders(paths, split)
    if len(paths) == 1:
        return _read_path(_existing(source[0]), size=size, column=column, label_column=label_column, split=split)
    if all(path.suffix.lower() == ".parquet" for path in paths):
        return read_parquet([_existing(path) for path in paths], column=column, label_column=label_column)
    if any(path.is_dir() for path in paths):
        raise DataError("a list must hold only folders or only files, this one mixes them")
    return read_paths(paths)


def _unknown_file(path: Path, suffix: str) -> str:
    if suffix in _PICKLES:
        return (
            f"{path} is not read: unpickling a file can run any code that is stored in it. Where you trust it, load it "
            "yourself, and save the pictures with np.savez(file, images=..., labels=...)"
        )
    if suffix in _ARCHIVES or path.name.lower().endswith((".tar.gz", ".tar.bz2", ".tar.xz")):
        return f"{path} is an archive; unpack it, and give the folder"
    readable = " ".join(sorted({*SUFFIXES, *_ARRAY_FILES, *TEXT_TABLES, ".parquet"}))
    return f"{path}: files ending in {suffix or 'nothing'} are not read. Readable: {readable}, IDX, or a folder"
