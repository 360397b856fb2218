from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from twofold.contrast.pairs import (
    AllBut,
    Rule,
    all_but_self,
    at_least,
    both,
    different,
    hardest_threshold,
    parted,
    same,
)
from twofold.contrast.reductions import weighted_sum


def table(rule: Rule, n: int, m: int, similarity: Tensor | None = None) -> list[list[float]]:
    similarity = torch.zeros(n, m) if similarity is None else similarity
    return rule(torch.arange(n), torch.arange(m), similarity).int().tolist()


def test_keys() -> None:
    anchors, candidates = torch.tensor([5, 7]), torch.tensor([7, 5, 9])
    assert table(same(anchors, candidates), 2, 3) == [[0, 1, 0], [1, 0, 0]]
    assert table(different(anchors, candidates), 2, 3) == [[1, 0, 1], [0, 1, 1]]


def test_all_but_self() -> None:
    assert table(all_but_self(torch.tensor([2, 0])), 2, 3) == [[1, 1, 0], [0, 1, 1]]


def test_at_least_includes_equality() -> None:
    similarity = torch.tensor([[0.1, 0.5, 0.6], [0.1, 0.5, 0.6]])
    assert table(at_least(torch.tensor([0.5, 0.6])), 2, 3, similarity) == [[0, 1, 1], [0, 0, 1]]


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(n=st.integers(1, 6), m=st.integers(1, 8), seed=st.integers(0, 99))
def test_a_tile_of_a_rule_is_the_same_part_of_the_whole(n: int, m: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    anchors, candidates = (torch.randint(3, (size,), generator=generator) for size in (n, m))
    similarity = torch.rand(n, m, generator=generator)
    rules = [same(anchors, candidates), different(anchors, candidates), all_but_self(torch.arange(n))]
    rules += [at_least(similarity.mean(1)), both(rules[1], rules[2])]
    rows, columns = torch.arange(n)[n // 2 :], torch.arange(m)[m // 3 :]
    for rule in rules:
        whole = rule(torch.arange(n), torch.arange(m), similarity)
        part = rule(rows, columns, similarity[rows][:, columns])
        assert whole.dtype == torch.bool
        assert torch.equal(part, whole[rows][:, columns])


def test_both_keeps_bools_and_multiplies_weights() -> None:
    keys = torch.tensor([0, 1, 0])
    half: Rule = lambda rows, columns, similarity: torch.full_like(similarity, 0.5)  # noqa: E731
    tile = (torch.arange(3), torch.arange(3), torch.zeros(3, 3))
    bools = both(same(keys, keys), all_but_self(torch.arange(3)))(*tile)
    assert bools.dtype == torch.bool
    assert bools.int().tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    for rules in ([same(keys, keys), half, half], [half, same(keys, keys), half], [half, half, same(keys, keys)]):
        torch.testing.assert_close(both(*rules)(*tile), 0.25 * same(keys, keys)(*tile))
    assert torch.equal(both(half)(*tile), half(*tile))


def test_both_keeps_apart_what_is_left_out_by_its_place() -> None:
    keys, itself = torch.tensor([0, 1, 0]), all_but_self(torch.arange(3))
    left_out, rest = parted(both(same(keys, keys), itself))
    assert left_out is itself
    assert rest is not None
    tile = (torch.arange(3), torch.arange(3), torch.zeros(3, 3))
    assert torch.equal(rest(*tile), same(keys, keys)(*tile))
    assert parted(itself) == (itself, None)
    assert parted(None) == (None, None)
    two = both(itself, AllBut(torch.tensor([[1], [1], [1]])))
    assert parted(two) == (two, None)
    assert two.mutual is False
    assert two(*tile).int().tolist() == [[0, 0, 1], [1, 0, 1], [1, 0, 0]]


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(n=st.integers(1, 9), m=st.integers(1, 12), tile=st.integers(1, 5), data=st.data())
def test_threshold_keeps_exactly_the_hardest(n: int, m: int, tile: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, m))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    anchors, candidates = (torch.randn(size, 3, generator=generator, dtype=torch.float64) for size in (n, m))
    threshold = hardest_threshold(anchors, candidates, count=count, tile=tile)
    kept = torch.tensor(table(at_least(threshold), n, m, anchors @ candidates.T))
    assert kept.sum(1).eq(count).all()
    hardest = (anchors @ candidates.T).topk(count, dim=1).indices
    assert kept.gather(1, hardest).eq(1).all()


def test_threshold_counts_only_what_the_rule_leaves() -> None:
    anchors, candidates = torch.ones(1, 1), torch.tensor([[9.0], [5.0], [7.0], [3.0]])
    not_nine = all_but_self(torch.tensor([0]))
    expected = {1: 7.0, 2: 5.0, 3: 3.0, 4: -torch.inf}
    for count, value in expected.items():
        threshold = hardest_threshold(anchors, candidates, count=count, rule=not_nine)
        torch.testing.assert_close(threshold, torch.tensor([value]), rtol=1e-5, atol=0)


def test_threshold_survives_the_rounding_of_other_tiles() -> None:
    # Matrix products of other shapes differ in their last bits: 1 row to a tile loses many of the anchors here
    # when the threshold is taken literally.
    generator = torch.Generator().manual_seed(0)
    anchors, candidates = (torch.randn(size, 128, generator=generator) for size in (40, 3000))
    threshold = hardest_threshold(anchors, candidates, count=1)
    for tile in (0, 1, 3):
        kept = weighted_sum(anchors, candidates, rule=at_least(threshold), tile=tile).weight
        assert kept.eq(1).all()


def test_threshold_is_not_rounded_by_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    anchors, candidates = (F.normalize(torch.randn(size, 32, generator=generator)) for size in (20, 50))
    expected = hardest_threshold(anchors, candidates, count=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(hardest_threshold(anchors, candidates, count=3), expected)


@pytest.mark.parametrize("count", [0, 5])
def test_threshold_refuses_a_count_out_of_range(count: int) -> None:
    with pytest.raises(ValueError, match=f"count must be between 1 and the 4 candidates, got {count}"):
        hardest_threshold(torch.ones(2, 3), torch.ones(4, 3), count=count)
