"""InfoNCE with several positives and weighted candidates, by its definition and in its special cases."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from naive import assert_values, similarity_of
from objective_cases import random_views, small_tiles

from twofold.contrast.objectives import info_nce, weighted_info_nce
from twofold.contrast.pairs import different
from twofold.contrast.sparse_pairs import PairList, Pairs, apart

TAU = 0.4
LABELS = torch.tensor([[0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 0]])
PARTNERS = {0: [0, 3], 1: [1], 2: [2, 0, 5], 3: [3, 4], 4: [4, 1], 5: [5]}


def listed() -> Pairs:
    counts = torch.tensor([len(own) for own in PARTNERS.values()])
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    numbers = torch.arange(6)
    return PairList(starts, torch.tensor([j for own in PARTNERS.values() for j in own])).pairs(numbers, numbers)


@pytest.mark.parametrize("tiled", [False, True])
def test_by_definition(tiled: bool) -> None:
    z = random_views(2, 6, 4)
    s = similarity_of(z)
    expected = []
    for i, own in PARTNERS.items():
        weights = [sum(int(labels[i] != labels[j]) for labels in LABELS) for j in range(6)]
        repulsion = sum(weights[j] * exp(s(0, i, 1, j) / TAU) for j in range(6))
        expected.append(log(repulsion) - log(sum(exp(s(0, i, 1, j) / TAU) for j in own)))
    options = {"temperature": TAU, "positives": listed(), "weights": apart(LABELS, LABELS), "reduction": "none"}
    if not tiled:
        assert_values(weighted_info_nce(z[0], z[1], **options), expected)
        return
    with small_tiles():
        assert_values(weighted_info_nce(z[0], z[1], **options), expected)


def test_without_lists_and_weights_it_is_info_nce() -> None:
    z = random_views(2, 7, 4)
    torch.testing.assert_close(
        weighted_info_nce(z[0], z[1], temperature=TAU, reduction="none"),
        info_nce(z[0], z[1], temperature=TAU, reduction="none"),
    )


def test_clusters_of_one_leave_out_the_positive_and_add_the_log_of_their_number() -> None:
    z, own = random_views(2, 6, 4), torch.arange(6)
    clusterings = torch.stack([own, own.flip(0), own])
    weighted = weighted_info_nce(z[0], z[1], temperature=TAU, weights=apart(clusterings, clusterings))
    without = weighted_info_nce(z[0], z[1], temperature=TAU, weights=different(own, own))
    torch.testing.assert_close(weighted, without + log(3))
    assert without < info_nce(z[0], z[1], temperature=TAU)


def test_more_positives_cost_less_and_pull_on_all_of_them() -> None:
    z = random_views(2, 6, 4)
    alone = weighted_info_nce(z[0], z[1], temperature=TAU, reduction="none")
    several = weighted_info_nce(z[0], z[1], temperature=TAU, positives=listed(), reduction="none")
    more = torch.tensor([len(own) > 1 for own in PARTNERS.values()])
    assert (several < alone)[more].all()
    torch.testing.assert_close(several[~more], alone[~more])


def test_an_anchor_without_positives_or_candidates_costs_nothing() -> None:
    z = random_views(2, 4, 3).requires_grad_()
    pairs = Pairs(torch.tensor([0, 1, 3]), torch.tensor([0, 2, 3]))  # none of anchor 2
    weights = different(torch.tensor([5, 5, 5, 1]), torch.tensor([1, 1, 1, 1]))  # none of anchor 3
    losses = weighted_info_nce(z[0], z[1], temperature=TAU, positives=pairs, weights=weights, reduction="none")
    assert losses[2] == losses[3] == 0
    assert (losses[:2] != 0).all()
    losses.sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert (z.grad[0, 2:] == 0).all()


def test_a_row_of_nan_is_not_hidden() -> None:
    z = random_views(2, 4, 3)
    z[0, 1] = torch.nan
    losses = weighted_info_nce(z[0], z[1], temperature=TAU, positives=Pairs(torch.arange(4), torch.arange(4)))
    assert losses.isnan()


def test_what_is_refused() -> None:
    z = random_views(2, 4, 3)
    with pytest.raises(ValueError, match="must have the same shape"):
        weighted_info_nce(z[0], z[1, :3], temperature=TAU)
    with pytest.raises(ValueError, match="temperature must be positive"):
        weighted_info_nce(z[0], z[1], temperature=0.0)
