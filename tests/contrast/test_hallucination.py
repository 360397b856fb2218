"""Positives made in the space of embeddings: the geometry they promise."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from twofold.contrast.hallucination import farthest_share, hallucinate_positives, slerp


def unit_rows(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=draw, dtype=torch.float64), dim=-1)


def test_a_great_circle_keeps_length_and_divides_the_angle():
    start, end = unit_rows(2, 50, 6)
    for share in (0.0, 0.3, 1.0):
        point = slerp(start, end, torch.full((50,), share, dtype=torch.float64))
        assert torch.allclose(point.norm(dim=1), torch.ones(50, dtype=torch.float64))
        whole = (start * end).sum(1).acos()
        torch.testing.assert_close((start * point).sum(1).clamp(-1, 1).acos(), share * whole, atol=1e-6, rtol=1e-6)
    same = slerp(start, start, torch.full((50,), 0.5, dtype=torch.float64))
    torch.testing.assert_close(same, start)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 9))
@example(2364, 2)  # two prototypes that all but coincide
def test_at_the_farthest_share_both_prototypes_are_as_near(seed, dim):
    anchors, first, second = unit_rows(3, 20, dim, seed=seed)
    nearer = ((anchors * first).sum(1) >= (anchors * second).sum(1))[:, None]
    own, other = torch.where(nearer, first, second), torch.where(nearer, second, first)
    share = farthest_share(anchors, own, other)
    assert bool(((share >= 0) & (share <= 1)).all())
    there = slerp(anchors, other, share)
    differ = 1 - (own * other).sum(1) > 1e-7  # of others float32 could not tell that they do
    assert not share[~differ].any()
    torch.testing.assert_close((there * own).sum(1)[differ], (there * other).sum(1)[differ], atol=1e-6, rtol=1e-6)
    before = slerp(anchors, other, 0.9 * share)
    assert bool(((before * own).sum(1) >= (before * other).sum(1) - 1e-9).all())


def test_the_closed_form_needs_the_angle_of_both_signs():
    """K + cos Ω < 0 occurs; there the angle of the quotient alone would point backwards."""
    anchors, own, other = unit_rows(3, 20_000, 3)
    nearer = (anchors * own).sum(1) > (anchors * other).sum(1)
    anchors, own, other = anchors[nearer], own[nearer], other[nearer]
    ratio = (1 - (own * other).sum(1)) / (anchors * (own - other)).sum(1)
    backwards = ratio + (anchors * other).sum(1) < 0
    assert 0 < int(backwards.sum()) < len(anchors) / 5
    share = farthest_share(anchors[backwards], own[backwards], other[backwards])
    assert bool((share > 0.5).all())


def test_prototypes_that_coincide_leave_the_anchor_where_it_is():
    anchors = unit_rows(4, 5)
    own = unit_rows(4, 5, seed=1)
    assert torch.equal(farthest_share(anchors, own, own), torch.zeros(4, dtype=torch.float64))
    made = hallucinate_positives(anchors, own[:1].repeat(3, 1), count=2, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(made.rows).all())


def test_kept_positives_are_nearest_to_the_prototype_of_their_anchor():
    anchors, prototypes = unit_rows(200, 8), unit_rows(12, 8, seed=1)
    made = hallucinate_positives(anchors, prototypes, spread=0.5, count=20, generator=torch.Generator().manual_seed(0))
    assert made.rows.shape == (200, 20, 8)
    own = (anchors @ prototypes.T).argmax(1)
    nearest = (made.rows @ prototypes.T).argmax(2)
    assert torch.equal(made.kept, nearest == own[:, None])
    edge = hallucinate_positives(anchors, prototypes, spread=0.0, generator=torch.Generator().manual_seed(0))
    assert 0.2 < float((~edge.kept).double().mean()) < 0.8  # there a third prototype often wins


def test_less_spread_makes_harder_positives():
    anchors, prototypes = unit_rows(100, 8), unit_rows(10, 8, seed=1)
    near, far = (
        hallucinate_positives(anchors, prototypes, spread=s, count=20, generator=torch.Generator().manual_seed(0)).rows
        for s in (1.0, 0.0)
    )
    to_near, to_far = ((rows * anchors[:, None]).sum(2).mean() for rows in (near, far))
    assert float(to_near) > float(to_far) + 0.05


def test_every_other_prototype_is_a_target_and_the_own_one_never():
    """Towards prototypes at right angles the direction shows which was drawn."""
    prototypes = torch.eye(4, dtype=torch.float64)
    anchors = F.normalize(torch.tensor([[1.0, 0.3, 0.3, 0.3]], dtype=torch.float64), dim=1)
    made = hallucinate_positives(anchors, prototypes, count=3000, generator=torch.Generator().manual_seed(0))
    moved = (made.rows[0] - anchors) / (made.rows[0] - anchors).norm(dim=1, keepdim=True).clamp(min=1e-9)
    target = (moved @ prototypes.T).argmax(1).bincount(minlength=4)
    assert int(target[0]) == 0
    assert all(abs(int(count) - 1000) < 120 for count in target[1:])


def test_the_generator_decides_everything_and_nothing_has_a_gradient():
    anchors, prototypes = unit_rows(5, 4).requires_grad_(), unit_rows(3, 4, seed=1)
    first, again, other = (
        hallucinate_positives(anchors, prototypes, count=4, generator=torch.Generator().manual_seed(s)).rows
        for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not first.requires_grad


def test_bad_input_is_named():
    anchors, draw = unit_rows(5, 4), torch.Generator()
    with pytest.raises(ValueError, match="prototypes has 1 row"):
        hallucinate_positives(anchors, anchors[:1], generator=draw)
    with pytest.raises(ValueError, match=r"got shapes \(5, 4\) and \(5, 3\)"):
        hallucinate_positives(anchors, anchors[:, :3], generator=draw)
    with pytest.raises(ValueError, match=r"spread must lie between 0 and 1, got 1\.2"):
        hallucinate_positives(anchors, anchors, spread=1.2, generator=draw)
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        hallucinate_positives(anchors, anchors, count=0, generator=draw)
