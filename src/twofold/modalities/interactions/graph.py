"""The graph of users and items, thinned or of low rank, and how rows of its nodes are passed along its edges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from twofold.nn.sparse import compressed, plain_product, product


class Graph(Protocol):
    """What passes rows along edges; users are its first nodes, items follow."""

    users: int
    items: int

    def propagate(self, rows: Tensor) -> Tensor:
        """Rows ``(users + items, d)`` after one step along the edges."""
        ...

    def at(self, layer: int) -> Graph:
        """The graph that a layer of the encoder, from 0, goes along."""
        ...

    def to(self, device: torch.device) -> Graph: ...


class Bipartite:
    """Users and the items that they chose, each pair once.

    One step along the edges is D^-1/2 A D^-1/2, with degrees D of this graph (He et al., SIGIR 2020, eq. 7). The matrix
    is symmetric, so its transpose in the backward pass is itself: that makes a step several times cheaper than torch's
    own backward pass of sparse products.

    Args:
        users: How many users there are.
        items: How many items there are.
        edges: int64 ``(2, m)``: user and item of each pair, without repetitions, in any order.
    """

    def __init__(self, users: int, items: int, edges: Tensor) -> None:
        order = torch.argsort(edges[0] * items + edges[1])
        self._set(users, items, edges[:, order], None)

    def _set(self, users: int, items: int, edges: Tensor, by_item: Tensor | None) -> None:
        self.users, self.items, self.edges = users, items, edges
        self.by_item = torch.argsort(edges[1], stable=True) if by_item is None else by_item
        self._elsewhere: dict[torch.device, Bipartite] = {}

    @cached_property
    def degrees(self) -> Tensor:
        """How many edges each node has, int64 ``(users + items,)``."""
        users = torch.bincount(self.edges[0], minlength=self.users)
        return torch.cat([users, torch.bincount(self.edges[1], minlength=self.items)])

    @cached_property
    def start(self) -> Tensor:
        """int64 ``(users + 1,)``: the edges of user u are those from ``start[u]`` up to ``start[u + 1]``."""
        counts = self.degrees[: self.users]
        return torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    @cached_property
    def matrix(self) -> Tensor:
        """The normalized adjacency, sparse CSR ``(users + items, users + items)``, float32; symmetric."""
        user, item = self.edges
        root = self.degrees.clamp(min=1).float().rsqrt()
        weight = root[user] * root[self.users + item]
        columns = torch.cat([item + self.users, user[self.by_item]])
        ends = torch.cat([self.degrees.new_zeros(1), self.degrees.cumsum(0)])
        size = self.users + self.items
        return compressed(ends, columns, torch.cat([weight, weight[self.by_item]]), (size, size))

    def propagate(self, rows: Tensor) -> Tensor:
        """Rows ``(users + items, d)`` after one step along the edges."""
        return product(self.matrix, rows)

    def layer_sums(self, rows: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        """Σ_l A^l rows for l up to ``depth``, and for l below it, with A the matrix; ``depth`` from 1.

        The same as sums of what :meth:`propagate` gives, but no layer is kept, nor has a gradient of its own.
        """
        sums: tuple[Tensor, Tensor] = _LayerSums.apply(self.matrix, rows, depth)
        return sums

    def looked_up(self, rows: Tensor, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Of some nodes Σ_l A^l rows for l up to ``depth``, and their ``rows``; ``nodes`` int64 ``(n,)``.

        The same as :meth:`layer_sums` and two look-ups, with one gradient as large as ``rows`` in place of several.
        """
        found: tuple[Tensor, Tensor] = _LookedUp.apply(self.matrix, rows, depth, nodes)
        return found

    def at(self, layer: int) -> Bipartite:
        """The graph itself: all layers go along the same edges."""
        return self

    @cached_property
    def _skipped(self) -> Tensor:
        """For each edge: its user and the number of items before it that the user did not choose, as one number."""
        user, item = self.edges
        place = torch.arange(len(user), device=user.device) - self.start[user]
        return user * (self.items + 1) + item - place

    def not_chosen(self, users: Tensor, place: Tensor) -> Tensor:
        """For each user, the item at a place among those that the user did not choose, int64 ``(n,)``.

        Args:
            users: int64 ``(n,)``.
            place: int64 ``(n,)``, from 0. Beyond the last such item, the last item of all is given.
        """
        before = torch.searchsorted(self._skipped, users * (self.items + 1) + place, right=True) - self.start[users]
        return (place + before).clamp(max=self.items - 1)

    def thinned(self, keep: Tensor) -> Bipartite:
        """The graph with some of its edges, normalized anew.

        Args:
            keep: bool ``(m,)``, for the edges in the order of ``edges``.
        """
        place = keep.cumsum(0) - 1
        thin = Bipartite.__new__(Bipartite)
        thin._set(self.users, self.items, self.edges[:, keep], place[self.by_item[keep[self.by_item]]])
        return thin

    def to(self, device: torch.device) -> Bipartite:
        """The graph on a device; asked again, the same object, so that what it has computed is kept."""
        if self.edges.device == device:
            return self
        if device not in self._elsewhere:
            moved = Bipartite.__new__(Bipartite)
            moved._set(self.users, self.items, self.edges.to(device), self.by_item.to(device))
            self._elsewhere[device] = moved
        return self._elsewhere[device]

    @cached_property
    def kept(self) -> dict[tuple[str, int], Any]:
        """What :func:`low_rank` and :func:`pure_svd` have computed of this graph, by rank."""
        return {}


class Layered:
    """Other edges in each layer: a random walk, in the words of SGL (Wu et al., SIGIR 2021).

    Args:
        graphs: The first layer's, the second's, and so on; further layers begin with the first again.
    """

    def __init__(self, graphs: Sequence[Bipartite]) -> None:
        self.graphs = list(graphs)
        self.users, self.items = graphs[0].users, graphs[0].items

    def propagate(self, rows: Tensor) -> Tensor:
        """One step along the edges of the first layer."""
        return self.graphs[0].propagate(rows)

    def at(self, layer: int) -> Bipartite:
        """The graph of a layer."""
        return self.graphs[layer % len(self.graphs)]

    def to(self, device: torch.device) -> Layered:
        """The same on a device."""
        return Layered([graph.to(device) for graph in self.graphs])


class LowRank:
    """A graph whose matrix of users × items is left · rightᵀ: edges between all, in O((users + items) · rank).

    Args:
        left: ``(users, rank)``.
        right: ``(items, rank)``.
    """

    def __init__(self, left: Tensor, right: Tensor) -> None:
        self.left, self.right = left, right
        self.users, self.items = len(left), len(right)

    def propagate(self, rows: Tensor) -> Tensor:
        """Rows ``(users + items, d)`` after one step."""
        users, items = rows.split([self.users, self.items])
        left, right = self.left.to(rows.dtype), self.right.to(rows.dtype)
        return torch.cat([left @ (right.T @ items), right @ (left.T @ users)])

    def propagate_to(self, nodes: Tensor, rows: Tensor) -> Tensor:
        """What :meth:`propagate` gives some nodes, ``(n, d)``; ``nodes`` int64 ``(n,)``."""
        users, items = rows.split([self.users, self.items])
        left, right = self.left.to(rows.dtype), self.right.to(rows.dtype)
        own = torch.cat([left, right]).index_select(0, nodes)
        return torch.where((nodes < self.users)[:, None], own @ (right.T @ items), own @ (left.T @ users))

    def at(self, layer: int) -> LowRank:
        """The graph itself."""
        return self

    def to(self, device: torch.device) -> LowRank:
        """The same on a device."""
        return self if self.left.device == device else LowRank(self.left.to(device), self.right.to(device))


def low_rank(graph: Bipartite, rank: int) -> LowRank:
    """The best approximation of a graph's normalized matrix by one of low rank; computed once for each graph and rank.

    Args:
        graph: What to approximate.
        rank: From 1; at most the smaller number of nodes is taken.
    """
    key = ("low rank", rank)
    if key not in graph.kept:
        left, values, right = singular_vectors(graph.matrix, graph.users, rank)
        graph.kept[key] = LowRank(left * values, right)
    reduced: LowRank = graph.kept[key]
    return reduced


def pure_svd(graph: Bipartite, factors: int) -> Tensor:
    """PureSVD (Cremonesi et al., RecSys 2010): R Q for users and Q for items, ``(users + items, factors)``.

    Q are the leading right singular vectors of the 0/1 matrix R; computed once for each graph.

    Args:
        graph: Who chose what.
        factors: From 1; at most the smaller number of nodes is taken.
    """
    key = ("pure svd", factors)
    if key not in graph.kept:
        pattern = graph.matrix
        ones = torch.ones_like(pattern.values())
        size = graph.users + graph.items
        matrix = compressed(pattern.crow_indices(), pattern.col_indices(), ones, (size, size))
        left, values, right = singular_vectors(matrix, graph.users, factors)
        graph.kept[key] = torch.cat([left * values, right])
    rows: Tensor = graph.kept[key]
    return rows


@torch.no_grad()
def singular_vectors(matrix: Tensor, users: int, rank: int, *, iterations: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Leading singular vectors and values of R by randomized subspace iteration (Halko et al., SIAM Review 2011).

    The random start is always the same.

    Args:
        matrix: Symmetric sparse ``(n, n)`` with R in its upper right and Rᵀ in its lower left block.
        users: Rows of R.
        rank: How many.
        iterations: Products with RᵀR.

    Returns:
        ``(users, rank)``, ``(rank,)`` in descending order, ``(items, rank)``.
    """
    nodes = matrix.shape[0]
    rank = min(rank, users, nodes - users)
    width = min(rank + 10, users, nodes - users)
    start = torch.randn(nodes - users, width, generator=torch.Generator().manual_seed(0)).to(matrix.device)
    basis = torch.linalg.qr(start)[0]
    for _ in range(iterations):
        left = torch.linalg.qr(_upper(matrix, basis, users))[0]
        basis = torch.linalg.qr(_lower(matrix, left, users))[0]
    image = _upper(matrix, basis, users)
    left, values, rotation = torch.linalg.svd(image, full_matrices=False)
    return left[:, :rank], values[:rank], (basis @ rotation.T)[:, :rank]


def _upper(matrix: Tensor, items: Tensor, users: int) -> Tensor:
    """R · items."""
    return (matrix @ torch.cat([items.new_zeros(users, items.shape[1]), items]))[:users]


def _lower(matrix: Tensor, rows: Tensor, users: int) -> Tensor:
    """Rᵀ · rows."""
    return (matrix @ torch.cat([rows, rows.new_zeros(matrix.shape[0] - users, rows.shape[1])]))[users:]


class _LayerSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, rows: Tensor, depth: int) -> tuple[Tensor, Tensor]:
        ctx.matrix, ctx.depth = matrix, depth
        return _summed(matrix, rows, depth)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        whole, before_last = grads
        return None, _horner(ctx.matrix, whole, whole + before_last, ctx.depth), None


class _LookedUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, rows: Tensor, depth: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        ctx.matrix, ctx.depth, ctx.shape = matrix, depth, rows.shape
        ctx.save_for_backward(nodes)
        everyone = _summed(matrix, rows, depth)[0] if depth else rows
        return everyone.index_select(0, nodes), rows.index_select(0, nodes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None, None]:
        (nodes,) = ctx.saved_tensors
        passed, own = grads
        at_nodes = passed.new_zeros(ctx.shape).index_add_(0, nodes, passed)
        gradient = _horner(ctx.matrix, at_nodes, at_nodes, ctx.depth)
        return None, gradient.index_add_(0, nodes, own), None, None


def _summed(matrix: Tensor, rows: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """Σ A^l rows for l up to ``depth``, and for l below it."""
    total = rows.clone()
    for _ in range(depth - 1):
        rows = plain_product(matrix, rows)
        total += rows
    return total + plain_product(matrix, rows), total


def _horner(matrix: Tensor, first: Tensor, each: Tensor, depth: int) -> Tensor:
    """A^depth first + Σ A^l each for l below ``depth``: the gradient of :func:`_summed`, as A is symmetric."""
    for _ in range(depth):
        first = plain_product(matrix, first).add_(each)
    return first
