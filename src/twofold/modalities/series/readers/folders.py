"""Folders of recordings, one file each, with the classes that folder names give; and folders of .ts files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.array_files import open_npy
from twofold.modalities.folders import FileTree, listed_files, read_trees, split_of
from twofold.modalities.series.readers.arrays import as_recording, numbers
from twofold.modalities.series.readers.tables import Columns, read_table
from twofold.modalities.series.readers.ts import read_ts
from twofold.modalities.series.recordings import Recordings

SUFFIXES = (".npy", ".csv", ".tsv", ".parquet")
"""Endings of files that hold one recording."""


def read_folders(folders: Sequence[Path], *, split: str | None, columns: Columns, channels_first: bool) -> Recordings:
    """The recordings below folders: ``CLASS/NAME.npy`` and such; or the .ts file of a split.

    Raises:
        DataError: If there are none.
    """
    if len(folders) == 1 and (files := sorted(folders[0].glob("*.ts"))):
        return read_ts(_of_split(files, split, folders[0]))
    tree = read_trees(folders, suffixes=SUFFIXES, split=split, things="recordings")
    return _recordings(tree, ", ".join(map(str, folders)), columns, channels_first)


def read_list(paths: Sequence[Path], *, columns: Columns, channels_first: bool) -> Recordings:
    """The recordings of listed files."""
    tree = listed_files(paths, suffixes=SUFFIXES, things="recordings")
    return _recordings(tree, f"a list of {len(paths)} files", columns, channels_first)


def _of_split(files: Sequence[Path], split: str | None, folder: Path) -> Path:
    """``NAME_TRAIN.ts`` of a folder, or the file of another split, or the only one."""
    if len(files) == 1 and split is None:
        return files[0]
    wanted = split_of(split or "train") or split
    chosen = [path for path in files if split_of(path.stem.rpartition("_")[2]) == wanted]
    if len(chosen) != 1:
        held = ", ".join(path.name for path in files[:8])
        raise DataError(f"{folder} holds {len(chosen)} files NAME_{(split or 'train').upper()}.ts; it holds: {held}")
    return chosen[0]


def _recordings(tree: FileTree, name: str, columns: Columns, channels_first: bool) -> Recordings:
    found = Recordings([], [], name, class_names=tree.class_names, notes=tree.notes)
    series, ids, kept, joints = [], [], [], set()
    for i, path in enumerate(tree.paths):
        try:
            one = _read(Path(path), columns, channels_first)
        except DataError as error:
            found.skipped[tree.ids[i]] = str(error).removeprefix(f"{path}: ")
            continue
        series.append(one.series[0])
        ids.append(tree.ids[i])
        kept.append(i)
        joints.add(one.joints)
        found.channels = found.channels or one.channels
    found.series, found.ids = series, ids
    found.joints = joints.pop() if len(joints) == 1 else None
    found.labels = None if tree.labels is None else tree.labels[kept]
    if not series:
        reason = next(iter(found.skipped.items()))
        raise DataError(f"{name}: none of {len(tree.paths)} files could be read. The first: {reason[0]}: {reason[1]}")
    return found


def _read(path: Path, columns: Columns, channels_first: bool) -> Recordings:
    """The one recording of a file."""
    if path.suffix.lower() != ".npy":
        table = read_table(path, columns)
        if len(table.series) + len(table.skipped) != 1:
            count = len(table.series) + len(table.skipped)
            raise DataError(f"it holds {count} recordings; in a folder, a file is one (or give the table by itself)")
        return table
    check_memory(path.stat().st_size, str(path))
    array = numbers(np.array(open_npy(path)), "the array")  # a copy: each mapped file takes one of few mappings
    joints = array.shape[1] if array.ndim == 3 else None
    return Recordings([as_recording(array, "the array", channels_first)], [path.name], path.name, joints=joints)
