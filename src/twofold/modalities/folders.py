"""Files of one kind in folder trees, with the classes that folder names give; for every modality that reads files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from twofold.errors import DataError

SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation", "dev"),
}
"""Names under which sets ship their splits."""


@dataclass
class FileTree:
    """What was found.

    Attributes:
        paths: Of the files, sorted within each root.
        ids: One readable name a file: its path below its root.
        labels: int64 (n,), or None where the folders name no classes.
        class_names: Names of the classes, or None.
        notes: What else a user should know.
    """

    paths: list[str]
    ids: list[str]
    labels: Tensor | None = None
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)


def existing(source: str | Path) -> Path:
    """A path that is there.

    Raises:
        DataError: If it is an address of the internet, or does not exist; the message says which part of it does.
    """
    if "://" in str(source):
        raise DataError(f"{source}: addresses are not read; download it, and give the folder or file")
    try:
        path = Path(source).expanduser()
        if path.exists():
            return path
        near = next(parent for parent in path.absolute().parents if parent.exists())
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null byte, no such user's home
        raise DataError(f"{str(source)[:80]!r} is no path ({error})") from error
    raise DataError(f"{path} does not exist (the part that does: {near})")


def listed_files(paths: Sequence[Path], *, suffixes: Collection[str], things: str) -> FileTree:
    """The files of a list, unlabelled.

    Raises:
        DataError: If some do not exist or are of another kind.
    """
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{len(missing)} of {len(paths)} listed files do not exist: {_first(missing)}")
    others = [str(path) for path in paths if path.suffix.lower() not in suffixes]
    if others:
        raise DataError(f"not {things}, by their endings: {_first(others)}. Known: {' '.join(sorted(suffixes))}")
    names = [str(path) for path in paths]
    return FileTree(names, names)


def read_trees(roots: Sequence[Path], *, suffixes: Collection[str], split: str | None, things: str) -> FileTree:
    """All files with certain endings below one or several folders.

    Where exactly one level of folders varies (root/cat/1.wav, root/dog/2.wav; also root/cat/takes/1.wav), its names are
    the classes. Otherwise there are no labels, and a note says why.

    Args:
        roots: Existing folders. Hidden files and folders are ignored; links are followed, each folder once.
        suffixes: Endings with a dot, in lower case.
        split: Read only the sub-folder of that split. None: of a root that consists of split folders, its train/.
        things: What the files are, for messages: "sound files".

    Raises:
        DataError: If there are no such files; the message lists what is there instead.
    """
    tree = FileTree([], [])
    classes: list[str | None] = []
    for root in roots:
        folder, found = files_below(root, suffixes=suffixes, split=split, things=things, notes=tree.notes)
        classes += folder_classes(found, folder, things, tree.notes)
        tree.paths += [str(folder / name) for name in found]
        tree.ids += found if len(roots) == 1 else [f"{root}/{name}" for name in found]
    tree.labels, tree.class_names = numbered(classes)
    return tree


def files_below(
    root: Path, *, suffixes: Collection[str], split: str | None, things: str, notes: list[str]
) -> tuple[Path, list[str]]:
    """The folder that is read (``root`` or the split below it), and the paths of its files relative to that, sorted.

    Arguments and errors are those of :func:`read_trees`; what else a user should know is added to ``notes``.
    """
    folder = _split_folder(root, split, notes)
    return folder, sorted(_walk(folder, suffixes, things, notes))


def numbered(classes: Sequence[str | None]) -> tuple[Tensor | None, list[str] | None]:
    """Labels (int64, -1 for None) and sorted names of samples' classes; nothing where no sample has one."""
    names = sorted({name for name in classes if name is not None})
    if not names:
        return None, None
    number = {name: i for i, name in enumerate(names)}
    return torch.tensor([-1 if name is None else number[name] for name in classes]), names


def split_of(name: str) -> str | None:
    """The split that a folder or file name stands for ("train", "test", "val"), or None."""
    return next((split for split, names in SPLITS.items() if name.lower() in names), None)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _split_folder(root: Path, split: str | None, notes: list[str]) -> Path:
    """`root`, or the folder of the wanted split below it."""
    folders = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not _hidden(entry.name))
    splits = {kind: name for name in folders if (kind := split_of(name))}
    if split is not None:
        chosen = splits.get(split_of(split) or "", split)
        if chosen not in folders:
            held = ", ".join(folders[:10]) or "no folders"
            raise DataError(f"{root} has no sub-folder for split {split!r}; it holds: {held}")
        return root / chosen
    if "train" in splits and len(folders) > 1 and all(map(split_of, folders)):
        others = ", ".join(name for name in folders if name != splits["train"])
        notes.append(f"read {splits['train']}/ only; {others} is left for evaluation (split=)")
        return root / splits["train"]
    return root


def _walk(root: Path, suffixes: Collection[str], things: str, notes: list[str]) -> Iterator[str]:
    """Relative paths of the files below `root`, with / between their parts."""
    others: Counter[str] = Counter()
    visited: set[tuple[int, int]] = set()
    closed: list[str] = []
    count = 0
    for folder, folders, files in os.walk(root, followlinks=True, onerror=lambda error: closed.append(str(error))):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link back up, or a second way to the same folder
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _hidden(name))
        relative = Path(folder).relative_to(root).as_posix()
        for name in files:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a file is slow for millions of them
            if _hidden(name):
                continue
            if suffix not in suffixes:
                others[suffix or "(no ending)"] += 1
                continue
            count += 1
            yield name if relative == "." else f"{relative}/{name}"
    if closed:
        notes.append(f"{len(closed)} folders could not be entered, such as: {closed[0]}")
    if not count:
        kinds = ", ".join(f"{suffix} ({number})" for suffix, number in others.most_common(8))
        there = f"Found instead: {kinds}" if kinds else "It is empty (hidden files are ignored)"
        raise DataError(f"{root} holds no {things}. {there}. Known: {' '.join(sorted(suffixes))}")


def folder_classes(found: Sequence[str], root: Path, things: str, notes: list[str]) -> list[str | None]:
    """The class of each relative path by its folders, or None for all (and a note why) if they do not say.

    Args:
        found: Relative paths, with / between their parts.
        root: What they are relative to, for notes.
        things: What they are, for notes.
        notes: Is added to.
    """
    parts = [name.split("/")[:-1] for name in found]
    depths = {len(part) for part in parts}
    if depths == {0}:
        return [None] * len(found)
    if len(depths) > 1:
        notes.append(f"no labels from folder names: the {things} of {root} lie at different depths")
        return [None] * len(found)
    varying = [level for level in range(depths.pop()) if len({part[level] for part in parts}) > 1]
    if len(varying) != 1:
        why = f"{len(varying)} levels of folders vary" if varying else f"all {things} lie in the same folder"
        notes.append(f"no labels from folder names: below {root}, {why}")
        return [None] * len(found)
    return [part[varying[0]] for part in parts]


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
