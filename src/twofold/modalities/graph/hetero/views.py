"""Views of heterogeneous graphs: pairs, links and features left out; for HeCo and MEOW their own two views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.dataset import Views
from twofold.errors import ConfigError
from twofold.modalities.graph.hetero.batches import HeteroBatch, HeteroGraph, MetaPath
from twofold.options import did_you_mean

DEFAULT = "dropped"
OWN = ("heco", "meow")
PRESETS = (DEFAULT, *OWN)
SAMPLED = 7
"""Neighbours of each type that HeCo's schema view has; of authors on ACM in the paper."""


@dataclass(frozen=True)
class Dropped:
    """Several views, each without some of the pairs of meta-paths, some links, and some columns of features.

    Args:
        count: Views.
        pairs: Share of the pairs of each meta-path, and of the links, that is left out; never a node with itself.
        features: Share of the columns of each type's features that is set to 0.
        first_whole: Leave the first view as it is.
    """

    count: int = 2
    pairs: float = 0.3
    features: float = 0.3
    first_whole: bool = False

    def __call__(self, inputs: HeteroBatch, *, generator: torch.Generator, **extra: Any) -> list[HeteroBatch]:
        """``count`` views of the same nodes."""
        whole = [inputs] if self.first_whole else []
        return whole + [self._view(inputs, generator) for _ in range(self.count - len(whole))]

    def _view(self, inputs: HeteroBatch, generator: torch.Generator) -> HeteroBatch:
        graph = inputs.graph
        return inputs.with_graph(
            graph.changed(
                paths={name: without_pairs(graph, name, self.pairs, generator) for name in graph.paths},
                links=without_links(graph.links, self.pairs, generator),
                x={kind: without_columns(x, self.features, generator) for kind, x in graph.x.items()},
            )
        )


@dataclass(frozen=True)
class SampledNeighbours:
    """HeCo's two views: the graph as it is for meta-paths, and one with a few direct neighbours of each type.

    Args:
        neighbours: At most so many of each type, drawn anew each time.
    """

    neighbours: int = SAMPLED

    def __call__(self, inputs: HeteroBatch, *, generator: torch.Generator, **extra: Any) -> list[HeteroBatch]:
        """Two views of the same nodes."""
        graph = inputs.graph
        links = {
            pair: sampled(edges, 0 if pair[0] == graph.target else 1, graph.nodes, self.neighbours, generator)
            if graph.target in pair
            else edges
            for pair, edges in graph.links.items()
        }
        return [inputs, inputs.with_graph(graph.changed(links=links))]


def make_views(name: str, *, count: int) -> Views:
    """Views by name.

    Raises:
        ConfigError: If there are none of that name, or views that are two by their nature are asked for in another
            number.
    """
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r} of heterogeneous graphs{did_you_mean(name, PRESETS)}")
    if name in OWN and count != 2:
        raise ConfigError(f"view_count={count}: the views {name!r} are two by their nature.")
    if name == "heco":
        return SampledNeighbours()
    if name == "meow":
        return Dropped(2, pairs=0.3, features=0.2, first_whole=True)
    return Dropped(count)


def without_pairs(graph: HeteroGraph, name: str, share: float, generator: torch.Generator) -> MetaPath:
    """A meta-path without a random share of its pairs; a pair and its mirror image go together."""
    path = graph.paths[name]
    owners = graph.remember(("owners", name), lambda _: path.owners)
    mirror = graph.remember(("mirror", name), lambda _: path.mirror())
    kept = _draw(len(path.partners), generator, path.starts.device) >= share
    return path.keep(torch.where(owners <= path.partners, kept, kept[mirror]) | (owners == path.partners))


def without_links(
    links: Mapping[tuple[str, str], Tensor], share: float, generator: torch.Generator
) -> dict[tuple[str, str], Tensor]:
    """Links without a random share of each kind."""
    return {pair: edges[:, _draw(edges.shape[1], generator, edges.device) >= share] for pair, edges in links.items()}


def without_columns(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Features of which a random share of the columns is 0, the same for all nodes."""
    return x * (_draw(x.shape[1], generator, x.device) >= share)


def sampled(edges: Tensor, row: int, nodes: int, most: int, generator: torch.Generator) -> Tensor:
    """Links of which each node has at most ``most``, drawn without replacement.

    Args:
        edges: int64 ``(2, e)``.
        row: Which of the two rows is the nodes'.
        nodes: How many nodes there are.
        most: At least 1.
        generator: The only source of randomness.
    """
    order = torch.argsort(_draw(edges.shape[1], generator, edges.device))
    order = order[torch.argsort(edges[row][order], stable=True)]
    owner = edges[row][order]
    sizes = torch.bincount(owner, minlength=nodes)
    rank = torch.arange(len(owner), device=owner.device) - (sizes.cumsum(0) - sizes)[owner]
    return edges[:, order[rank < most]]


def _draw(count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(count, generator=generator, device=generator.device).to(device)
