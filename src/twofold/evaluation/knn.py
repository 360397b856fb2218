"""Weighted nearest-neighbour classification, the field's probe without training (Wu et al., CVPR 2018, sec. 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation.features import check_pair, finite_rows, rows_at, unit_rows
from twofold.evaluation.nearest import nearest_by_cosine


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
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    *,
    k: int = 20,
    temperature: float = 0.1,
    chunk: int = 512,
    block: int = 32768,
) -> KnnResult:
    """Classify by the k nearest bank items, each voting with weight exp(cosine / temperature).

    Bank items that tie for the last place, up to rounding, share it (each votes with an equal part), so the result
    depends neither on the order of the bank nor on the machine; collapsed features vote for the bank's most frequent
    class.
    Memory: O(queries · (k + classes)), a tile of chunk · block and the unit rows of one block, or as many bytes of
    bfloat16 (see :mod:`twofold.evaluation.nearest`). Rows with a tie are compared with the bank a second time.

    Args:
        bank: Vectors with known labels (m, d).
        bank_labels: Their labels, int64 (m,).
        queries: Vectors to classify (n, d), on the bank's device.
        k: Neighbours; 20 here, 200 on ImageNet in the paper. Capped at the size of the bank.
        temperature: 0.07 in the paper, 0.1 here (usual for small sets).
        chunk: Queries compared with a block at once.
        block: Bank items compared at once. Changes speed and memory, not the result.

    Raises:
        ConfigError: If k, temperature, chunk or block is not positive.
        DataError: If shapes do not fit or a vector is not finite.
    """
    options = {"k": k, "temperature": temperature, "chunk": chunk, "block": block}
    problems = [f"{name} must be positive, got {value}" for name, value in options.items() if not value > 0]
    if problems:
        raise ConfigError(problems)
    _check(bank, bank_labels, queries)
    classes, targets = bank_labels.to(bank.device).unique(return_inverse=True)
    used = min(k, len(bank))
    message = "" if used == k else f"k = {k} is more than the bank holds; all {used} items vote"
    nearest, index = nearest_by_cosine(bank, queries, min(used + 1, len(bank)), chunk=chunk, block=block)
    # Relative to the nearest item: the same shares, and no overflow at small temperatures.
    weight = ((nearest[:, :used] - nearest[:, :1]) / temperature).exp_()
    votes = nearest.new_zeros(len(queries), len(classes)).scatter_add_(1, targets[index[:, :used]], weight)
    gap = nearest[:, used - 1] - nearest[:, -1] if used < len(bank) else nearest.new_ones(len(queries))
    tied = (gap <= _rounding(nearest)).nonzero().flatten()
    for rows in tied.split(max(1, chunk * block // len(bank))):
        cosine = _cosines(bank, queries[rows], block)
        votes[rows] = _shared_votes(cosine, targets, len(classes), used, temperature)
    scores = votes.div_(votes.sum(dim=1, keepdim=True))
    return KnnResult(classes[scores.argmax(dim=1)], scores, classes, used, message)


def _cosines(bank: Tensor, queries: Tensor, block: int) -> Tensor:
    """All cosines (queries, bank)."""
    rows = unit_rows(queries)
    return torch.cat([rows @ unit_rows(part).T for part in bank.split(block)], dim=1)


def _shared_votes(cosine: Tensor, targets: Tensor, classes: int, k: int, temperature: float) -> Tensor:
    """Votes (rows, classes) where several items tie for the k-th place: they share the places that are left."""
    nearest = cosine.topk(k, dim=1).values
    last = nearest[:, -1:]
    above, level = cosine > last + _rounding(cosine), (cosine - last).abs() <= _rounding(cosine)
    share = (k - above.sum(dim=1, keepdim=True)) / level.sum(dim=1, keepdim=True)
    weight = ((cosine - nearest[:, :1]) / temperature).exp() * (above + share * level)
    return weight.new_zeros(len(cosine), classes).scatter_add_(1, targets.expand(len(cosine), -1), weight)


def _rounding(cosine: Tensor) -> float:
    """Cosines that differ by no more are equal: products of other shapes round a same item's cosine otherwise."""
    return 4 * torch.finfo(cosine.dtype).eps


def _check(bank: Tensor, bank_labels: Tensor, queries: Tensor) -> None:
    if bank.ndim != 2 or queries.ndim != 2 or bank.shape[1] != queries.shape[1]:
        raise DataError(
            f"bank and queries must be matrices of the same width; got {tuple(bank.shape)} and {tuple(queries.shape)}"
        )
    check_pair(bank, bank_labels, "bank")
    bad = (~finite_rows(queries)).nonzero().flatten()
    if len(queries) == 0 or len(bad):
        raise DataError(f"queries: {rows_at(bad)} NaN or infinite" if len(bad) else "queries: no rows")
