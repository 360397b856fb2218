"""Stacks of PyTorch Geometric's layers: features of nodes and edges in, features of nodes out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from twofold.errors import require
from twofold.modalities.graph.batches import Graph


def layers() -> Any:
    """PyTorch Geometric's layers.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return require("torch_geometric.nn", extra="graph", purpose="An encoder of graphs")


class Stack(nn.Module):
    """Convolutions one after the other, each followed by a norm over the batch, if asked for, and an activation.

    They compute in float32 under autocast too: sums over hundreds of neighbours need it.

    Args:
        convolutions: Each takes (features, edges).
        widths: Of what each gives.
        activation: Makes the activation from a width.
        momentum: Of the norms' running statistics; None: no norms.
        joined: Give the outputs of all layers side by side rather than the last one's.
    """

    def __init__(
        self,
        convolutions: list[nn.Module],
        widths: list[int],
        *,
        activation: Callable[[int], nn.Module],
        momentum: float | None = None,
        joined: bool = False,
    ) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        norms = [nn.Identity() if momentum is None else nn.BatchNorm1d(width, momentum=momentum) for width in widths]
        self.norms = nn.ModuleList(norms)
        self.activations = nn.ModuleList(activation(width) for width in widths)
        self.joined = joined
        self.dim = sum(widths) if joined else widths[-1]

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
        """Features of nodes ``(N, dim)``.

        Args:
            x: ``(N, f)``.
            graph: Its edges are used, its features are not.
        """
        found = []
        with torch.autocast(x.device.type, enabled=False):
            x, edges = x.float(), self.edges(graph)
            for convolution, norm, activation in zip(self.convolutions, self.norms, self.activations, strict=True):
                x = activation(norm(convolution(x, *edges)))
                found.append(x)
        return torch.cat(found, 1) if self.joined else x

    def edges(self, graph: Graph) -> tuple[Tensor, ...]:
        """The edges as the convolutions take them."""
        return (graph.edge_index,)


class GCN(Stack):
    """Graph convolutions (Kipf & Welling, ICLR 2017): σ(Â x W + b), Â = D^-1/2 (A + I) D^-1/2.

    Hidden layers are twice as wide as the last one, as in GRACE. Â is made once for each graph, in compressed rows:
    that needs no memory for messages along edges, and a quarter of the time.

    Args:
        features: Width of the input.
        width: Width of the last layer.
        depth: Number of layers.
        relu: ReLU in place of PReLU with one slope a feature.
        bn: Batch normalization before each activation. Its running statistics are nearly those of the last step, as
            in BGRL's code (momentum 0.99 in torch's sense).
    """

    def __init__(
        self, features: int, width: int = 256, depth: int = 2, *, relu: bool = False, bn: bool = False
    ) -> None:
        widths = [2 * width] * (depth - 1) + [width]
        made = [
            layers().GCNConv(before, after, normalize=False)
            for before, after in zip([features, *widths[:-1]], widths, strict=True)
        ]
        super().__init__(made, widths, activation=_relu if relu else nn.PReLU, momentum=0.99 if bn else None)

    def edges(self, graph: Graph) -> tuple[Tensor, ...]:
        if graph.x.device.type in ("cpu", "cuda", "meta"):
            return (graph.remember("normalized adjacency", normalized_adjacency),)
        return graph.remember("normalized edges", normalized_edges)  # elsewhere torch has no matrices in rows


class SAGE(Stack):
    """Mean aggregation (Hamilton et al., NeurIPS 2017); arguments as of :class:`GCN`, all layers equally wide."""

    def __init__(self, features: int, width: int = 256, depth: int = 2, *, bn: bool = False) -> None:
        made = [layers().SAGEConv(features if i == 0 else width, width) for i in range(depth)]
        super().__init__(made, [width] * depth, activation=nn.PReLU, momentum=0.1 if bn else None)


class GAT(Stack):
    """Attention over neighbours with four heads (Veličković et al., ICLR 2018); arguments as of :class:`SAGE`.

    ``width`` is that of all heads together.
    """

    HEADS = 4

    def __init__(self, features: int, width: int = 256, depth: int = 2, *, bn: bool = False) -> None:
        each = max(1, width // self.HEADS)
        wide = each * self.HEADS
        made = [layers().GATConv(features if i == 0 else wide, each, heads=self.HEADS) for i in range(depth)]
        super().__init__(made, [wide] * depth, activation=nn.PReLU, momentum=0.1 if bn else None)


class GIN(Stack):
    """Graph isomorphism network (Xu et al., ICLR 2019): MLP((1 + ε) x + Σ neighbours), ReLU, batch norm; all layers.

    The outputs of all layers stand side by side, as in GraphCL and InfoGraph.

    Args:
        features: Width of the input.
        width: Of each layer.
        depth: Number of layers.
    """

    def __init__(self, features: int, width: int = 32, depth: int = 3) -> None:
        made = [layers().GINConv(_mlp(features if i == 0 else width, width)) for i in range(depth)]
        super().__init__(made, [width] * depth, activation=_normed_relu, joined=True)


def normalized_adjacency(graph: Graph) -> Tensor:
    """Â of a graph in compressed rows, ``(N, N)``: row i says what node i takes from whom.

    Degrees count the edges that end at a node, and a loop of weight 1 for each node.
    """
    edges, weight = normalized_edges(graph)
    order = edges[1].argsort(stable=True)
    counts = edges[1].bincount(minlength=graph.nodes)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Sparse.*")  # that torch's support of this layout is young
        return torch.sparse_csr_tensor(starts, edges[0][order], weight[order], (graph.nodes, graph.nodes))


def normalized_edges(graph: Graph) -> tuple[Tensor, Tensor]:
    """Â as edges and their weights, loops among them."""
    norm = require("torch_geometric.nn.conv.gcn_conv", extra="graph", purpose="An encoder of graphs").gcn_norm
    edges, weight = norm(graph.edge_index, graph.edge_weight, graph.nodes, dtype=torch.float32)
    return edges, weight


def _mlp(features: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width))


def _relu(width: int) -> nn.Module:
    return nn.ReLU()


def _normed_relu(width: int) -> nn.Module:
    return nn.Sequential(nn.ReLU(), nn.BatchNorm1d(width))
