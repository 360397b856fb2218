"""Meta-paths: the pairs of target nodes that a chain of types joins, and what is made of their counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.contrast.sparse_pairs import PairList
from twofold.errors import DataError
from twofold.modalities.graph.hetero.batches import HeteroGraph, Links, MetaPath

MAX_PAIRS = 200_000_000
"""Pairs that one meta-path may have, and steps that finding them may take: 4 GB."""


def from_chain(chain: Sequence[str], links: Links, counts: dict[str, int]) -> MetaPath:
    """The meta-path of a chain of types that starts and ends at the target.

    Its counts are those of the ways there: of joint authors, say (Sun et al., VLDB 2011).

    Args:
        chain: At least three types, such as ``("paper", "author", "paper")``, neighbours of each other being linked.
        links: As of :class:`HeteroGraph`.
        counts: Type → number of nodes.

    Raises:
        DataError: If two neighbours of the chain are not linked, or it joins too many pairs.
    """
    product: Any = None
    for step, (first, second) in enumerate(pairwise(chain)):
        hop = _matrix(first, second, links, counts, "-".join(chain))
        if step > 0:
            _check_size(product, hop, "-".join(chain))
        product = hop if product is None else product @ hop
    return from_matrix(product, chain=tuple(chain))


def from_matrix(matrix: Any, *, chain: tuple[str, ...] = ()) -> MetaPath:
    """A meta-path from a sparse matrix ``(n, n)`` of counts: made symmetric, every node joined to itself.

    Args:
        matrix: A scipy matrix, without negative entries.
        chain: The types on the way, if they are known.
    """
    from scipy import sparse

    square = sparse.csr_matrix(matrix, dtype=np.float32)
    square = square.maximum(square.T)
    alone = sparse.diags((square.diagonal() == 0).astype(np.float32), format="csr")
    square = (square + alone).tocsr()
    square.eliminate_zeros()
    square.sort_indices()
    starts, partners = (torch.from_numpy(part.astype(np.int64)) for part in (square.indptr, square.indices))
    return MetaPath(starts, partners, torch.from_numpy(square.data.astype(np.float32)), chain)


def from_edges(edge_index: Tensor, nodes: int) -> MetaPath:
    """A meta-path from given pairs, int64 ``(2, e)``; one that is given several times counts once."""
    from scipy import sparse

    rows, columns = edge_index.numpy()
    ones = np.ones(len(rows), dtype=np.float32)
    matrix = sparse.coo_matrix((ones, (rows, columns)), shape=(nodes, nodes)).tocsr()
    matrix.data[:] = 1
    return from_matrix(matrix)


def _matrix(first: str, second: str, links: Links, counts: dict[str, int], chain: str) -> Any:
    from scipy import sparse

    if (first, second) not in links and (second, first) not in links:
        known = ", ".join(f"{a}-{b}" for a, b in links)
        raise DataError(f"meta-path {chain}: {first} and {second} are not linked; linked are: {known or 'no types'}")
    edges = links[first, second] if (first, second) in links else links[second, first].flip(0)
    ones = np.ones(edges.shape[1], dtype=np.float32)
    return sparse.csr_matrix((ones, (edges[0].numpy(), edges[1].numpy())), shape=(counts[first], counts[second]))


def _check_size(left: Any, right: Any, chain: str) -> None:
    """Refuse a product before it is computed: a type with few nodes joins everything with everything."""
    steps = int(np.asarray(left.tocsc().indptr[1:] - left.tocsc().indptr[:-1], dtype=np.int64) @ np.diff(right.indptr))
    if steps > 4 * MAX_PAIRS or min(steps, left.shape[0] * right.shape[1]) > MAX_PAIRS:
        raise DataError(
            f"meta-path {chain} joins too many nodes (up to {steps:,} ways): a type on the way has few nodes with very "
            "many neighbours. Name other meta-paths, or leave that type out."
        )


def closest(graph: HeteroGraph, count: int) -> PairList:
    """HeCo's positives: each target's ``count`` partners that most meta-paths lead to, itself among them.

    A meta-path adds the share of the node's ways on it that lead to a partner. Of equally close ones some are drawn,
    always the same; a node with fewer partners has them all (Wang et al., KDD 2021, §4.4).

    Args:
        graph: With at least one meta-path.
        count: At least 1; 1 is the node itself.
    """
    return graph.remember(("closest", count), lambda _: _closest(graph, count))


def _closest(graph: HeteroGraph, count: int) -> PairList:
    from scipy import sparse

    total: Any = 0
    for path in graph.paths.values():
        shares = path.counts / _row_sums(path)[path.owners]
        parts = (shares.cpu().numpy(), path.partners.cpu().numpy(), path.starts.cpu().numpy())
        total = total + sparse.csr_matrix(parts, shape=(path.nodes, path.nodes))
    total.sort_indices()
    scores, owners = (
        torch.from_numpy(total.data),
        torch.from_numpy(np.repeat(np.arange(graph.nodes), np.diff(total.indptr))),
    )
    partners = torch.from_numpy(total.indices.astype(np.int64))
    scores = torch.where(partners == owners, torch.inf, scores)
    kept = best_of_each(scores, torch.from_numpy(total.indptr.astype(np.int64)), count)
    sizes = torch.bincount(owners[kept], minlength=graph.nodes)
    starts = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    return PairList(starts, partners[kept]).to(graph.device)


def best_of_each(scores: Tensor, starts: Tensor, count: int) -> Tensor:
    """Which entries are among the ``count`` highest of their node, bool; of equal ones some, always the same.

    Args:
        scores: ``(pairs,)``, node after node.
        starts: int64 ``(n + 1,)``: where each node's begin.
        count: At least 1.
    """
    sizes = starts.diff()
    owners = torch.arange(len(sizes), device=scores.device).repeat_interleave(sizes, output_size=len(scores))
    # Not the first of equal ones: of a type with few nodes all would choose the same partners.
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0)).to(scores.device)
    order = order[torch.argsort(scores[order], descending=True, stable=True)]
    order = order[torch.argsort(owners[order], stable=True)]
    rank = torch.arange(len(scores), device=scores.device) - starts[owners]
    kept = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    kept[order] = rank < count
    return kept


def most_similar(path: MetaPath, count: int) -> MetaPath:
    """Only the pairs that are among the ``count`` most similar of either node by PathSim, each node with itself.

    PathSim is 2 A_ij / (A_ii + A_jj) with the number of ways A (Sun et al., VLDB 2011, definition 3).
    """
    if int(path.starts.diff().max()) <= count:
        return path
    owners = path.owners
    own = path.counts.new_zeros(path.nodes)
    loops = owners == path.partners
    own[owners[loops]] = path.counts[loops]
    pathsim = 2 * path.counts / (own[owners] + own[path.partners])
    kept = best_of_each(torch.where(loops, torch.inf, pathsim), path.starts, count)
    return path.keep(kept | kept[path.mirror()])


def _row_sums(path: MetaPath) -> Tensor:
    return path.counts.new_zeros(path.nodes).index_add_(0, path.owners, path.counts)
