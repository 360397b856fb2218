"""Clouds from anywhere: `read` turns a source into a dataset, `summary` says what was read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.modalities.folders import read_trees
from twofold.modalities.labels import encode_labels, label_sentence
from twofold.modalities.points.clouds import CloudSource, Features, PointClouds
from twofold.modalities.points.readers.files import SUFFIXES, read_file
from twofold.modalities.points.readers.memory import from_array, from_array_file, from_list
from twofold.modalities.points.readers.shapes import Up

__all__ = ["PointClouds", "read", "summary"]

_MAX_POINTS = 2**20
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def read(
    source: Any,
    *,
    points: int | None = None,
    split: str | None = None,
    features: Features = "none",
    normalize: bool = True,
    up: Up = "z",
) -> Dataset:
    """Read clouds of points, and labels where the source has some.

    Sources: a folder of files, with or without class folders, or several (a list); files .npy, .xyz, .ply, .off, .obj,
    .stl with one cloud or mesh each, or a list of them; a .npy file (n, points, 3); an .npz file; a numpy array or
    torch tensor (n, points, 3), a list of such (points, 3), or either with labels, (clouds, labels); a dataset of ours,
    which is handed back. Meshes are sampled on their surface.

    Args:
        source: See above.
        points: Points a cloud. Of more, as many are chosen at random (always the same ones); of fewer, all are taken
            and some of them again, with a note. Default: 1024, or as many as the largest cloud has if that is fewer.
        split: "train", "test" or "val", where the source has splits. Default: "train" if there are several.
        features: What is kept of a point beside its place: "none"; "normals" (of meshes those of their faces, of PLY
            files nx, ny, nz, of arrays the columns 4 to 6 if they have unit length); "all", which is normals, colours
            and other columns, each where all clouds have it.
        normalize: Move each cloud to have its mean at 0, and scale it so that its farthest point lies at distance 1.
            Size and place are then lost.
        up: The axis of the source that points up (y in most OBJ files). It is turned to become z.

    Returns:
        A dataset.

    Raises:
        ConfigError: For options that make no sense with this source.
        DataError: If there is nothing to read, or if most of it cannot be read.
        MissingExtraError: If a file needs trimesh, which is not installed.
    """
    if points is not None and (
        not isinstance(points, int) or isinstance(points, bool) or not 1 <= points <= _MAX_POINTS
    ):
        raise ConfigError(f"points={points!r}: the points of a cloud must be a whole number in 1..{_MAX_POINTS}")
    if hasattr(source, "fetch") and hasattr(source, "spec"):
        if points not in (None, source.spec.get("points")):
            raise ConfigError(
                f"points={points}: this dataset was already read with {source.spec.get('points')}; set points there"
            )
        return source
    found = _found(source, split)
    return PointClouds(found, points=points, features=features, normalize=normalize, up=up)


def summary(dataset: Dataset) -> str:
    """One paragraph: how many clouds, their form, their classes, and what was left out and why."""
    spec = dataset.spec
    columns = ["places"] + ["normals"] * spec["normals"] + [f"{spec['extras']} other columns"] * (spec["extras"] > 0)
    scaled = "each centred and scaled to the unit ball" if spec["normalize"] else "neither centred nor scaled"
    text = [
        f"{len(dataset):,} clouds of {spec['points']:,} points ({', '.join(columns)}), {scaled}.",
        label_sentence(dataset.labels, dataset.class_names, items="clouds"),
    ]
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        count = len(dataset.skipped)
        text.append(f"{count} could not be read so far and are left out, such as {name} ({reason}).")
    if repeated := getattr(dataset, "repeated", 0):
        text.append(f"Note: {repeated} so far have fewer points than that, and some of theirs are repeated.")
    text += [f"Note: {note}." for note in getattr(dataset, "notes", ())]
    return " ".join(text)


def _found(source: Any, split: str | None) -> CloudSource:
    if isinstance(source, np.ndarray | Tensor):
        return from_array(source, name="the array")
    if isinstance(source, str | Path):
        return _from_path(_existing(source), split)
    if isinstance(source, list | tuple):
        return _from_several(source, split)
    raise DataError(f"cannot read clouds from a {type(source).__name__}; see help(twofold.modalities.points.data.read)")


def _from_path(path: Path, split: str | None) -> CloudSource:
    if path.is_dir():
        return _from_folders([path], split)
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return from_array_file(path, split=split)
    if suffix in SUFFIXES:
        return _from_files([path])
    if suffix in _PICKLES:
        raise DataError(f"{path}: pickled files are not read, because they can run any code; save arrays as .npz")
    raise DataError(f"{path}: clouds are not read from {suffix or 'such'} files. Known: {' '.join(SUFFIXES)} .npz")


def _from_folders(folders: Sequence[Path], split: str | None) -> CloudSource:
    tree = read_trees(folders, suffixes=SUFFIXES, split=split, things="clouds")
    paths, name = tree.paths, ", ".join(map(str, folders))
    return CloudSource(lambda i: read_file(Path(paths[i])), tree.ids, name, tree.labels, tree.class_names, tree.notes)


def _from_files(paths: Sequence[Path], labels: Any = None) -> CloudSource:
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(f"{len(missing)} of {len(paths)} listed files do not exist: {', '.join(missing[:3])}{more}")
    if others := sorted({path.suffix.lower() for path in paths} - set(SUFFIXES)):
        raise DataError(f"a list may hold files {' '.join(SUFFIXES)}, this one holds: {' '.join(others)}")
    name = str(paths[0]) if len(paths) == 1 else f"a list of {len(paths)} files"
    encoded, names = (None, None) if labels is None else encode_labels(labels, f"{name}: labels", len(paths))
    return CloudSource(lambda i: read_file(paths[i]), [str(path) for path in paths], name, encoded, names)


def _from_several(source: Sequence[Any], split: str | None) -> CloudSource:
    if len(source) == 0:
        raise DataError("an empty list holds no clouds")
    items, labels = _apart(source)
    if isinstance(items, np.ndarray | Tensor):
        return from_array(items, labels, name="the array")
    if all(isinstance(item, str | Path) for item in items):
        paths = [_existing(item) for item in items]
        if labels is None and all(path.is_dir() for path in paths):
            return _from_folders(paths, split)
        return _from_path(paths[0], split) if len(paths) == 1 and labels is None else _from_files(paths, labels)
    if any(isinstance(item, str | Path) for item in items):
        raise DataError("a list must hold only paths or only arrays, this one mixes them")
    return from_list(items, labels, name="the list")


def _apart(source: Sequence[Any]) -> tuple[Any, Any]:
    """Clouds and labels of a pair (clouds, labels); anything else has no labels."""
    if isinstance(source, tuple) and len(source) == 2 and not isinstance(source[0], str | Path):
        clouds, labels = source
        one_dimensional = isinstance(labels, np.ndarray | Tensor) and labels.ndim <= 1
        if one_dimensional or isinstance(labels, list | tuple):
            return clouds, labels
    return source, None


def _existing(source: str | Path) -> Path:
    if "://" in str(source):
        raise DataError(f"{source}: addresses are not read; download it, and give the folder or file")
    path = Path(source).expanduser()
    try:
        if path.exists():
            return path
        near = next(parent for parent in path.absolute().parents if parent.exists())
    except (OSError, ValueError) as error:  # too long, or with a null byte
        raise DataError(f"{str(source)[:80]!r} is no path ({error})") from error
    raise DataError(f"{path} does not exist (the part that does: {near})")
