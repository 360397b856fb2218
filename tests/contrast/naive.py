"""What the tests of the objectives compare with: similarities looked up one by one, and plain floats."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt

import torch
from torch import Tensor


def similarity_of(z: Tensor) -> Callable[[int, int, int, int], float]:
    """``s(v, i, w, j)``: the cosine of view v of sample i and view w of sample j."""
    rows = [[[float(x) for x in row] for row in view] for view in z]
    length = [[sqrt(sum(x * x for x in row)) for row in view] for view in rows]

    def s(v: int, i: int, w: int, j: int) -> float:
        dot = sum(x * y for x, y in zip(rows[v][i], rows[w][j], strict=True))
        return dot / (length[v][i] * length[w][j])

    return s


def each_anchor(z: Tensor) -> list[tuple[int, int]]:
    """(v, i) in the order of reduction="none": view after view."""
    return [(v, i) for v in range(z.shape[0]) for i in range(z.shape[1])]


def log_sum_exp(values: list[float]) -> float:
    return log(sum(exp(x) for x in values))


def assert_values(actual: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)
