"""Attention over neighbours, and sums of rows along edges whose weights are learned."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from twofold.modalities.graph.backbones import geometric
from twofold.modalities.graph.batches import Graph
from twofold.modalities.graph.features import Features
from twofold.modalities.graph.propagation import HAVE_ROWS
from twofold.nn.sparse import compressed, plain_product

EDGES_AT_ONCE = 4096
"""Of which the backward pass holds rows of both ends: a few MB."""
_SLOPE = 0.2
"""Of the leaky ReLU, as in the paper."""


class Attended(NamedTuple):
    """Edges in the order of their targets, with one loop at each node in place of those that were there.

    ``source`` and ``target`` are int64 ``(e,)``; the edges into node i are those from ``starts[i]`` up to
    ``starts[i + 1]``. ``by_source`` puts them in the order of their sources, where ``source_starts`` says the same.
    """

    source: Tensor
    target: Tensor
    starts: Tensor
    by_source: Tensor
    source_starts: Tensor


def attended(graph: Graph) -> Attended:
    """The edges along which nodes attend."""
    source, target = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
    every = torch.arange(graph.nodes, device=graph.device)
    source, target = torch.cat([source, every]), torch.cat([target, every])
    order = target.argsort(stable=True)
    source, target = source[order], target[order]
    return Attended(
        source, target, _starts(target, graph.nodes), source.argsort(stable=True), _starts(source, graph.nodes)
    )


def _starts(owner: Tensor, nodes: int) -> Tensor:
    counts = owner.bincount(minlength=nodes)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


class Attention(nn.Module):
    """One layer of attention over neighbours without activation (Veličković et al., ICLR 2018), heads side by side.

    With h = x W of a head and its vectors a and b, α_ij = softmax_j LeakyReLU(a·h_j + b·h_i) over the neighbours j of i
    and i itself, and the result is Σ_j α_ij h_j. The parameters and their names are those of PyTorch Geometric's
    GATConv, and so are the numbers; tests compare them. They start as in DGL's layer of that name (Glorot and Bengio's
    normal distribution, √2 times as wide), with which GraphMAE's figures were obtained. No row is copied for each edge;
    with one head, of Σ α (x W) and (Σ α x) W that one is computed which passes on fewer numbers.

    Args:
        features: Width of the input.
        width: Of the output of each head.
        heads: How many.
        dropout: Share of the weights α that are dropped in training.
    """

    def __init__(self, features: int, width: int, heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        made = geometric().GATConv(features, width, heads=heads)
        self.lin, self.bias = made.lin, made.bias
        self.att_src, self.att_dst = made.att_src, made.att_dst
        self.dropout = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New initial weights."""
        for drawn in (self.lin.weight, self.att_src, self.att_dst):
            nn.init.xavier_normal_(drawn, gain=2**0.5)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor | Features, graph: Graph) -> Tensor:
        """``(N, heads · width)``; of the graph only the edges are used."""
        if isinstance(x, Features):
            return self.attend(x.times(self.lin.weight.T), graph) if x.are_sparse else self(x.dense.float(), graph)
        edges: Attended = graph.remember("attended", attended, of="edges")
        heads, width = self.att_src.shape[1:]
        weight = self.lin.weight.view(heads, width, -1)
        if heads == 1 and x.shape[1] < width:
            to_source, to_target = (vector.view(1, width) @ weight[0] for vector in (self.att_src, self.att_dst))
            alpha = self.weights(x @ to_source.T, x @ to_target.T, edges)
            return weighted_sum(x[None], alpha, edges)[0] @ weight[0].T + self.bias
        return self.attend(x @ self.lin.weight.T, graph)

    def attend(self, mixed: Tensor, graph: Graph) -> Tensor:
        """The result from x W, ``(N, heads · width)``."""
        edges: Attended = graph.remember("attended", attended, of="edges")
        h = mixed.view(-1, *self.att_src.shape[1:])
        alpha = self.weights((h * self.att_src).sum(-1), (h * self.att_dst).sum(-1), edges)
        return weighted_sum(h.transpose(0, 1), alpha, edges).transpose(0, 1).flatten(1) + self.bias

    def weights(self, of_source: Tensor, of_target: Tensor, edges: Attended) -> Tensor:
        """α, ``(heads, e)``, from what the ends of an edge contribute to its logit, ``(N, heads)`` each."""
        logits = F.leaky_relu(of_source[edges.source] + of_target[edges.target], _SLOPE)
        alpha: Tensor = geometric("utils").softmax(logits, edges.target, num_nodes=len(of_target))
        dropped: Tensor = self.dropout(alpha)
        return dropped.T


def weighted_sum(rows: Tensor, weights: Tensor, edges: Attended) -> Tensor:
    """Σ_j w_ij rows_j at every node i, by head: ``(h, N, d)``, differentiable in both.

    Args:
        rows: ``(h, N, d)``.
        weights: Of edges, ``(h, e)``.
        edges: Along which rows are passed.
    """
    if rows.device.type not in HAVE_ROWS:
        return along_edges(rows, weights, edges)
    result: Tensor = _WeightedSum.apply(rows, weights, edges)
    return result


def along_edges(rows: Tensor, weights: Tensor, edges: Attended) -> Tensor:
    """:func:`weighted_sum` as its definition reads: every edge carries its message, and each node sums what it gets."""
    messages = weights[:, :, None] * rows[:, edges.source]
    return torch.zeros_like(rows).index_add(1, edges.target, messages)


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weights: Tensor, edges: Attended) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.edges = edges
        return _passed(rows, weights, edges.starts, edges.source)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows, weights = ctx.saved_tensors
        edges, (gradient,) = ctx.edges, grads
        of_rows = of_weights = None
        if ctx.needs_input_grad[0]:
            order = edges.by_source
            of_rows = _passed(gradient, weights[:, order], edges.source_starts, edges.target[order])
        if ctx.needs_input_grad[1]:
            of_weights = torch.empty_like(weights)
            for head, (force, own) in enumerate(zip(gradient, rows, strict=True)):
                parts = zip(*(ends.split(EDGES_AT_ONCE) for ends in (edges.source, edges.target)), strict=True)
                of_weights[head] = torch.cat([(own[source] * force[target]).sum(1) for source, target in parts])
        return of_rows, of_weights, None


def _passed(rows: Tensor, weights: Tensor, starts: Tensor, others: Tensor) -> Tensor:
    """Sums of ``rows[:, others]`` times weights, over the entries of each node."""
    nodes = rows.shape[1]
    matrices = (compressed(starts, others, values, (nodes, nodes)) for values in weights)
    return torch.stack([plain_product(matrix, part) for matrix, part in zip(matrices, rows, strict=True)])
