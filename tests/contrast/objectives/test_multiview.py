from __future__ import annotations

from itertools import combinations

import pytest
import torch
from naive import assert_values, each_anchor, log_sum_exp, similarity_of
from objective_cases import random_views
from torch.nn import functional as F

from twofold.contrast.objectives import mv_dhel, mv_info_nce, nt_xent, pairwise_average

TAU = 0.4


def log_sum_of_pairs(z: torch.Tensor, i: int) -> float:
    s = similarity_of(z)
    return log_sum_exp([s(v, i, w, i) / TAU for v, w in combinations(range(len(z)), 2)])


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("same_view_negatives", [True, False])
def test_mv_info_nce_by_definition(views: int, same_view_negatives: bool) -> None:
    z = random_views(views, 4, 3)
    s = similarity_of(z)
    expected = []
    for i in range(4):
        top = [s(v, i, w, i) / TAU for v in range(views) for w in range(views) if v != w]
        bottom = [
            s(v, i, w, j) / TAU
            for v in range(views)
            for w, j in each_anchor(z)
            if (w, j) != (v, i) and (same_view_negatives or w != v)
        ]
        expected.append(log_sum_exp(bottom) - log_sum_exp(top))
    actual = mv_info_nce(z, temperature=TAU, same_view_negatives=same_view_negatives, reduction="none")
    assert_values(actual, expected)


@pytest.mark.parametrize("views", [2, 3, 4])
def test_mv_dhel_by_definition(views: int) -> None:
    z = random_views(views, 4, 3)
    s = similarity_of(z)
    expected = []
    for i in range(4):
        uniformity = sum(log_sum_exp([s(v, i, v, j) / TAU for j in range(4) if j != i]) for v in range(views))
        expected.append(uniformity - log_sum_of_pairs(z, i))
    assert_values(mv_dhel(z, temperature=TAU, reduction="none"), expected)


def test_mv_dhel_of_two_views_is_dhel() -> None:
    a, b = F.normalize(random_views(2, 6, 4), dim=-1)
    alone = torch.eye(6, dtype=torch.bool)
    spread = [(x @ x.T / TAU).masked_fill(alone, -torch.inf).logsumexp(1) for x in (a, b)]
    expected = -(a * b).sum(1) / TAU + spread[0] + spread[1]
    torch.testing.assert_close(mv_dhel(torch.stack([a, b]), temperature=TAU, reduction="none"), expected)


def test_mv_info_nce_of_two_views_is_not_nt_xent() -> None:
    z = random_views(2, 6, 4)
    assert (mv_info_nce(z, temperature=TAU) - nt_xent(z, temperature=TAU)).abs() > 1e-3


def test_many_views_do_not_overflow() -> None:
    z = random_views(8, 16, 4, dtype=torch.float32)
    for objective in (mv_dhel, mv_info_nce):
        assert objective(z, temperature=0.01).isfinite()


def test_pairwise_average() -> None:
    z = random_views(3, 5, 4)
    torch.testing.assert_close(pairwise_average(z[:2], temperature=TAU), nt_xent(z[:2], temperature=TAU))
    pairs = [nt_xent(z[[a, b]], temperature=TAU) for a, b in ((0, 1), (0, 2), (1, 2))]
    torch.testing.assert_close(pairwise_average(z, temperature=TAU), sum(pairs) / 3)


@pytest.mark.parametrize("objective", [mv_dhel, mv_info_nce])
def test_one_temperature_per_sample(objective) -> None:
    z = random_views(3, 4, 3)
    temperatures = torch.tensor([0.1, 0.3, 0.5, 0.7])
    each = [objective(z, temperature=float(t), reduction="none")[i] for i, t in enumerate(temperatures)]
    torch.testing.assert_close(objective(z, temperature=temperatures, reduction="none"), torch.stack(each))
