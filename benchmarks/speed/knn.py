"""Weighted nearest-neighbour classification: 10,000 queries, a bank of 50,000 vectors of 512 numbers, 100 classes.

Ours is ``twofold.evaluation.weighted_knn``: exact; it scales rows to unit length, checks that all numbers are finite,
and shares votes among items that tie for the last place, which the others do not. Where the CPU has units for bfloat16
it finds candidates by products in it (``twofold.evaluation.nearest``), and so can beat the product in float32.

Against

- scikit-learn: ``KNeighborsClassifier`` with brute force on rows that are unit length already, ``exp(cosine / T)`` as a
  callable weight (of the Euclidean distance d, cosine = 1 - d²/2: the fast path of scikit-learn), fitted beforehand;
- plain torch: normalize, one product of all queries with the bank, top-k, one-hot labels and a scatter, as
  kNN evaluations of self-supervised learning do it, 1,024 queries at a time;
- the matrix product alone, into a buffer that is there: what float32 allows at best.

All give shares of votes for all queries, in float32 and with the same threads; the script stops if predictions differ.
Memory is the peak of a call over what was held before. Its growth with the bank is in ``cost.py``.

    python benchmarks/speed/knn.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from harness import Call, Row, Target, parser, race, start, weigh, write
from torch import Tensor

from twofold.evaluation import weighted_knn

TEMPERATURE = 0.1
CLASSES = 100
ABSENT = {"scikit-learn": "not installed"}


def main() -> None:
    arguments = parser(__doc__, "knn").parse_args()
    start(arguments)
    sizes = (20000, 2000, 512) if arguments.quick else (50000, 10000, 512)
    rows = [row for k in (20, 200) for row in measured(*sizes, k=k, rounds=2 if arguments.quick else 3)]
    notes = [
        "The vectors are Gaussian clusters, one a class. Bank and queries have unit rows before the clock starts; "
        "ours scales them all the same.",
        "'product' is the matrix product alone, in tiles of 512 queries.",
    ]
    write(arguments, title="Weighted kNN", numbers=[11], rows=rows, peers=["scikit-learn"], notes=notes)


def measured(bank: int, queries: int, dim: int, *, k: int, rounds: int) -> list[Row]:
    """Time and memory at one size."""
    data = clusters(bank, queries, dim)
    arms, absent = contestants(*data, k=k), {}
    if "scikit-learn" not in arms:
        absent = ABSENT
    check_same({name: call() for name, call in arms.items()})
    case = {"bank": bank, "queries": queries, "dim": dim, "k": k}
    least = [Target("scikit-learn", at_least=3.0)]
    timed = race(case, arms | {"product": product(*data[::2])}, rounds=rounds, absent=absent, patience=1, targets=least)
    return [timed, weigh(case, arms, absent=absent)]


def clusters(bank: int, queries: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rows of a bank, their labels, and queries."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, dim, generator=generator)
    labels = torch.randint(CLASSES, (bank + queries,), generator=generator)
    rows = F.normalize(0.5 * centres[labels] + torch.randn(bank + queries, dim, generator=generator))
    return rows[:bank], labels[:bank], rows[bank:]


def contestants(bank: Tensor, labels: Tensor, queries: Tensor, *, k: int) -> dict[str, Call]:
    """Name → a call that gives the shares of the votes (queries, classes)."""
    arms: dict[str, Call] = {
        "twofold": lambda: weighted_knn(bank, labels, queries, k=k, temperature=TEMPERATURE).scores,
        "torch": lambda: plain(bank, labels, queries, k),
    }
    try:
        from sklearn.neighbors import KNeighborsClassifier
    except ModuleNotFoundError:
        return arms
    fitted = KNeighborsClassifier(k, weights=votes, algorithm="brute").fit(bank.numpy(), labels.numpy())
    return arms | {"scikit-learn": lambda: torch.from_numpy(fitted.predict_proba(queries.numpy())).float()}


def votes(distance: np.ndarray) -> Any:
    """exp(cosine / T) of unit rows from their Euclidean distance."""
    return np.exp((1 - distance**2 / 2) / TEMPERATURE)


def plain(bank: Tensor, labels: Tensor, queries: Tensor, k: int, chunk: int = 1024) -> Tensor:
    """Normalize, mm, topk, one-hot, sum."""
    bank = F.normalize(bank, dim=1).T.contiguous()
    shares = []
    for rows in F.normalize(queries, dim=1).split(chunk):
        weight, index = torch.mm(rows, bank).topk(k, dim=1)
        weight = (weight / TEMPERATURE).exp()
        one_hot = torch.zeros(len(rows) * k, CLASSES)
        one_hot = one_hot.scatter(1, labels[index].view(-1, 1), 1.0).view(len(rows), k, CLASSES)
        scores = (one_hot * weight.unsqueeze(2)).sum(dim=1)
        shares.append(scores / scores.sum(dim=1, keepdim=True))
    return torch.cat(shares)


def product(bank: Tensor, queries: Tensor, chunk: int = 512) -> Call:
    """All cosines, into one buffer."""
    buffer = torch.empty(chunk, len(bank))

    def call() -> None:
        for rows in queries.split(chunk):
            torch.mm(rows, bank.T, out=buffer[: len(rows)])

    return call


def check_same(found: dict[str, Any]) -> None:
    """Stop unless all found the same shares; a few rows may differ where items tie in float32."""
    for name, scores in found.items():
        differ = int(((scores - found["twofold"]).abs().amax(dim=1) > 1e-3).sum())
        if differ > 0.01 * len(scores):
            raise SystemExit(f"{name} and ours disagree on {differ} of {len(scores)} queries")


if __name__ == "__main__":
    main()
