"""Sparse products against dense ones, with gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twofold.nn.sparse import compressed, plain_product, product, transposed


def matrix_of(dense):
    rows, columns = dense.nonzero().T
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), rows.bincount(minlength=len(dense)).cumsum(0)])
    return compressed(starts, columns, dense[rows, columns], tuple(dense.shape))


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 7), columns=st.integers(1, 7), width=st.integers(1, 4), seed=st.integers(0, 99))
def test_products_and_gradients_are_those_of_dense_matrices(rows, columns, width, seed):
    draw = torch.Generator().manual_seed(seed)
    dense = torch.randn(rows, columns, generator=draw) * (torch.rand(rows, columns, generator=draw) < 0.4)
    matrix, given_rows = matrix_of(dense), torch.randn(columns, width, generator=draw)
    assert torch.equal(matrix.to_dense(), dense)
    assert torch.equal(transposed(matrix).to_dense(), dense.T)
    for dtype in (torch.float32, torch.float64):
        leaf = given_rows.to(dtype).requires_grad_()
        found = product(matrix, leaf, transposed(matrix))
        assert found.dtype == dtype
        assert torch.allclose(found, dense.to(dtype) @ leaf, atol=1e-6)
        upstream = torch.randn(rows, width, generator=draw, dtype=torch.float64).to(dtype)
        assert torch.allclose(torch.autograd.grad(found, leaf, upstream)[0], dense.T.to(dtype) @ upstream, atol=1e-6)


def test_a_symmetric_matrix_is_its_own_transpose():
    half = torch.rand(5, 5).round()
    matrix, leaf = matrix_of(half + half.T), torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda rows: product(matrix, rows), (leaf,))


@pytest.mark.parametrize("width", [0, 3])
def test_any_layout_of_rows_is_taken(width):
    matrix = matrix_of(torch.eye(4) * 2)
    rows = torch.arange(4.0 * width).reshape(width, 4).T
    assert torch.equal(plain_product(matrix, rows), 2 * rows)


def test_under_autocast_it_stays_in_the_precision_of_the_rows():
    matrix, rows = matrix_of(torch.rand(4, 4)), torch.randn(4, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = product(matrix, rows)
    assert found.dtype == torch.float32
    assert torch.equal(found, product(matrix, rows))


def test_indices_are_as_short_as_they_may_be():
    assert matrix_of(torch.eye(3)).col_indices().dtype == torch.int32
