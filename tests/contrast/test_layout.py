from __future__ import annotations

import pytest
import torch
from objective_cases import random_views

from twofold.contrast import layout
from twofold.contrast.directions import unit
from twofold.contrast.layout import flatten_views, inverse_temperature, logit_bound, positive_similarity


def test_flat_views_of_one_process() -> None:
    z = random_views(3, 4, 2)
    flat = flatten_views(z)
    assert torch.equal(flat.anchors, z.reshape(12, 2))
    assert torch.equal(flat.candidates, z.reshape(12, 2))
    assert flat.anchor_items.tolist() == flat.candidate_items.tolist() == [0, 1, 2, 3] * 3
    assert flat.positions.tolist() == list(range(12))


def test_flat_views_of_the_second_of_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = random_views(2, 6, 2)
    mine = everyone[:, 3:]
    monkeypatch.setattr(layout, "gather", lambda rows, dim: everyone)
    monkeypatch.setattr(layout, "local_rows", lambda count, device: torch.arange(count) + 3)
    flat = flatten_views(mine)
    assert flat.anchor_items.tolist() == [3, 4, 5] * 2
    assert flat.candidate_items.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert flat.positions.tolist() == [3, 4, 5, 9, 10, 11]
    assert torch.equal(flat.candidates[flat.positions], flat.anchors)
    tile = (torch.arange(6), torch.arange(12), torch.zeros(6, 12))
    assert flat.not_self()(*tile).sum(1).tolist() == [11] * 6
    negatives = flat.other_items()(*tile)
    assert negatives[0].int().tolist() == [1, 1, 1, 0, 1, 1] * 2
    assert torch.equal(negatives[0], negatives[3])


def test_inverse_temperature_keeps_the_gradient() -> None:
    z = random_views(2, 3, 4)
    assert inverse_temperature(0.5, z) == 2
    learned = torch.tensor(0.25, requires_grad=True)  # float32, beside float64 embeddings
    scale = inverse_temperature(learned, z)
    assert (scale.dtype, scale.item(), scale.shape) == (torch.float64, 4.0, ())
    scale.backward()
    assert learned.grad == -16
    each = inverse_temperature(torch.tensor([0.5, 0.25, 0.125]), z, views=2)
    assert each.tolist() == [2, 4, 8, 2, 4, 8]


@pytest.mark.parametrize("shape", [(1,), (2,), (6,), (3, 1)])
def test_inverse_temperature_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    z = random_views(2, 3, 4)
    with pytest.raises(ValueError, match=r"temperature must be a number, 0-d or \(3,\), got shape \("):
        inverse_temperature(torch.ones(shape), z, views=2)


def test_positive_similarity_is_the_mean_over_the_other_views() -> None:
    (z,) = unit(random_views(4, 3, 5))
    expected = [[sum(z[v, i] @ z[w, i] for w in range(4) if w != v) / 3 for i in range(3)] for v in range(4)]
    torch.testing.assert_close(positive_similarity(z), torch.tensor(expected, dtype=torch.float64).flatten())


def test_logits_of_directions_are_bounded_by_the_temperature() -> None:
    assert logit_bound(0.1, normalize=True) == 10
    assert logit_bound(torch.tensor([0.5, 0.2]), normalize=True) == pytest.approx(5)
    assert logit_bound(0.1, normalize=False) is None
    assert logit_bound(torch.empty((), device="meta"), normalize=True) is None


@pytest.mark.parametrize("views", [2, 3])
def test_the_positive_is_the_mean_of_the_other_views(views: int) -> None:
    (z,) = unit(random_views(views, 4, 3))
    every = torch.einsum("vnd,wnd->vwn", z, z)
    expected = (every.sum(1) - every.diagonal().T) / (views - 1)
    torch.testing.assert_close(positive_similarity(z), expected.flatten())
