"""Nearest rows by cosine: what candidates in bfloat16 lead to is what a comparison with everything gives."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twofold.evaluation import nearest, weighted_knn
from twofold.evaluation.nearest import largest, nearest_by_cosine


@pytest.fixture
def by_candidates(monkeypatch):
    """Search by candidates at any size, also where bfloat16 is emulated; gives the list of what it found."""
    found, search = [], nearest._through_candidates

    def watched(*arguments):
        found.append(search(*arguments))
        return found[-1]

    monkeypatch.setattr(nearest, "_through_candidates", watched)
    let_candidates_pay(monkeypatch)
    return found


def let_candidates_pay(patch):
    """At any size, also where bfloat16 is emulated."""
    patch.setattr(nearest, "has_native_bf16", lambda device: True)
    patch.setattr(nearest, "LEAST_QUERIES", 1)
    patch.setattr(nearest, "LEAST_SHARE", 1)


def rows(count, dim, seed=0, centre=0.0):
    return centre + torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def assert_nearest(bank, queries, count, **how):
    values, index = nearest_by_cosine(bank, queries, count, **how)
    cosine = torch.nn.functional.cosine_similarity(queries[:, None].double(), bank[None].double(), dim=2)
    expected = cosine.topk(count, dim=1).values
    torch.testing.assert_close(values.double(), expected, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(cosine.gather(1, index), expected, atol=1e-6, rtol=0.0)
    assert all(len(row.unique()) == count for row in index)


@pytest.mark.parametrize("count", [1, 10, 150])
@pytest.mark.parametrize(("chunk", "block"), [(64, 4000), (17, 700)])
def test_candidates_lead_to_the_nearest(by_candidates, count, chunk, block):
    assert_nearest(rows(3000, 48) * rows(3000, 1, 2).exp(), 5 * rows(50, 48, 1), count, chunk=chunk, block=block)
    ((_, _, unsure),) = by_candidates
    assert not unsure.any()


@given(
    seed=st.integers(0, 1000),
    items=st.integers(80, 400),
    distinct=st.integers(1, 400),
    count=st.integers(1, 12),
    block=st.integers(80, 500),
    centre=st.sampled_from([0.0, 1.0, 30.0]),
)
@example(seed=8, items=80, distinct=80, count=5, block=80, centre=30.0)  # told apart by the rounding of products alone
@settings(deadline=None, max_examples=60)
def test_ties_and_crowded_directions_do_not_deceive(seed, items, distinct, count, block, centre):
    bank = rows(distinct, 6, seed, centre)[
        torch.randint(distinct, (items,), generator=torch.Generator().manual_seed(seed))
    ]
    queries = rows(9, 6, seed + 1, centre)
    with pytest.MonkeyPatch.context() as patch:
        let_candidates_pay(patch)
        assert_nearest(bank, queries, count, chunk=4, block=block)


def test_what_candidates_cannot_tell_is_compared_with_everything(by_candidates, monkeypatch):
    monkeypatch.setattr(nearest, "MOST_UNSURE", 1.0)
    bank = rows(2000, 16)
    bank[:1000] = bank[0] + 1e-4 * rows(1000, 16, 3)  # cosines that bfloat16 cannot tell apart
    queries = torch.cat([bank[:1] + 1e-3 * rows(8, 16, 4), rows(40, 16, 5)])
    assert_nearest(bank, queries, 5, chunk=16, block=2000)
    ((_, _, unsure),) = by_candidates
    assert unsure[:8].all()
    assert not unsure.all()


def test_the_search_by_candidates_is_given_up_where_it_tells_little(by_candidates):
    assert_nearest(torch.ones(500, 8) + 1e-4 * rows(500, 8), torch.ones(20, 8), 3, chunk=8, block=500)
    assert by_candidates == [None]


def test_no_row_that_is_left_out_is_nearer_than_the_bound(by_candidates):
    for dim in (3, 64, 700):
        bank, queries = rows(1500, dim, centre=0.3), rows(30, dim, 1, centre=0.3)
        nearest_by_cosine(bank, queries, 4, chunk=30, block=750)
        values, _, unsure = by_candidates[-1]
        cosine = torch.nn.functional.cosine_similarity(queries[:, None].double(), bank[None].double(), dim=2)
        sure = ~unsure
        best = cosine.topk(4, dim=1).values
        torch.testing.assert_close(values[sure].double(), best[sure], atol=1e-6, rtol=0.0)
        assert sure.any()


def test_votes_are_the_same_either_way(by_candidates):
    bank, queries, labels = rows(2500, 32), rows(40, 32, 1), torch.arange(2500) % 7
    bank[2000:2100] = bank[:100]
    found = weighted_knn(bank, labels, queries, k=9).scores
    assert len(by_candidates) == 1
    torch.testing.assert_close(found, weighted_knn(bank.double(), labels, queries.double(), k=9).scores.float())
    assert len(by_candidates) == 1, "float64 is compared with everything"


@pytest.mark.parametrize("count", [1, 3, 20])
@pytest.mark.parametrize("columns", [20, 181, 1000])
def test_search_by_groups_finds_the_largest(columns, count):
    values = torch.randint(200, (30, columns), generator=torch.Generator().manual_seed(0)).float()
    found, where = largest(values, count)
    assert torch.equal(found.sort(descending=True).values, values.topk(count).values)
    assert torch.equal(values.gather(1, where), found)
    assert all(len(row.unique()) == count for row in where)
