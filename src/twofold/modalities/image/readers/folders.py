"""Pictures in folder trees."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from twofold.errors import DataError
from twofold.modalities.image.readers.files import Pictures
from twofold.modalities.pixels.decode import SUFFIXES
from twofold.modalities.shown import listed, printable

SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing", "t10k"),
    "val": ("val", "valid", "validation", "dev"),
}
"""Names under which sets ship their splits."""


def read_folders(roots: Sequence[Path], split: str | None) -> Pictures:
    """All pictures below one or several folders.

    Labels: where exactly one level of folders varies (root/cat/1.jpg, root/dog/2.jpg; also root/cat/images/1.jpg), the
    names on that level are the classes. Otherwise the pictures have no labels, and a note says why.

    Args:
        roots: Existing folders. Hidden files and folders are ignored; links are followed, each folder once.
        split: Read only the sub-folder of that split. None: if a root consists of split folders, its train/.

    Raises:
        DataError: If there are no pictures; the message lists the kinds of files that are there.
    """
    notes: list[str] = []
    paths: list[str] = []
    ids: list[str] = []
    classes: list[str | None] = []
    for root in roots:
        folder = _split_folder(root, split, notes)
        found = _walk(folder, notes)
        classes += _classes(found, folder, notes)
        paths += [os.path.join(folder, name) for name in found]  # noqa: PTH118 - a Path a file is slow for millions
        prefix = "" if len(roots) == 1 else f"{root}/"
        ids += [printable(prefix + name) for name in found]
    names = sorted({name for name in classes if name is not None})
    number = {name: i for i, name in enumerate(names)}
    labels = torch.tensor([-1 if name is None else number[name] for name in classes])
    return Pictures(
        load=paths.__getitem__,
        ids=ids,
        source=", ".join(map(str, roots)),
        labels=labels if names else None,
        class_names=[printable(name) for name in names] or None,
        label_source="folder names" if names else None,
        notes=notes,
    )


def read_paths(paths: Sequence[Path]) -> Pictures:
    """The listed picture files, unlabelled."""
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(f"{len(missing)} of {len(paths)} listed files do not exist: {', '.join(missing[:3])}{more}")
    names = [str(path) for path in paths]
    return Pictures(
        load=names.__getitem__, ids=[printable(name) for name in names], source=f"a list of {len(names)} files"
    )


def split_of(name: str) -> str | None:
    """The split that a folder or file name stands for ("train", "test", "val"), or None."""
    lowered = name.lower()
    return next((split for split, names in SPLITS.items() if lowered in names), None)


def choose_split(names: Sequence[str], split: str | None, where: str) -> str:
    """Which of the named splits is meant by `split`; None: the only one, or the training split.

    Raises:
        DataError: If there is none of that kind.
    """
    if split is None and len(names) == 1:
        return names[0]
    wanted = split or "train"
    kind = split_of(wanted)
    alike = [name for name in names if name == wanted] or [name for name in names if kind and split_of(name) == kind]
    if not alike:
        raise DataError(f"{where} has no split {wanted!r}; it has: {listed(names)} (split=)")
    return alike[0]


def _split_folder(root: Path, split: str | None, notes: list[str]) -> Path:
    """`root`, or the folder of the wanted split below it."""
    with os.scandir(root) as entries:
        found = sorted((entry.name, entry.is_dir()) for entry in entries if not _hidden(entry.name))
    folders = [name for name, is_folder in found if is_folder]
    splits = {kind: root / name for name in folders if (kind := split_of(name))}
    if split is not None:
        wanted = split_of(split) or split
        chosen = splits.get(wanted) or root / split
        if not chosen.is_dir():
            held = ", ".join(name for name, _ in found[:10]) or "nothing"
            raise DataError(f"{root} has no sub-folder for split {split!r}; it holds: {held}")
        return chosen
    if "train" in splits and all(split_of(name) for name in folders) and len(folders) > 1:
        others = ", ".join(name for name in folders if root / name != splits["train"])
        notes.append(f"read {splits['train'].name}/ only; {others} is left for evaluation (split=)")
        return splits["train"]
    return root


def _walk(root: Path, notes: list[str]) -> list[str]:
    """Relative paths of the pictures below `root`, sorted; raises if there are none."""
    found: list[str] = []
    others: Counter[str] = Counter()
    visited: set[tuple[int, int]] = set()
    closed: list[str] = []
    for folder, folders, files in os.walk(root, followlinks=True, onerror=lambda error: closed.append(str(error))):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link back up, or a second way to the same folder
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _hidden(name))
        relative = os.path.relpath(folder, root)
        for name in files:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a Path a file is slow for millions of them
            if _hidden(name):
                continue
            if suffix in SUFFIXES:
                found.append(name if relative == "." else f"{relative}/{name}")
            else:
                others[suffix or "(no extension)"] += 1
    if closed:
        notes.append(f"{len(closed)} folders could not be entered, such as: {closed[0]}")
    if not found:
        raise DataError(_nothing_found(root, others))
    return sorted(found)


def _nothing_found(root: Path, others: Counter[str]) -> str:
    if not others:
        return f"{root} is empty: it holds no files (hidden ones are ignored)"
    kinds = ", ".join(f"{suffix} ({count})" for suffix, count in others.most_common(8))
    return f"{root} holds no pictures. Found instead: {kinds}. Known: {' '.join(sorted(SUFFIXES))}"


def _classes(found: list[str], root: Path, notes: list[str]) -> list[str | None]:
    """The class of each relative path, or None for all if the tree does not say."""
    none: list[str | None] = [None] * len(found)
    parts = [name.split("/")[:-1] for name in found]
    depths = {len(part) for part in parts}
    if depths == {0}:
        return none
    if len(depths) > 1:
        notes.append(f"no labels from folder names: the pictures of {root} lie at different depths")
        return none
    varying = [level for level in range(depths.pop()) if len({part[level] for part in parts}) > 1]
    if len(varying) != 1:
        levels = f"{len(varying)} levels of folders vary" if varying else "all pictures lie in the same folder"
        notes.append(f"no labels from folder names: below {root}, {levels}")
        return none
    (level,) = varying
    classes = [part[level] for part in parts]
    parent = root.joinpath(*parts[0][:level])
    empty = sorted(
        entry.name
        for entry in os.scandir(parent)
        if entry.is_dir() and not _hidden(entry.name) and entry.name not in set(classes)
    )
    if empty:
        notes.append(f"class folders without a single picture, so not classes: {', '.join(empty[:10])}")
    return list(classes)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
