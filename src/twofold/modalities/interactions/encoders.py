"""Encoders of users and items: a vector for each, passed along the edges of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.encoders import from_name, parsed
from twofold.modalities.interactions.graph import Bipartite, Graph
from twofold.modalities.interactions.nodes import Nodes

__all__ = ["ENCODERS", "LightGCNEncoder", "check_name", "make_encoder"]

_OPTIONS = {"w": "width", "d": "depth"}
START = 0.1
"""Deviation of the vectors at the start, as in the paper's code."""


class LightGCNEncoder(nn.Module):
    """A vector for each node, and its mean with those that reach it along the edges (He et al., SIGIR 2020, eq. 7-8).

    E^(l+1) = D^-1/2 A D^-1/2 E^(l) without weights, and the embedding is the mean of E^(0) to E^(depth). With depth 0
    it is matrix factorization.

    Args:
        nodes: Users and items.
        width: Numbers in a vector; the paper's 64.
        depth: Layers; the paper's 3.

    Attributes:
        dim: ``width``.
        rebuild: {}; the name says all.
    """

    def __init__(self, nodes: int, *, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(nodes, width))
        nn.init.normal_(self.table, std=START)
        self.dim, self.depth = width, depth
        self.rebuild: dict[str, Any] = {}

    def forward(self, nodes: Nodes) -> Tensor:
        """Embeddings ``(n, dim)`` of some nodes in their graph."""
        return self.looked_up(nodes.graph, nodes.index)[0]

    def everyone(self, graph: Graph) -> Tensor:
        """Embeddings of all nodes, ``(users + items, dim)``."""
        return self.sums(graph)[0] / (self.depth + 1)

    def looked_up(self, graph: Graph, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of some nodes, and their own vectors, those of layer 0, ``(n, dim)`` each.

        Args:
            graph: Of all users and items.
            nodes: int64 ``(n,)``.

        Raises:
            ConfigError: As of :meth:`layers`.
        """
        if not isinstance(graph, Bipartite):
            return self.everyone(graph).index_select(0, nodes), self.start(graph).index_select(0, nodes)
        total, own = graph.looked_up(self.start(graph), self.depth, nodes)
        return total / (self.depth + 1), own

    def sums(self, graph: Graph) -> tuple[Tensor, Tensor]:
        """Sums over layers 0 to depth, and 0 to depth - 1, each ``(users + items, dim)``; errors as of `layers`."""
        if isinstance(graph, Bipartite) and self.depth:
            return graph.layer_sums(self.start(graph), self.depth)
        layers = torch.stack(self.layers(graph))
        return layers.sum(0), layers[:-1].sum(0)

    def start(self, graph: Graph) -> Tensor:
        """Layer 0, the vectors that are learned, at least in float32; errors as of :meth:`layers`."""
        if graph.users + graph.items != len(self.table):
            raise ConfigError(
                f"The encoder has vectors of {len(self.table):,} users and items, the graph has "
                f"{graph.users:,} and {graph.items:,}: read the data with like=recipe.spec."
            )
        return self.table.to(torch.promote_types(self.table.dtype, torch.float32))

    def layers(self, graph: Graph) -> list[Tensor]:
        """E^(0) to E^(depth), each ``(users + items, dim)``.

        Raises:
            ConfigError: If the graph has another number of nodes than the encoder.
        """
        rows = [self.start(graph)]
        for layer in range(self.depth):
            rows.append(graph.at(layer).propagate(rows[-1]))
        return rows


def _lightgcn(spec: Mapping[str, Any], **options: int) -> nn.Module:
    return LightGCNEncoder(len(spec["users"]) + len(spec["items"]), **options)


def _embedding(spec: Mapping[str, Any], **options: int) -> nn.Module:
    return LightGCNEncoder(len(spec["users"]) + len(spec["items"]), depth=0, **options)


ENCODERS: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "lightgcn": (_lightgcn, "wd"),
    "embedding": (_embedding, "w"),
}
"""Name → function of the spec, and the letters of the options it takes."""


def make_encoder(encoder: str | nn.Module, spec: Mapping[str, Any]) -> nn.Module:
    """An encoder by name, or a module of your own.

    Names (a suffix such as -w32 sets an option):

    - ``lightgcn`` (64 wide, 3 layers), ``lightgcn-w32-d2``;
    - ``embedding`` (64 wide; matrix factorization, which leaves the graph aside).

    Args:
        encoder: A name, or a module from `Nodes` to ``(n, dim)`` with an attribute ``dim``.
        spec: Of the data: "users" and "items", their names.

    Raises:
        ConfigError: For an unknown name or option, a spec that lacks something, or a module without ``dim``.
    """
    if missing := [key for key in ("users", "items") if key not in spec]:
        raise ConfigError(
            f"the spec of interactions lacks {', '.join(missing)}; it has: {', '.join(spec) or 'nothing'}"
        )
    if isinstance(encoder, str):
        return from_name(encoder, spec, ENCODERS, _OPTIONS)
    if not isinstance(getattr(encoder, "dim", None), int):
        raise ConfigError(f"the encoder {type(encoder).__name__} needs an attribute dim, the width of its rows")
    if not hasattr(encoder, "rebuild"):
        encoder.rebuild = {}  # type: ignore[assignment]
    return encoder


def check_name(name: str) -> None:
    """Raise a ConfigError if no encoder has this name."""
    parsed(name, ENCODERS, _OPTIONS)
