"""The views of published systems, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twofold.errors import ConfigError
from twofold.modalities.graph.views.base import Compose, Corruption, Corruptions, OneOf
from twofold.modalities.graph.views.edges import DropEdges, DropEdgesByImportance
from twofold.modalities.graph.views.features import MaskColumns, MaskColumnsByImportance, MaskNodes, ShuffleFeatures
from twofold.modalities.graph.views.importance import Centrality
from twofold.modalities.graph.views.nodes import DropNodes, Subgraph
from twofold.options import did_you_mean

NODE_DEFAULT, GRAPH_DEFAULT = "grace", "graphcl"

Fill = tuple[float, ...] | None
Rates = tuple[tuple[float, float], tuple[float, float]]
"""Shares of edges and of features that are left out, for the first view and the second."""

_SAME = Compose(())
_GRACE: dict[str, Rates] = {  # Zhu et al., ICML workshop 2020, the authors' configuration; "" is Cora
    "": ((0.2, 0.3), (0.4, 0.4)),
    "-citeseer": ((0.2, 0.3), (0.0, 0.2)),
    "-pubmed": ((0.4, 0.0), (0.1, 0.2)),
    "-dblp": ((0.1, 0.1), (0.4, 0.0)),
}
_GCA: dict[str, Rates] = {  # Zhu et al., WWW 2021, the authors' configurations; "" is GRACE's Cora
    "": _GRACE[""],
    "-citeseer": _GRACE["-citeseer"],
    "-photo": ((0.3, 0.1), (0.5, 0.1)),
    "-computers": ((0.6, 0.2), (0.3, 0.3)),
    "-cs": ((0.3, 0.3), (0.2, 0.4)),
    "-wikics": ((0.2, 0.1), (0.3, 0.1)),
}
_BGRL: dict[str, Rates] = {  # Thakoor et al., ICLR 2022, the authors' configurations; "" is WikiCS
    "": ((0.2, 0.2), (0.3, 0.1)),
    "-cora": ((0.5, 0.2), (0.3, 0.5)),  # these two as GraphMAE's authors ran it: github.com/THUDM/GraphMAE/issues/4
    "-citeseer": ((0.4, 0.4), (0.4, 0.1)),
    "-computers": ((0.5, 0.2), (0.4, 0.1)),
    "-photo": ((0.4, 0.1), (0.1, 0.2)),
    "-cs": ((0.3, 0.3), (0.2, 0.4)),
    "-physics": ((0.4, 0.1), (0.1, 0.4)),
}


def drop_and_mask(rates: Rates, *, fill: Fill = None) -> tuple[Corruption, ...]:
    """Two views, each with some edges left out and some features masked."""
    return tuple(Compose((DropEdges(edges), MaskColumns(columns, fill))) for edges, columns in rates)


def adaptive(rates: Rates, centrality: Centrality, *, fill: Fill = None) -> tuple[Corruption, ...]:
    """As :func:`drop_and_mask`, but what is unimportant goes first (Zhu et al., WWW 2021)."""
    return tuple(
        Compose(
            (
                MaskColumnsByImportance(columns, centrality, fill=fill),  # before, since it looks at the whole graph
                DropEdgesByImportance(edges, centrality),
            )
        )
        for edges, columns in rates
    )


def graphcl(share: float = 0.1, kept: float = 0.2, *, fill: Fill = None) -> tuple[Corruption, ...]:
    """One view as it is; in the other each graph has nodes dropped, edges dropped, nodes masked, or a part kept.

    What the authors' code does on the TU sets (You et al., NeurIPS 2020): its perturbed edges are only removed.
    """
    return _SAME, OneOf((DropNodes(share), DropEdges(share), MaskNodes(share), Subgraph(kept)))


def one(*steps: Corruption, fill: Fill = None) -> tuple[Corruption, ...]:
    """The same corruptions in every view."""
    return (Compose(steps),)


def shuffled(*, fill: Fill = None) -> tuple[Corruption, ...]:
    """The graph, and the graph with its features exchanged (Veličković et al., ICLR 2019)."""
    return _SAME, ShuffleFeatures()


PRESETS: dict[str, Callable[..., tuple[Corruption, ...]]] = {
    **{f"grace{name}": partial(drop_and_mask, rates) for name, rates in _GRACE.items()},
    **{f"gca-degree{name}": partial(adaptive, rates, "degree") for name, rates in _GCA.items()},
    **{f"gca-pagerank{name}": partial(adaptive, rates, "pagerank") for name, rates in _GCA.items()},
    **{f"gca-eigenvector{name}": partial(adaptive, rates, "eigenvector") for name, rates in _GCA.items()},
    **{f"bgrl{name}": partial(drop_and_mask, rates) for name, rates in _BGRL.items()},
    "dgi": shuffled,
    "graphcl": graphcl,
    "graphcl-both": lambda *, fill=None: graphcl(fill=fill)[1:],
    "drop-edges": partial(one, DropEdges(0.2)),
    "drop-nodes": partial(one, DropNodes(0.2)),
    "mask-nodes": partial(one, MaskNodes(0.2)),
    "subgraph": partial(one, Subgraph(0.8)),
    "none": partial(one),
}
"""Name → function of ``fill``, which gives the views; more views than it gives take them in turns."""


def make_views(name: str, *, count: int = 2, fill: Fill = None, **overrides: Any) -> Corruptions:
    """The views of a published system.

    Args:
        name: One of `PRESETS`.
        count: How many views of each sample.
        fill: What masked features become, one number a feature; None: 0.
        overrides: Keyword arguments of the preset's function, in place of its defaults.

    Raises:
        ConfigError: If there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, PRESETS)}")
    made = PRESETS[name](fill=fill, **overrides)
    return Corruptions(tuple(made[i % len(made)] for i in range(count)))
