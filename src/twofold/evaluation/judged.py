"""Rankings with judgements of relevance: nDCG@k, recall@k and the reciprocal rank, for every query by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation.features import rows_at, unit_rows

Relevance = Sequence[Mapping[int, float]]
"""For each query the grade of every relevant document, by position; what is not named is not relevant."""


@dataclass(frozen=True)
class JudgedRanking:
    """Scores of each query, float64 ``(queries,)``.

    Attributes:
        ndcg: By depth k.
        recall: By depth k: the share of the relevant documents that is among the first k.
        reciprocal_rank: One over the place of the first relevant document.
    """

    ndcg: dict[int, Tensor]
    recall: dict[int, Tensor]
    reciprocal_rank: Tensor


def rank_by_cosine(
    queries: Tensor,
    documents: Tensor,
    relevance: Relevance,
    *,
    ndcg_at: Sequence[int] = (10,),
    recall_at: Sequence[int] = (10, 100),
    chunk: int = 256,
) -> JudgedRanking:
    """Rank all documents for each query by cosine.

    Args:
        queries: Features ``(n, d)``.
        documents: Features ``(m, d)``. Rows of NaN are documents that could not be read: they come last.
        relevance: Of each query; grades > 0.
        ndcg_at: Depths of nDCG@k.
        recall_at: Depths of R@k.
        chunk: Queries ranked at once; memory is O(chunk · m).

    Raises:
        ConfigError: If a depth is below 1.
        DataError: If lengths or widths differ, a query is not finite, or a query has nothing relevant.
    """
    if queries.ndim != 2 or documents.ndim != 2 or queries.shape[1] != documents.shape[1]:
        raise DataError(f"queries {tuple(queries.shape)} and documents {tuple(documents.shape)} do not fit together")
    bad = (~queries.isfinite().all(1)).nonzero().flatten()
    if len(bad):
        raise DataError(f"queries: {rows_at(bad)} NaN or infinite; leave them out")
    asking, offered = unit_rows(queries), unit_rows(documents)
    readable = offered.isfinite().all(1)
    offered = torch.where(readable[:, None], offered, 0.0)

    def similarity() -> Iterator[Tensor]:
        for part in asking.split(chunk):
            yield (part @ offered.T).masked_fill(~readable, -torch.inf)

    return _rank(similarity(), len(queries), len(documents), relevance, ndcg_at, recall_at)


def rank_by_scores(
    scores: Iterator[Tensor],
    relevance: Relevance,
    documents: int,
    *,
    ndcg_at: Sequence[int] = (10,),
    recall_at: Sequence[int] = (10, 100),
) -> JudgedRanking:
    """Rank documents by scores that are there already, such as BM25's.

    Args:
        scores: Of some queries against all documents, ``(some, documents)``, one piece after another; no NaN.
        relevance: Of all queries; grades > 0.
        documents: How many there are.
        ndcg_at: Depths of nDCG@k.
        recall_at: Depths of R@k.

    Raises:
        ConfigError: If a depth is below 1.
        DataError: If the pieces do not fit, or a query has nothing relevant.
    """
    return _rank(scores, len(relevance), documents, relevance, ndcg_at, recall_at)


def random_recall(k: int, documents: int) -> float:
    """What recall@k a random order has on average."""
    return min(k, documents) / documents


def _rank(
    scores: Iterator[Tensor],
    queries: int,
    documents: int,
    relevance: Relevance,
    ndcg_at: Sequence[int],
    recall_at: Sequence[int],
) -> JudgedRanking:
    if min([*ndcg_at, *recall_at], default=1) < 1:
        raise ConfigError(f"depths must be at least 1, got nDCG at {tuple(ndcg_at)}, recall at {tuple(recall_at)}")
    if len(relevance) != queries:
        raise DataError(f"{len(relevance)} judged queries for {queries} rows")
    for number, judged in enumerate(relevance):
        if not judged or min(judged) < 0 or max(judged) >= documents or min(judged.values()) <= 0:
            raise DataError(
                f"query {number}: grades above 0 of documents 0..{documents - 1} are needed, got {judged}"[:300]
            )
    ndcg: dict[int, list[float]] = {k: [] for k in ndcg_at}
    recall: dict[int, list[float]] = {k: [] for k in recall_at}
    reciprocal: list[float] = []
    number = 0
    for part in scores:
        for row in part:
            if number >= queries:
                raise DataError(f"scores of more than {queries} queries")
            places, grades = _places(row, relevance[number])
            for k in ndcg_at:
                ndcg[k].append(_ndcg(places, grades, k))
            for k in recall_at:
                recall[k].append(float((places < k).double().mean()))
            reciprocal.append(1 / (int(places.min()) + 1))
            number += 1
    if number != queries:
        raise DataError(f"scores of {number} queries, there are judgements for {queries}")

    def vector(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    return JudgedRanking(
        {k: vector(values) for k, values in ndcg.items()},
        {k: vector(values) for k, values in recall.items()},
        vector(reciprocal),
    )


def _places(row: Tensor, judged: Mapping[int, float]) -> tuple[Tensor, Tensor]:
    """From 0, the place of each relevant document, and its grade.

    A tie counts against the encoder: of equal scores the irrelevant come first. So collapsed features find nothing.
    """
    index = torch.tensor(list(judged), device=row.device)
    grades = torch.tensor(list(judged.values()), dtype=torch.float64)
    relevant = torch.zeros(len(row), dtype=torch.bool, device=row.device)
    relevant[index] = True
    own = row[index]
    # Relevant documents of equal scores stand behind one another, in the order in which they are named.
    behind = (own[:, None] == own) & torch.ones(len(own), len(own), dtype=torch.bool, device=row.device).tril(-1)
    irrelevant = row[~relevant].sort().values
    ahead = len(irrelevant) - torch.searchsorted(irrelevant, own, side="left")
    better = (own > own[:, None]).sum(1) + behind.sum(1)
    return (ahead + better).cpu(), grades


def _ndcg(places: Tensor, grades: Tensor, k: int) -> float:
    """DCG@k over the best possible one, with linear gains, as trec_eval has it (Järvelin & Kekäläinen, TOIS 2002)."""
    gain = (grades / (places + 2).double().log2())[places < k].sum()
    best = grades.sort(descending=True).values[:k]
    return float(gain / (best / torch.arange(2, len(best) + 2, dtype=torch.float64).log2()).sum())
