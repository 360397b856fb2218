"""Views of a graph of users and items: fewer edges, fewer nodes, other edges in each layer, a low rank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from twofold.errors import ConfigError
from twofold.modalities.interactions.graph import Bipartite, Graph, Layered, low_rank
from twofold.modalities.interactions.nodes import Nodes
from twofold.options import did_you_mean

DEFAULT = "edge-dropout"
WHOLE = "whole"
RATE = 0.1
"""ρ, the share that is dropped; SGL's, for most of its data."""
RANK = 5
"""q of LightGCL."""
LAYERS = 3
"""Graphs of a random walk; encoders with more layers begin with the first again."""

View = Callable[[Bipartite, torch.Generator], Graph]


def whole(graph: Bipartite, generator: torch.Generator) -> Graph:
    """The graph as it is."""
    return graph


def edge_dropout(graph: Bipartite, generator: torch.Generator, *, rate: float = RATE) -> Bipartite:
    """Each edge is left out with probability ``rate`` (SGL-ED: Wu et al., SIGIR 2021)."""
    drawn = torch.rand(graph.edges.shape[1], generator=generator, device=generator.device)
    return graph.thinned((drawn >= rate).to(graph.edges.device))


def node_dropout(graph: Bipartite, generator: torch.Generator, *, rate: float = RATE) -> Bipartite:
    """Each node is left out with probability ``rate``, with all its edges (SGL-ND, same paper)."""
    drawn = torch.rand(graph.users + graph.items, generator=generator, device=generator.device)
    kept = (drawn >= rate).to(graph.edges.device)
    return graph.thinned(kept[graph.edges[0]] & kept[graph.users + graph.edges[1]])


def random_walk(graph: Bipartite, generator: torch.Generator, *, rate: float = RATE) -> Layered:
    """Edges are left out anew for each layer (SGL-RW, same paper)."""
    return Layered([edge_dropout(graph, generator, rate=rate) for _ in range(LAYERS)])


def reconstruction(graph: Bipartite, generator: torch.Generator, *, rank: int = RANK) -> Graph:
    """The graph's matrix reduced to its leading singular vectors (LightGCL: Cai et al., ICLR 2023)."""
    return low_rank(graph, rank)


PRESETS: dict[str, View] = {
    "edge-dropout": edge_dropout,
    "node-dropout": node_dropout,
    "random-walk": random_walk,
    "low-rank": reconstruction,
    WHOLE: whole,
}
"""Name → what becomes of the graph; all nodes of a batch stand in the same one."""


@dataclass(frozen=True)
class GraphViews:
    """Views of a batch of nodes: each has a graph of its own.

    Args:
        views: What becomes of the graph in each.
    """

    views: tuple[View, ...]

    def __len__(self) -> int:
        return len(self.views)

    def __call__(self, inputs: Nodes, *, generator: torch.Generator, **_: Any) -> list[Nodes]:
        """Make all views, one after the other from one generator."""
        assert isinstance(inputs.graph, Bipartite)
        return [replace(inputs, graph=view(inputs.graph, generator)) for view in self.views]


def chosen(preferred: str) -> str:
    """The preset of a recipe that prefers ``preferred``, which may begin with ``whole,``: see :func:`make_views`."""
    name = preferred.removeprefix(f"{WHOLE}, ")
    return name if name in PRESETS else DEFAULT


def make_views(name: str | None, *, preferred: str, count: int) -> GraphViews:
    """Views by name.

    Args:
        name: One of `PRESETS`; None takes what the recipe prefers.
        preferred: What a recipe prefers. If it is ``whole`` or begins with ``whole,``, the first view is the whole
            graph in any case, and ``name`` is that of the others.
        count: How many. With ``low-rank`` only one is of low rank, since all of these are the same; the others are
            edge dropouts.

    Raises:
        ConfigError: If there is no such preset, or ``count`` is no number from 1 up.
    """
    name = name or chosen(preferred)
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, PRESETS)}")
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"Views: count must be a whole number from 1 up, not {count!r}.")
    views = [PRESETS[name if name != "low-rank" or place == 1 else DEFAULT] for place in range(count)]
    if preferred.split(",")[0] == WHOLE:
        views[0] = whole
    return GraphViews(tuple(views))
