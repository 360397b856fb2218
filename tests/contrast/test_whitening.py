"""Whitening in shuffled groups."""

from __future__ import annotations

import pytest
import torch

from twofold.contrast.whitening import shuffled_group_whitening as whiten


def rows(n=200, d=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + 3


def test_groups_come_out_white():
    made = whiten(rows(), group_size=4)
    torch.testing.assert_close(made.mean(0), torch.zeros(12, dtype=torch.float64), atol=1e-10, rtol=0)
    covariance = made.T @ made / 200
    for group in range(3):
        part = slice(4 * group, 4 * group + 4)
        torch.testing.assert_close(covariance[part, part], torch.eye(4, dtype=torch.float64), atol=1e-8, rtol=0)
    assert covariance.triu(1).abs().max() > 0.1, "not between groups"


def test_it_is_zca_by_hand():
    x = rows(50, 3)
    centred = x - x.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / 50)
    expected = centred @ vectors @ torch.diag(values.rsqrt()) @ vectors.T
    torch.testing.assert_close(whiten(x, group_size=3), expected)


def test_a_permutation_is_undone_and_another_gives_another_view():
    x = rows()
    seeded = [whiten(x, group_size=4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(seeded[0], seeded[1])
    assert not torch.allclose(seeded[0], seeded[2])
    whole = [whiten(x, group_size=12, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    torch.testing.assert_close(whole[0], whiten(x, group_size=12))
    torch.testing.assert_close(whole[0], whole[1])
    scales = whiten(x, group_size=1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scales, (x - x.mean(0)) / x.std(0, correction=0))


def test_no_gradient_through_the_matrix():
    x = rows(30, 4).requires_grad_()
    target = rows(30, 4, seed=5)
    (whiten(x, group_size=4) * target).sum().backward()
    centred = (x - x.mean(0)).detach()
    values, vectors = torch.linalg.eigh(centred.T @ centred / 30)
    expected = target @ (vectors @ torch.diag(values.rsqrt()) @ vectors.T)
    torch.testing.assert_close(x.grad, expected - expected.mean(0))


def test_a_dead_dimension_stays_finite():
    x = rows()
    x[:, 3] = 1.0
    x.requires_grad_()
    made = whiten(x, group_size=12)
    made.sum().backward()
    assert bool(made.isfinite().all())
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize(
    ("n", "size", "message"), [(20, 5, "must divide"), (4, 4, "more rows"), (20, 0, "must divide")]
)
def test_sizes_that_do_not_fit(n, size, message):
    with pytest.raises(ValueError, match=message):
        whiten(rows(n), group_size=size)
