"""Retrieval: does an item find what belongs to it? R@k and mean average precision by label or by key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation.features import Features, check_pair, unit_rows


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """Scores of each query, on the CPU; NaN for a query with nothing relevant in the gallery, which no mean counts.

    Attributes:
        recall: For each k, 1.0 if something relevant is among the k nearest, else 0.0, (queries,). This is the hit rate
            that metric learning calls R@k (Jégou et al., TPAMI 2011; Musgrave et al., ECCV 2020).
        average_precision: Mean over the relevant items of the precision at their rank, whole ranking, (queries,).
        relevant: Relevant gallery items of each query, int64 (queries,).
        gallery_size: Items each query is ranked against (itself not counted).
    """

    recall: dict[int, Tensor]
    average_precision: Tensor
    relevant: Tensor
    gallery_size: int

    @property
    def counted(self) -> Tensor:
        """Which queries have something to find, bool (queries,)."""
        return self.relevant > 0


def shared_codes(*columns: Sequence[Hashable] | Tensor) -> tuple[Tensor, ...]:
    """Integer codes for several columns of keys: equal keys get equal codes across all columns.

    Args:
        columns: Sequences of hashables (strings, tuples, numbers), or integer tensors.

    Returns:
        One int64 tensor (n,) a column, on the CPU.
    """
    number: dict[Hashable, int] = {}
    plain = [column.tolist() if isinstance(column, Tensor) else column for column in columns]
    return tuple(
        torch.tensor([number.setdefault(key, len(number)) for key in column], dtype=torch.int64) for column in plain
    )


@dataclass(frozen=True, eq=False)
class RetrievalTask:
    """Who asks, what is offered, and what belongs together.

    Attributes:
        queries: Positions of the asking test items, int64 (queries,).
        query_codes: What they look for, int64 (queries,).
        offered: Positions of the offered items in the gallery, or in the test set if there is none, int64 (offered,).
        offered_codes: What each of them is, int64 (offered,).
        within: Whether the test items retrieve each other, so that an item must not find itself.
        by_key: Whether keys, not labels, say what belongs together.
    """

    queries: Tensor
    query_codes: Tensor
    offered: Tensor
    offered_codes: Tensor
    within: bool
    by_key: bool

    def relevant(self) -> Tensor:
        """Relevant offered items of each query, itself not counted, int64 (queries,)."""
        codes = int(torch.cat([self.query_codes, self.offered_codes]).max()) + 1
        return torch.bincount(self.offered_codes, minlength=codes)[self.query_codes] - int(self.within)


def retrieval_task(test: Features, gallery: Features | None = None) -> RetrievalTask | None:
    """Retrieval by key if all sides have keys, else by label; None if neither leaves anything to find.

    Items labelled -1 neither ask nor are offered when labels decide.

    Args:
        test: The queries.
        gallery: What they retrieve from; without it test items retrieve each other.
    """
    pool = test if gallery is None else gallery
    if test.keys is not None and pool.keys is not None:
        queries, offered = torch.arange(len(test)), torch.arange(len(pool))
        codes = shared_codes(test.keys, pool.keys)
    elif test.labels is not None and pool.labels is not None:
        queries, offered = test.labelled.nonzero().flatten().cpu(), pool.labelled.nonzero().flatten().cpu()
        codes = shared_codes(test.labels.cpu()[queries], pool.labels.cpu()[offered])
        if gallery is None and len(codes[0].unique()) < 2:
            return None
    else:
        return None
    if len(queries) == 0 or len(offered) == 0:
        return None
    by_key = test.keys is not None and pool.keys is not None
    task = RetrievalTask(queries, codes[0], offered, codes[1], within=gallery is None, by_key=by_key)
    return task if (task.relevant() > 0).any() else None


def retrieve_within(
    x: Tensor, labels: Sequence[Hashable] | Tensor, *, ks: Sequence[int] = (1, 5), chunk: int = 512
) -> RetrievalResult:
    """Every item is a query against all the others (itself excluded); relevant is what has the same label or key.

    Args:
        x: Features (n, d); compared by cosine.
        labels: Labels or keys, (n,).
        ks: Depths of R@k.
        chunk: Queries ranked at once; memory is O(chunk · n).

    Raises:
        ConfigError: If a depth is below 1.
        DataError: If lengths differ, features are not finite or there are fewer than two items.
    """
    (codes,) = shared_codes(labels)
    check_pair(x, codes, "retrieval")
    if len(x) < 2:
        raise DataError("retrieval within a set needs at least two items")
    return _rank(x, x, codes, codes, ks, chunk, exclude_self=True)


def retrieve_across(
    queries: Tensor,
    gallery: Tensor,
    query_keys: Sequence[Hashable] | Tensor,
    gallery_keys: Sequence[Hashable] | Tensor,
    *,
    ks: Sequence[int] = (1, 5),
    chunk: int = 512,
) -> RetrievalResult:
    """Every query is ranked against a gallery; relevant are the gallery items with the query's key.

    Args:
        queries: Features (n, d).
        gallery: Features (m, d), compared by cosine.
        query_keys, gallery_keys: Labels, group names or pair numbers, (n,) and (m,).
        ks: Depths of R@k.
        chunk: Queries ranked at once; memory is O(chunk · m).

    Raises:
        ConfigError: If a depth is below 1.
        DataError: If lengths or widths differ or features are not finite.
    """
    query_codes, gallery_codes = shared_codes(query_keys, gallery_keys)
    check_pair(queries, query_codes, "queries")
    check_pair(gallery, gallery_codes, "gallery")
    if queries.shape[1] != gallery.shape[1]:
        raise DataError(f"queries have {queries.shape[1]} dimensions, the gallery {gallery.shape[1]}")
    return _rank(queries, gallery, query_codes, gallery_codes, ks, chunk, exclude_self=False)


def random_ranking(
    relevant: Tensor, gallery_size: int, *, ks: Sequence[int] = (1, 5)
) -> tuple[dict[int, float], float]:
    """What a random ranking scores on average: R@k for each k, and mean average precision.

    R@k is one minus the chance of k draws without a hit; the expected average precision of r relevant among m is
    ``(H_m + (r - 1) / (m - 1) · (m - H_m)) / m`` with the harmonic number H_m (Bestgen, arXiv 2015).

    Args:
        relevant: Relevant items of each query, int64 (queries,); queries with none are left out.
        gallery_size: Items each query is ranked against.
        ks: Depths of R@k.

    Raises:
        DataError: If no query has anything relevant.
    """
    r = relevant[relevant > 0].cpu().double()
    if len(r) == 0:
        raise DataError("no query has a relevant item, so there is nothing to retrieve")
    m = gallery_size
    recall = {}
    for k in ks:
        drawn = torch.arange(min(k, m), dtype=torch.float64)
        miss = ((m - r[:, None] - drawn).clamp(min=0) / (m - drawn)).prod(dim=1)
        recall[k] = float((1 - miss).mean())
    harmonic = float((1 / torch.arange(1, m + 1, dtype=torch.float64)).sum())
    precision = (harmonic + (r - 1) / max(m - 1, 1) * (m - harmonic)) / m
    return recall, float(precision.mean())


@torch.no_grad()
def _rank(
    queries: Tensor,
    gallery: Tensor,
    query_codes: Tensor,
    gallery_codes: Tensor,
    ks: Sequence[int],
    chunk: int,
    *,
    exclude_self: bool,
) -> RetrievalResult:
    if not ks or min(ks) < 1:
        raise ConfigError(f"depths of R@k must be at least 1, got {tuple(ks)}")
    unit_queries, unit_gallery = unit_rows(queries), unit_rows(gallery)
    query_codes, gallery_codes = query_codes.to(gallery.device), gallery_codes.to(gallery.device)
    hits_at: dict[int, list[Tensor]] = {k: [] for k in ks}
    precisions, counts = [], []
    for start in range(0, len(queries), chunk):
        cosine = unit_queries[start : start + chunk] @ unit_gallery.T
        relevant = query_codes[start : start + chunk, None] == gallery_codes
        if exclude_self:
            own = torch.arange(len(cosine), device=cosine.device)
            cosine[own, own + start] = -torch.inf
            relevant[own, own + start] = False
        # Scores in float64 are for the CPU: not every accelerator has that type.
        hits = _sorted_hits(cosine, relevant).cpu()
        count = hits.sum(dim=1)
        missing = count == 0
        for k in ks:
            hits_at[k].append(hits[:, :k].any(dim=1).double().masked_fill(missing, torch.nan))
        precisions.append(_average_precision(hits).masked_fill(missing, torch.nan))
        counts.append(count)
    return RetrievalResult(
        recall={k: torch.cat(parts) for k, parts in hits_at.items()},
        average_precision=torch.cat(precisions),
        relevant=torch.cat(counts),
        gallery_size=len(gallery) - int(exclude_self),
    )


def _sorted_hits(cosine: Tensor, relevant: Tensor) -> Tensor:
    """`relevant` (rows, gallery) in descending order of cosine.

    A tie counts against the encoder: of equal cosines the irrelevant come first. So collapsed features retrieve
    nothing, and the order in which the gallery is stored does not matter.
    """
    irrelevant_first = relevant.to(torch.uint8).argsort(dim=1, stable=True)
    order = cosine.gather(1, irrelevant_first).argsort(dim=1, descending=True, stable=True)
    return relevant.gather(1, irrelevant_first.gather(1, order))


def _average_precision(hits: Tensor) -> Tensor:
    """Average precision (rows,) of ranked hits (rows, gallery); NaN without any hit."""
    found = hits.cumsum(dim=1).double()
    rank = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    return (found / rank * hits).sum(dim=1) / hits.sum(dim=1)
