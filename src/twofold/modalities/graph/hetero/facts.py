"""What every reader of heterogeneous graphs gives, and how types, links and meta-paths are put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.modalities.graph.hetero import metapaths
from twofold.modalities.graph.hetero.batches import HeteroGraph, MetaPath
from twofold.modalities.graph.readers.facts import NodeSplit
from twofold.modalities.shown import listed


@dataclass
class Parts:
    """A heterogeneous graph as it is found.

    Attributes:
        name: The source, for messages.
        counts: Type → number of nodes.
        x: Type → float ``(nodes, features)``, where there are features.
        links: Two different types → int64 ``(2, e)``; both directions, and all relations of two types, in one entry.
        own: Name → int64 ``(2, e)``, links of a type with itself, and its name: ``("paper", edges)``.
        usual: The meta-paths that the source itself names.
        target: The type that has labels, if there is just one.
        labels: int64, of the target's nodes; or None.
        class_names: Names of the classes, or None.
        splits: The source's own splits by name.
        notes: What else a user should know.
    """

    name: str
    counts: dict[str, int]
    x: dict[str, Tensor]
    links: dict[tuple[str, str], Tensor]
    own: dict[str, tuple[str, Tensor]] = field(default_factory=dict)
    usual: list[str] = field(default_factory=list)
    target: str | None = None
    labels: Tensor | None = None
    class_names: list[str] | None = None
    splits: dict[str, NodeSplit] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def assemble(parts: Parts, *, target: str | None, wanted: str | Sequence[str] | None) -> HeteroGraph:
    """The graph of the parts, with its meta-paths.

    Args:
        parts: As found.
        target: The type whose nodes are the samples; None takes the one that has labels.
        wanted: Chains of types (``"paper-author-paper"``) and names of links of the target with itself, in one text
            with commas or in a list; None takes those that the source names and all links with itself, and where there
            are none, the way to each neighbouring type and back.

    Raises:
        ConfigError: If a type or meta-path is asked for that there is not.
        DataError: If the target cannot be told, or has neither links with itself nor neighbours.
    """
    chosen = _target(parts, target)
    own = {name: edges for name, (kind, edges) in parts.own.items() if kind == chosen}
    usual = [name for name in parts.usual if name.startswith(f"{chosen}-")]
    ways = [f"{chosen}-{kind}-{chosen}" for kind in _joined(parts, chosen)]
    names = _wanted(wanted) or usual + list(own) or ways
    if not names:
        raise DataError(
            f"{parts.name}: {chosen} is linked to nothing, so there are no meta-paths. Linked are: "
            f"{listed('-'.join(pair) for pair in parts.links) if parts.links else 'no types'}"
        )
    paths = {name: _path(name, own, parts, chosen) for name in names}
    return HeteroGraph(chosen, parts.counts, parts.x, parts.links, paths)


def _target(parts: Parts, target: str | None) -> str:
    if target is not None and target not in parts.counts:
        raise ConfigError(f"target={target!r}: {parts.name} has no such type; it has {listed(parts.counts)}.")
    chosen = target or parts.target
    if chosen is None:
        raise DataError(
            f"{parts.name}: which type's nodes are the samples? None or several have labels; give target=, one of "
            f"{listed(parts.counts)}"
        )
    return chosen


def _wanted(wanted: str | Sequence[str] | None) -> list[str]:
    chains = wanted.split(",") if isinstance(wanted, str) else list(wanted or ())
    return [chain.strip() for chain in chains if chain.strip()]


def _joined(parts: Parts, target: str) -> list[str]:
    return [second if first == target else first for first, second in parts.links if target in (first, second)]


def _path(name: str, own: Mapping[str, Tensor], parts: Parts, target: str) -> MetaPath:
    if name in own:
        return metapaths.from_edges(own[name], parts.counts[target])
    chain = name.split("-")
    unknown = [kind for kind in chain if kind not in parts.counts]
    if unknown or len(chain) < 3 or chain[0] != target or chain[-1] != target:
        raise ConfigError(
            f"metapaths: {name!r} must be a chain of types from {target} to {target}, such as "
            f"{target}-{next(iter(_joined(parts, target)), 'other')}-{target}"
            f"{', or one of ' + listed(own) if own else ''}. The types are {listed(parts.counts)}."
        )
    return metapaths.from_chain(chain, parts.links, parts.counts)


def merged(
    links: Mapping[tuple[str, str], Tensor], pair: tuple[str, str], edges: Tensor
) -> dict[tuple[str, str], Tensor]:
    """Links with more of them between two types, whichever direction the pair names; each only once."""
    if pair[::-1] in links:
        pair, edges = pair[::-1], edges.flip(0)
    known = [links[pair]] if pair in links else []
    return dict(links) | {pair: torch.cat([*known, edges], 1).unique(dim=1)}


def check_links(edges: Tensor, ends: tuple[str, str], counts: Mapping[str, int], where: str) -> None:
    """Raise a DataError if edges name nodes that do not exist."""
    for row, kind in zip(edges, ends, strict=True):
        if len(row) and not 0 <= int(row.min()) <= int(row.max()) < counts[kind]:
            raise DataError(
                f"{where}: its edges name nodes {int(row.min())} to {int(row.max())} of {kind}, and there are "
                f"{counts[kind]}, 0 to {counts[kind] - 1}. Number the nodes of each type from 0"
            )
