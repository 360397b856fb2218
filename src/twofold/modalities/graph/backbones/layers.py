"""Stacks of PyTorch Geometric's layers: features of nodes and edges in, features of nodes out."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import ConfigError
from twofold.modalities.graph.backbones import geometric
from twofold.modalities.graph.backbones.attention import Attention
from twofold.modalities.graph.batches import Graph
from twofold.modalities.graph.features import Features
from twofold.modalities.graph.propagation import propagate


class Stack(nn.Module):
    """Convolutions one after the other, each followed by a norm over the batch, if asked for, and an activation.

    The last one may be followed by neither.

    They compute in float32 under autocast too: sums over hundreds of neighbours need it.

    Args:
        convolutions: Each takes (features, edges).
        widths: Of what each gives.
        activation: Makes the activation from a width.
        momentum: Of the norms' running statistics; None: no norms.
        linear: Whether the last layer is a convolution and nothing else.
        joined: Give the outputs of all layers side by side rather than the last one's.
        dropout: Percentage of each layer's inputs that are dropped in training.

    Attributes:
        takes_features: Whether the first convolution knows what to do with Features, of which most may be 0.

    Raises:
        ConfigError: If everything were dropped, or more.
    """

    takes_features = False

    def __init__(
        self,
        convolutions: list[nn.Module],
        widths: list[int],
        *,
        activation: Callable[[int], nn.Module],
        momentum: float | None = None,
        linear: bool = False,
        joined: bool = False,
        dropout: int = 0,
    ) -> None:
        super().__init__()
        _check_share("dropout", dropout)
        self.dropout = nn.Dropout(dropout / 100) if dropout else nn.Identity()
        self.convolutions = nn.ModuleList(convolutions)
        norms = [nn.Identity() if momentum is None else nn.BatchNorm1d(width, momentum=momentum) for width in widths]
        activations = [activation(width) for width in widths]
        if linear:
            norms[-1], activations[-1] = nn.Identity(), nn.Identity()
        self.norms, self.activations = nn.ModuleList(norms), nn.ModuleList(activations)
        self.joined = joined
        self.dim = sum(widths) if joined else widths[-1]

    def forward(self, x: Tensor | Features, graph: Graph) -> Tensor:
        """Features of nodes ``(N, dim)``.

        Args:
            x: ``(N, f)``; as Features only if ``takes_features``.
            graph: Its edges are used, its features are not.
        """
        found: list[Tensor] = []
        with torch.autocast(graph.device.type, enabled=False):
            given, edges = x.float() if isinstance(x, Tensor) else x, self.edges(graph)
            for convolution, norm, activation in zip(self.convolutions, self.norms, self.activations, strict=True):
                nodes: Tensor = activation(norm(convolution(self.dropout(given), *edges)))
                found.append(nodes)
                given = nodes
        return torch.cat(found, 1) if self.joined else found[-1]

    def edges(self, graph: Graph) -> tuple[Any, ...]:
        """The edges as the convolutions take them."""
        return (graph.edge_index,)


class Convolution(nn.Module):
    """One graph convolution without activation (Kipf & Welling, ICLR 2017): Â x W + b, Â = D^-1/2 (A + I) D^-1/2.

    The parameters, their names and their start are those of PyTorch Geometric's GCNConv, and so are the numbers; tests
    compare them. Nothing is kept for each edge, Â is made once for each graph, and its transpose is at hand for the
    backward pass. Of Â (x W) and (Â x) W that one is computed which passes on fewer numbers.

    Args:
        features: Width of the input.
        width: Of the output.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        made = geometric().GCNConv(features, width, normalize=False)
        self.lin, self.bias = made.lin, made.bias

    def reset_parameters(self) -> None:
        """New initial weights, as of GCNConv."""
        self.lin.reset_parameters()
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor | Features, graph: Graph) -> Tensor:
        """``(N, width)``; of the graph only the edges are used."""
        weight = self.lin.weight.T
        if isinstance(x, Tensor) and x.shape[1] < weight.shape[1]:
            return propagate(graph, x) @ weight + self.bias
        mixed = x.times(weight) if isinstance(x, Features) else x @ weight
        return propagate(graph, mixed) + self.bias


class GCN(Stack):
    """Graph convolutions, each :class:`Convolution`, with activations.

    Args:
        features: Width of the input.
        width: Width of the last layer.
        depth: Number of layers.
        inner: Width of all layers but the last; None: twice ``width``, as in GRACE.
        relu: ReLU in place of PReLU with one slope a feature.
        bn: Batch normalization before each activation.
        momentum: By how many per cent of the way its running statistics follow a step's. With 99, BGRL's code's and
            the default, they are nearly those of the last step; with 1 they are, after some dozen steps, largely those
            that they started with (mean 0, deviation 1), and the embedding is more linear than the network in training.
        linear: As of :class:`Stack`.
        dropout: As of :class:`Stack`.

    Raises:
        ConfigError: If ``momentum`` is no share, or given without ``bn``, or everything were dropped.
    """

    def __init__(
        self,
        features: int,
        width: int = 256,
        depth: int = 2,
        *,
        inner: int | None = None,
        relu: bool = False,
        bn: bool = False,
        momentum: int | None = None,
        linear: bool = False,
        dropout: int = 0,
    ) -> None:
        widths = [inner or 2 * width] * (depth - 1) + [width]
        made: list[nn.Module] = [Convolution(before, after) for before, after in pairwise([features, *widths])]
        activation, share = _relu if relu else nn.PReLU, _share_followed(momentum, 99, bn=bn)
        super().__init__(made, widths, activation=activation, momentum=share, linear=linear, dropout=dropout)
        self.takes_features = dropout == 0

    def edges(self, graph: Graph) -> tuple[Any, ...]:
        return (graph,)


class SAGE(Stack):
    """Mean aggregation (Hamilton et al., NeurIPS 2017); arguments as of :class:`GCN`, all layers equally wide."""

    def __init__(self, features: int, width: int = 256, depth: int = 2, *, bn: bool = False, dropout: int = 0) -> None:
        made = [geometric().SAGEConv(features if i == 0 else width, width) for i in range(depth)]
        super().__init__(made, [width] * depth, activation=nn.PReLU, momentum=0.1 if bn else None, dropout=dropout)


class GAT(Stack):
    """Attention over neighbours with four heads (Veličković et al., ICLR 2018); arguments as of :class:`SAGE`.

    Widths are those of all ``heads`` together; ``inner`` is that of all layers but the last, as the last if it is
    None. ``attention_dropout`` is the percentage of the attention's weights that are dropped in training. Its PReLU has
    one slope a layer, as GraphMAE's.

    Raises:
        ConfigError: If the heads cannot share a width equally, or as of :class:`GCN`.
    """

    def __init__(
        self,
        features: int,
        width: int = 256,
        depth: int = 2,
        *,
        inner: int | None = None,
        bn: bool = False,
        momentum: int | None = None,
        linear: bool = False,
        dropout: int = 0,
        attention_dropout: int = 0,
        heads: int = 4,
    ) -> None:
        widths = [inner or width] * (depth - 1) + [width]
        for one in widths:
            if one % heads:
                raise ConfigError(
                    f"gat: {heads} heads cannot share a width of {one} equally; choose a multiple of {heads}"
                )
        _check_share("attention_dropout", attention_dropout)
        made: list[nn.Module] = [
            Attention(before, after // heads, heads, attention_dropout / 100)
            for before, after in pairwise([features, *widths])
        ]
        super().__init__(
            made,
            widths,
            activation=_one_slope,
            momentum=_share_followed(momentum, 10, bn=bn),
            linear=linear,
            dropout=dropout,
        )
        self.takes_features = dropout == 0

    def edges(self, graph: Graph) -> tuple[Any, ...]:
        return (graph,)


class GIN(Stack):
    """Graph isomorphism network (Xu et al., ICLR 2019): MLP((1 + ε) x + Σ neighbours), ReLU, batch norm; all layers.

    The outputs of all layers stand side by side, as in GraphCL and InfoGraph.

    Args:
        features: Width of the input.
        width: Of each layer.
        depth: Number of layers.
        dropout: As of :class:`Stack`.
    """

    def __init__(self, features: int, width: int = 32, depth: int = 3, *, dropout: int = 0) -> None:
        made = [geometric().GINConv(_mlp(features if i == 0 else width, width)) for i in range(depth)]
        super().__init__(made, [width] * depth, activation=_normed_relu, joined=True, dropout=dropout)


def _mlp(features: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))


def _check_share(name: str, percentage: int) -> None:
    if not 0 <= percentage < 100:
        raise ConfigError(f"{name} is a percentage below 100, got {percentage}")


def _share_followed(percentage: int | None, usual: int, *, bn: bool) -> float | None:
    """The momentum of batch norms, in torch's sense; None without them."""
    if not bn and percentage is not None:
        raise ConfigError("momentum (-m) is that of batch norms' statistics: add -bn, or leave it out")
    percentage = usual if percentage is None else percentage
    if not 1 <= percentage <= 100:
        raise ConfigError(f"momentum is a percentage of 1 to 100, got {percentage}")
    return percentage / 100 if bn else None


def _one_slope(width: int) -> nn.Module:
    return nn.PReLU()


def _relu(width: int) -> nn.Module:
    return nn.ReLU()


def _normed_relu(width: int) -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.BatchNorm1d(width))
