"""Synthetic negatives: convex mixtures of the hardest real ones, and of these with the query (MoCHi)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.contrast.checks import check_rows
from twofold.contrast.directions import unit
from twofold.contrast.pairs import Rule

# Queries whose similarities to all negatives are in memory at a time.
_ROWS_AT_A_TIME = 512


@torch.no_grad()
def synthetic_negatives(
    queries: Tensor,
    negatives: Tensor,
    *,
    hardest: int = 1024,
    mixed: int = 1024,
    with_query: int = 128,
    generator: torch.Generator,
    rule: Rule | None = None,
) -> Tensor:
    """Harder negatives for each query, mixed from the ``hardest`` negatives that are most similar to it.

    ``mixed`` of them are norm(α n_i + (1 − α) n_j) with α ~ U(0, 1); ``with_query`` more are
    norm(β q + (1 − β) n_j) with β ~ U(0, ½), so that the query's share stays the smaller one. i, j, α and β are drawn
    anew for every query. All of them are constants, the query inside them too. They are appended to the negatives of
    their own query only and never stored; the paper starts with them after some epochs. In a small data set most of
    the hardest are of the query's own class: keep ``hardest`` below an eighth of the negatives.

    Args:
        queries: ``(n, d)``, normalised inside.
        negatives: ``(m, d)``, such as a queue's rows; normalised inside.
        hardest: How many negatives to mix from, 1 to m; the paper's 1024.
        mixed: s, how many mixtures of two negatives; the paper's 1024.
        with_query: s', how many mixtures with the query; the paper's 128.
        generator: The only source of randomness; on any device.
        rule: Negatives that it leaves out are never mixed, such as ``different(index, queue.index)``.

    Returns:
        ``(n, mixed + with_query, d)``, unit rows.

    Raises:
        TypeError: If ``queries`` or ``negatives`` is no floating tensor.
        ValueError: If shapes do not match, a count is out of range, or ``rule`` leaves a query without negatives.

    Source: Kalantidis et al., NeurIPS 2020, §4.1 and §4.2.
    """
    _check(queries, negatives, hardest, mixed, with_query)
    queries, negatives = unit(queries, negatives)
    order, available = _hardest(queries, negatives, hardest, rule)

    def draw(count: int) -> Tensor:
        shape = (len(queries), count, 1)
        return torch.rand(shape, generator=generator, device=generator.device, dtype=queries.dtype).to(queries.device)

    def pick(count: int) -> Tensor:
        place = (draw(count).squeeze(-1) * available[:, None]).long()
        place = torch.minimum(place, available[:, None] - 1)  # a float32 product may round up to the bound
        return F.embedding(order.gather(1, place), negatives)

    share, query_share = draw(mixed), draw(with_query) / 2
    between = pick(mixed).lerp_(pick(mixed), share)
    towards = pick(with_query).lerp_(queries[:, None], query_share)
    return F.normalize(torch.cat([between, towards], dim=1), dim=-1)


def _hardest(queries: Tensor, negatives: Tensor, count: int, rule: Rule | None) -> tuple[Tensor, Tensor]:
    """The ``count`` most similar negatives, ``(n, count)``, and how many of these the rule leaves, ``(n,)``."""
    columns = torch.arange(len(negatives), device=queries.device)
    order, available = [], []
    with torch.autocast(queries.device.type, enabled=False):
        for rows in torch.arange(len(queries), device=queries.device).split(_ROWS_AT_A_TIME):
            similarity = queries[rows] @ negatives.T
            if rule is not None:
                similarity = similarity.masked_fill(rule(rows, columns, similarity) == 0, float("-inf"))
            top = similarity.topk(count, dim=1)
            order.append(top.indices)
            available.append((top.values > float("-inf")).sum(dim=1))
    kept = torch.cat(available)
    if bool((kept == 0).any()):
        lonely = int((kept == 0).nonzero()[0])
        raise ValueError(f"rule leaves query {lonely} without any negative to mix; push more samples before mixing.")
    return torch.cat(order), kept


def _check(queries: Tensor, negatives: Tensor, hardest: int, mixed: int, with_query: int) -> None:
    check_rows("queries", queries, minimum=1)
    check_rows("negatives", negatives, minimum=1)
    if queries.ndim != 2 or negatives.ndim != 2 or queries.shape[1] != negatives.shape[1]:
        shapes = f"{tuple(queries.shape)} and {tuple(negatives.shape)}"
        raise ValueError(f"queries and negatives must be (n, d) and (m, d), got shapes {shapes}.")
    if not 1 <= hardest <= len(negatives):
        raise ValueError(f"hardest must be between 1 and the {len(negatives)} negatives, got {hardest}.")
    if mixed < 0 or with_query < 0:
        raise ValueError(f"mixed and with_query must not be negative, got {mixed} and {with_query}.")
