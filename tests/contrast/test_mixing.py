"""Synthetic negatives: which negatives they are mixed from, how much of the query they hold, and what is left out."""

import pytest
import torch

from twofold.contrast import mixing
from twofold.contrast.mixing import synthetic_negatives
from twofold.contrast.pairs import different


def rows(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(x):
    return torch.nn.functional.normalize(x, dim=-1)


def mix(queries, negatives, *, seed=0, **arguments):
    return synthetic_negatives(queries, negatives, generator=torch.Generator().manual_seed(seed), **arguments)


def coefficients(mixture, *parts):
    """Least-squares weights of ``parts`` in ``mixture``, and what they leave unexplained."""
    basis = torch.stack(parts, dim=1)
    solution = torch.linalg.lstsq(basis, mixture[:, None]).solution
    return solution.squeeze(1), (basis @ solution - mixture[:, None]).norm().item()


def test_shape_length_and_no_gradient():
    queries = rows(5, 8).requires_grad_()
    synthetic = mix(queries, rows(20, 8, seed=1).requires_grad_(), hardest=6, mixed=7, with_query=3)
    assert synthetic.shape == (5, 10, 8)
    assert synthetic.dtype == torch.float64
    assert not synthetic.requires_grad
    torch.testing.assert_close(synthetic.norm(dim=-1), torch.ones(5, 10).double())


def test_mixtures_hold_two_of_the_hardest_with_positive_weights(monkeypatch):
    monkeypatch.setattr(mixing, "_ROWS_AT_A_TIME", 2)
    queries, negatives = unit(rows(5, 12)), unit(rows(9, 12, seed=1))
    synthetic = mix(queries, negatives, hardest=2, mixed=20, with_query=0)
    for i in range(5):
        hard = negatives[(queries[i] @ negatives.T).topk(2).indices]
        for mixture in synthetic[i]:
            weights, left = coefficients(mixture, *hard)
            assert left < 1e-9
            assert (weights > -1e-9).all()


def test_the_share_of_the_query_stays_the_smaller_one():
    queries, negatives = unit(rows(4, 12)), unit(rows(9, 12, seed=1))
    synthetic = mix(queries, negatives, hardest=1, mixed=0, with_query=50)
    shares = []
    for i in range(4):
        hardest = negatives[(queries[i] @ negatives.T).argmax()]
        for mixture in synthetic[i]:
            weights, left = coefficients(mixture, queries[i], hardest)
            assert left < 1e-9
            shares.append((weights[0] / weights.sum()).item())
    assert 0 <= min(shares) < 0.1
    assert 0.4 < max(shares) <= 0.5


def test_draws_are_anew_for_every_query_and_come_from_the_generator():
    queries, negatives = rows(1, 6).expand(3, 6), rows(30, 6, seed=1)
    first = mix(queries, negatives, hardest=30, mixed=5, with_query=5)
    assert not torch.allclose(first[0], first[1])
    assert torch.equal(first, mix(queries, negatives, hardest=30, mixed=5, with_query=5))
    assert not torch.allclose(first, mix(queries, negatives, seed=1, hardest=30, mixed=5, with_query=5))


def test_mixtures_with_the_query_are_harder_than_its_hardest_negative():
    queries, negatives = unit(rows(6, 10)), unit(rows(40, 10, seed=1))
    synthetic = mix(queries, negatives, hardest=1, mixed=0, with_query=9)
    top = (queries @ negatives.T).amax(dim=1, keepdim=True)
    assert (torch.einsum("nd,nsd->ns", queries, synthetic) >= top - 1e-9).all()


def test_a_rule_keeps_own_rows_out_even_where_few_are_left():
    queries = unit(rows(4, 6))
    negatives = torch.cat([queries, unit(rows(2, 6, seed=1))])  # each query's own row is its hardest negative
    rule = different(torch.arange(4), torch.tensor([0, 1, 2, 3, 0, 0]))
    synthetic = mix(queries, negatives, hardest=6, mixed=200, with_query=0, rule=rule)
    allowed = negatives[1:4]
    for mixture in synthetic[0]:
        assert coefficients(mixture, *allowed)[1] < 1e-9
    free = mix(queries, negatives, hardest=6, mixed=200, with_query=0)[0]
    assert max(coefficients(mixture, *allowed)[1] for mixture in free) > 0.1


def test_what_a_rule_leaves_is_drawn_evenly():
    queries, negatives = unit(rows(1, 6)), unit(rows(9, 6, seed=1))
    kept = [2, 5, 7]
    rule = different(torch.tensor([1]), torch.tensor([0 if j in kept else 1 for j in range(9)]))
    synthetic = mix(queries, negatives, hardest=9, mixed=0, with_query=300, rule=rule)[0]
    counts = [sum(coefficients(m, queries[0], negatives[j])[1] < 1e-9 for m in synthetic) for j in kept]
    assert sum(counts) == 300
    assert min(counts) > 70


def test_a_query_without_negatives_is_named():
    keys = torch.tensor([3, 7, 3])
    with pytest.raises(ValueError, match="query 1 without any negative"):
        mix(rows(3, 4), rows(5, 4, seed=1), hardest=2, rule=different(keys, torch.full((5,), 7)))


def test_no_synthetic_ones_and_degenerate_rows():
    assert mix(rows(3, 4), rows(5, 4), hardest=2, mixed=0, with_query=0).shape == (3, 0, 4)
    for fill in (0.0, 1.0):
        same = torch.full((3, 4), fill)
        assert torch.isfinite(mix(same, same, hardest=3, mixed=4, with_query=4)).all()
    assert mix(same.bfloat16(), same.bfloat16(), hardest=3).dtype == torch.float32


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="between 1 and the 5 negatives, got 6"):
        mix(rows(3, 4), rows(5, 4), hardest=6)
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(5, 3\)"):
        mix(rows(3, 4), rows(5, 3), hardest=2)
    with pytest.raises(ValueError, match="must not be negative, got -1 and 2"):
        mix(rows(3, 4), rows(5, 4), hardest=2, mixed=-1, with_query=2)
