"""Listed pairs: as many of them as there are, and the same numbers as with all pairs."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.contrast import sparse_pairs
from twofold.contrast.sparse_pairs import PairList, Pairs, apart, pair_logsumexp, pair_similarity


def from_matrix(matrix: torch.Tensor) -> PairList:
    counts = matrix.sum(1)
    return PairList(torch.cat([counts.new_zeros(1), counts.cumsum(0)]), matrix.nonzero()[:, 1])


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(samples=st.integers(2, 9), seed=st.integers(0, 999), share=st.floats(0, 1))
def test_pairs_of_a_batch_are_those_of_the_matrix(samples: int, seed: int, share: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.rand(samples, samples, generator=draw) < share
    anchors = torch.randperm(samples, generator=draw)[: 1 + samples // 2]
    candidates = torch.randperm(samples, generator=draw)[: 1 + samples // 3]
    pairs = from_matrix(matrix).pairs(anchors, candidates)
    found = torch.zeros(len(anchors), len(candidates), dtype=torch.bool)
    found[pairs.anchors, pairs.candidates] = True
    assert torch.equal(found, matrix[anchors][:, candidates])
    assert len(pairs.anchors) == int(found.sum())


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_similarities_and_gradients_are_those_of_the_product(chunk: int) -> None:
    draw = torch.Generator().manual_seed(0)
    a, c = (torch.randn(5, 3, generator=draw, dtype=torch.float64, requires_grad=True) for _ in range(2))
    pairs = Pairs(torch.tensor([0, 0, 3, 4, 1, 4]), torch.tensor([1, 4, 3, 0, 1, 4]))
    with mock.patch.object(sparse_pairs, "CHUNK", chunk):
        values = pair_similarity(a, c, pairs)
        torch.testing.assert_close(values, (a @ c.T)[pairs.anchors, pairs.candidates])
        assert torch.autograd.gradcheck(lambda a, c: pair_similarity(a, c, pairs), (a, c))


def test_the_log_of_sums_of_exponentials() -> None:
    values = torch.tensor([900.0, 901.0, -2.0], dtype=torch.float64, requires_grad=True)
    pairs = Pairs(torch.tensor([0, 0, 2]), torch.tensor([0, 1, 0]))
    result = pair_logsumexp(values, pairs, 3)
    expected = torch.stack([values[:2].logsumexp(0), torch.tensor(-torch.inf).double(), values[2]])
    torch.testing.assert_close(result, expected)
    result[[0, 2]].sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad[:2], values.detach()[:2].softmax(0))


def test_samples_are_as_far_apart_as_clusterings_say() -> None:
    labels = torch.tensor([[0, 0, 1], [0, 1, 1]])
    rule = apart(labels, labels[:, [2, 0]])
    weight = rule(torch.tensor([0, 1, 2]), torch.tensor([0, 1]), torch.zeros(3, 2))
    assert weight.tolist() == [[2, 0], [1, 1], [0, 2]]


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="starts must rise from 0 to the 3 partners"):
        PairList(torch.tensor([0, 1]), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"partners must lie in 0\.\.1, got 0\.\.5"):
        PairList(torch.tensor([0, 1, 2]), torch.tensor([0, 5]))
