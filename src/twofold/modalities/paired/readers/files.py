"""Folders: a listing beside the files, Parquet files, shards, or files that share a name (a.png and a.txt)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from twofold.errors import ConfigError, DataError
from twofold.limits import check_memory
from twofold.modalities.folders import read_trees, split_of
from twofold.modalities.paired.dataset import Pairs
from twofold.modalities.paired.readers.assemble import assemble
from twofold.modalities.paired.readers.columns import Column
from twofold.modalities.paired.sides import Side
from twofold.modalities.tables import TABLES

ENDINGS: dict[str, tuple[str, ...]] = {
    "image": (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    "text": (".txt", ".caption", ".text"),
    "audio": (".flac", ".wav", ".mp3", ".ogg", ".opus"),
    "points": (".ply", ".off", ".obj", ".stl", ".npy"),
    "video": (".mp4", ".webm", ".mkv", ".avi", ".mov", ".gif"),
}
"""Usual endings of the files of each modality, by which the files of a stem are told apart."""
SHARD = ".tar"
_TEXT_BYTES = 2**20


def listing(folder: Path, split: str | None) -> tuple[list[Path], list[str]]:
    """The table, the Parquet files or the shards of a folder, and notes; nothing if there are none.

    Raises:
        DataError: If there are several tables and none is called metadata, or a split is missing.
    """
    notes: list[str] = []
    parts = {split_of(path.name) or path.name: path for path in folder.iterdir() if path.is_dir()}
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    kinds = [[path for path in files if path.suffix.lower() == SHARD]]
    kinds.append([path for path in files if path.suffix.lower() == ".parquet"])
    tables = [path for path in files if path.suffix.lower() in TABLES and path.suffix.lower() != ".parquet"]
    kinds.append([path for path in tables if path.stem.lower() == "metadata"] or tables)
    found = next((kind for kind in kinds if kind), [])
    if not found and (split is not None or "train" in parts):
        wanted = split_of(split or "train") or split or "train"
        if wanted not in parts:
            raise DataError(
                f"{folder} has no sub-folder for split {split!r}; it holds: {', '.join(sorted(parts)[:10])}"
            )
        inner, more = listing(parts[wanted], None)
        return inner, [f"read {parts[wanted].name}/ only", *more]
    if split is not None and found:
        chosen = [path for path in found if path.name.lower().startswith(split.lower())]
        if not chosen:
            raise DataError(f"{folder} has no file whose name starts with {split!r}: {found[0].name}, ...")
        return chosen, notes
    training = [path for path in found if path.name.lower().startswith("train")]
    if training and len(training) < len(found):
        notes.append(f"read {training[0].name} only; the other {len(found) - len(training)} files are left (split=)")
        found = training
    if len(found) > 1 and found[0].suffix.lower() not in (SHARD, ".parquet"):
        raise DataError(f"{folder} holds several tables ({', '.join(p.name for p in found[:5])}); give one of them")
    return found, notes


def read_stems(folder: Path, sides: Sequence[Side], split: str | None) -> Pairs:
    """Pairs of the files of a tree that share folder and stem; the endings tell the sides apart.

    Raises:
        ConfigError: If the sides cannot be told apart by endings.
        DataError: If there are no such files, or more than half of them have no partner.
    """
    kinds = [side.modality.name for side in sides]
    if kinds[0] == kinds[1] or not set(kinds) <= set(ENDINGS):
        raise ConfigError(
            f"{folder} holds no listing, and files of {' and '.join(kinds)} cannot be told apart by their endings: "
            "give a table with a column of each side, or two sources"
        )
    suffixes = {ending for kind in kinds for ending in ENDINGS[kind]}
    tree = read_trees([folder], suffixes=suffixes, split=split, things=f"{kinds[0]} and {kinds[1]} files")
    stems: dict[str, dict[str, str]] = {}
    for path, name in zip(tree.paths, tree.ids, strict=True):
        stem, _, ending = name.rpartition(".")
        kind = next(kind for kind in kinds if f".{ending.lower()}" in ENDINGS[kind])
        stems.setdefault(stem, {}).setdefault(kind, path)
    columns = [
        Column(side, [_content(files.get(side.modality.name), side) for files in stems.values()], f"the {side.item}")
        for side in sides
    ]
    labels = None
    if tree.labels is not None and tree.class_names is not None:
        of_stem = {name.rpartition(".")[0]: int(label) for name, label in zip(tree.ids, tree.labels, strict=True)}
        labels = [tree.class_names[of_stem[stem]] for stem in stems]
    return assemble(columns, str(folder), labels=labels, names=list(stems), notes=tree.notes)


def _content(path: str | None, side: Side) -> str | None:
    """A path; of a text file what stands in it."""
    if path is None or side.modality.name != "text":
        return path
    check_memory(_TEXT_BYTES, path)
    try:
        with Path(path).open("rb") as file:
            return file.read(_TEXT_BYTES).decode("utf-8", "replace").strip() or None
    except OSError:
        return None
