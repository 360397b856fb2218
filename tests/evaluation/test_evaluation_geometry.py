from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.evaluation import geometry_report, is_collapsed
from twofold.evaluation.geometry import matched_positions


def test_report_of_an_orthogonal_cross_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    report = geometry_report(x, torch.tensor([0, 0, 1, 1]))
    # each point: two neighbours at squared distance 2, one at 4
    assert report["uniformity"] == pytest.approx(math.log((2 * math.exp(-4) + math.exp(-8)) / 3))
    assert report["effective_rank"] == pytest.approx(2.0)
    assert report["dimension_std"] == pytest.approx(1.0)
    assert report["tolerance"] == pytest.approx(-1.0)
    assert "alignment" not in report


def test_alignment_of_given_pairs() -> None:
    a, b = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    report = geometry_report(torch.eye(2), positives=torch.stack([a, b]))
    assert report["alignment"] == pytest.approx(1.0)


def test_tolerance_needs_two_of_a_class() -> None:
    x = torch.eye(4)
    assert "tolerance" not in geometry_report(x, torch.tensor([0, 1, 2, -1]))
    assert "tolerance" not in geometry_report(x, torch.full((4,), -1))
    assert geometry_report(x, torch.tensor([0, 0, -1, -1]))["tolerance"] == pytest.approx(0.0)


def test_evenly_spaced_rows_stand_for_all() -> None:
    x = torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    whole, part = geometry_report(x), geometry_report(x, sample=500)
    assert part["uniformity"] != whole["uniformity"]
    assert part["uniformity"] == pytest.approx(whole["uniformity"], abs=0.1)
    assert geometry_report(x, sample=1000) == whole


def test_collapse_is_seen_and_only_collapse() -> None:
    line = torch.ones(5, 3) * torch.arange(1, 6)[:, None]
    assert is_collapsed(line)
    assert is_collapsed(torch.zeros(5, 3))
    assert not is_collapsed(-line * torch.tensor([1.0, -1, 1, -1, 1])[:, None])
    assert not is_collapsed(torch.eye(3))
    assert not is_collapsed(torch.ones(1, 3))


@given(st.lists(st.integers(0, 4), max_size=20), st.lists(st.integers(0, 4), max_size=20))
@settings(deadline=None, max_examples=50)
def test_partners_share_the_code_and_serve_equally(queries: list[int], gallery: list[int]) -> None:
    q, g = torch.tensor(queries, dtype=torch.int64), torch.tensor(gallery, dtype=torch.int64)
    left, right = matched_positions(q, g)
    assert torch.equal(q[left], g[right])
    assert sorted(left.tolist()) == [i for i, code in enumerate(queries) if code in gallery]
    for code in set(queries) & set(gallery):
        served = torch.bincount(right, minlength=len(g))[g == code]
        assert served.max() - served.min() <= 1


@given(st.lists(st.integers(0, 4), max_size=20))
@settings(deadline=None, max_examples=50)
def test_partners_within_a_set_are_others(codes: list[int]) -> None:
    c = torch.tensor(codes, dtype=torch.int64)
    left, right = matched_positions(c)
    assert torch.equal(c[left], c[right])
    assert (left != right).all()
    assert sorted(left.tolist()) == [i for i, code in enumerate(codes) if codes.count(code) > 1]
    assert sorted(right.tolist()) == sorted(left.tolist())
