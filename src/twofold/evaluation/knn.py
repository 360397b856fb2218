"""Weighted nearest-neighbour classification, the field's probe without training (Wu et al., CVPR 2018, sec. 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation.features import check_pair, rows_at, unit_rows


@dataclass(frozen=True, eq=False)
class KnnResult:
    """Votes of the neighbours.

    Attributes:
        predictions: Label of the class with most votes (queries,); of equal votes the smallest label.
        scores: Share of the votes a class got (queries, classes); each row sums to 1.
        classes: The labels that the columns of `scores` stand for, ascending.
        k: Neighbours really used.
        message: Why that is fewer than asked for; empty if it is not.
    """

    predictions: Tensor
    scores: Tensor
    classes: Tensor
    k: int
    message: str = ""


@torch.no_grad()
def weighted_knn(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, *, k: int = 20, temperature: float = 0.1, chunk: int = 1024
) -> KnnResult:
    """Classify by the k nearest bank items, each voting with weight exp(cosine / temperature).

    Bank items that tie for the last place share it (each votes with an equal part), so the result depends neither on
    the order of the bank nor on the machine; collapsed features vote for the bank's most frequent class.
    Memory: O(queries · classes + chunk · bank).

    Args:
        bank: Vectors with known labels (m, d).
        bank_labels: Their labels, int64 (m,).
        queries: Vectors to classify (n, d), on the bank's device.
        k: Neighbours; 20 here, 200 on ImageNet in the paper. Capped at the size of the bank.
        temperature: 0.07 in the paper, 0.1 here (usual for small sets).
        chunk: Queries compared with the bank at once.

    Raises:
        ConfigError: If k or temperature is not positive.
        DataError: If shapes do not fit or a vector is not finite.
    """
    options = {"k": k, "temperature": temperature}
    problems = [f"{name} must be positive, got {value}" for name, value in options.items() if not value > 0]
    if problems:
        raise ConfigError(problems)
    _check(bank, bank_labels, queries)
    classes, targets = bank_labels.to(bank.device).unique(return_inverse=True)
    used = min(k, len(bank))
    message = "" if used == k else f"k = {k} is more than the bank holds; all {used} items vote"
    unit_bank = unit_rows(bank)
    scores = torch.cat(
        [
            _votes(rows @ unit_bank.T, targets, len(classes), used, temperature)
            for rows in unit_rows(queries).split(chunk)
        ]
    )
    return KnnResult(classes[scores.argmax(dim=1)], scores, classes, used, message)


def _votes(cosine: Tensor, targets: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """Shares of the votes (rows, classes) from cosines (rows, bank)."""
    nearest, index = cosine.topk(min(k + 1, cosine.shape[1]), dim=1)
    # Relative to the nearest item: the same shares, and no overflow at small temperatures.
    weight = ((nearest[:, :k] - nearest[:, :1]) / temperature).exp()
    votes = cosine.new_zeros(len(cosine), classes).scatter_add_(1, targets[index[:, :k]], weight)
    if k < cosine.shape[1]:
        tied = (nearest[:, k - 1] == nearest[:, k]).nonzero().flatten()
        for rows in tied.split(max(1, len(cosine) // 8)):
            votes[rows] = _shared_votes(cosine[rows], nearest[rows], targets, classes, k, temperature)
    return votes / votes.sum(dim=1, keepdim=True)


def _shared_votes(cosine: Tensor, nearest: Tensor, targets: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """As `_votes` where several items tie for the k-th place: they share the places that are left."""
    last = nearest[:, k - 1 : k]
    above, level = cosine > last, cosine == last
    share = (k - above.sum(dim=1, keepdim=True)) / level.sum(dim=1, keepdim=True)
    weight = ((cosine - nearest[:, :1]) / temperature).exp() * (above + share * level)
    return weight @ F.one_hot(targets, classes).to(weight.dtype)


def _check(bank: Tensor, bank_labels: Tensor, queries: Tensor) -> None:
    if bank.ndim != 2 or queries.ndim != 2 or bank.shape[1] != queries.shape[1]:
        raise DataError(
            f"bank and queries must be matrices of the same width; got {tuple(bank.shape)} and {tuple(queries.shape)}"
        )
    check_pair(bank, bank_labels, "bank")
    bad = (~queries.isfinite().all(dim=1)).nonzero().flatten()
    if len(queries) == 0 or len(bad):
        raise DataError(f"queries: {rows_at(bad)} NaN or infinite" if len(bad) else "queries: no rows")
