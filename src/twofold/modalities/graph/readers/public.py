"""Public sets by name, such as ``planetoid:Cora``, through PyTorch Geometric's own loaders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twofold.errors import DataError, require
from twofold.modalities.graph.readers.facts import ManyGraphs, OneGraph
from twofold.modalities.graph.readers.objects import from_data, from_many
from twofold.modalities.shown import listed
from twofold.options import did_you_mean

SETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "planetoid": ("Planetoid", ("Cora", "CiteSeer", "PubMed")),
    "amazon": ("Amazon", ("Photo", "Computers")),
    "coauthor": ("Coauthor", ("CS", "Physics")),
    "tu": ("TUDataset", ()),
}
"""Prefix → PyTorch Geometric's class, and the names it knows (none: any)."""
DEFAULT_ROOT = Path("~/.cache/twofold/graphs")


def is_name(source: Any) -> bool:
    """Whether a source reads like the name of a public set: ``planetoid:Cora``."""
    return isinstance(source, str) and source.split(":", 1)[0].lower() in SETS and ":" in source


def from_name(source: str, root: str | None) -> OneGraph | ManyGraphs:
    """A public set; fetched once, if it is not below ``root``.

    PyTorch Geometric's readers unpickle files (those of Planetoid, and what it has processed itself), and unpickling
    can run any code. So this happens only for a set that is asked for by name, in a folder that you trust; folders and
    files that are given as a source are never unpickled.

    Args:
        source: ``planetoid:Cora`` and the like; see :data:`SETS`.
        root: Folder that holds, or will hold, the set in PyTorch Geometric's layout (``root/Cora/raw``); none takes
            ``~/.cache/twofold/graphs``.
    """
    family, name = source.split(":", 1)
    kind, known = SETS[family.lower()]
    if known and name not in known:
        raise DataError(f"{source}: there is no such set{did_you_mean(name, known)}; {family} has {listed(known)}")
    datasets: Any = require("torch_geometric.datasets", extra="graph", purpose=f"Reading {source}")
    folder = Path(root or DEFAULT_ROOT).expanduser()
    try:
        loaded = getattr(datasets, kind)(str(folder), name)
    except Exception as error:  # whatever PyTorch Geometric, its downloads and its unpickling raise
        raise DataError(
            f"{source}: PyTorch Geometric cannot load it below {folder} ({type(error).__name__}: {str(error)[:300]}). "
            "Give root= (the folder that holds the set's own folder), which must be writable"
        ) from error
    if len(loaded) == 1:
        return from_data(loaded[0], name=source)
    return from_many(loaded, name=source)
