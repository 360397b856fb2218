"""NNCLR: the neighbour is another sample."""

import pytest
import torch
from torch.nn import functional as F


def test_with_an_empty_queue_a_sample_is_its_own_neighbour(built):
    recipe = built("nnclr")
    z = torch.randn(5, 16)
    assert torch.allclose(recipe.nearest(z, torch.arange(5)), F.normalize(z, dim=1))


def test_the_neighbour_is_the_nearest_of_another_sample(built):
    recipe = built("nnclr", queue_size=12)
    rows = F.normalize(torch.randn(12, 16), dim=1)
    recipe.queue.push(rows, torch.arange(12))
    z = rows[:6] + 0.01 * torch.randn(6, 16)
    assert torch.allclose(recipe.nearest(z, torch.arange(6) + 20), rows[:6], atol=1e-6), "the nearest of all"
    found = recipe.nearest(z, torch.arange(6))
    similarity = F.normalize(z, dim=1) @ rows.T
    similarity[torch.arange(6), torch.arange(6)] = -2
    assert torch.allclose(found, rows[similarity.argmax(1)], atol=1e-6)


def test_never_the_own_sample_while_training(make_recipe, quick_fit, digits_set, monkeypatch):
    recipe = make_recipe("nnclr", queue_size=192)
    original, looked = type(recipe).nearest, []

    def nearest(self, z, index):
        found = original(self, z, index)
        filled = self.queue.filled
        if filled:
            where = (found @ self.queue.rows[:filled].T).argmax(1)
            looked.append(bool((self.queue.index[where] == index).any()))
        return found

    monkeypatch.setattr(type(recipe), "nearest", nearest)
    quick_fit(recipe, digits_set, epochs=3)
    assert len(looked) == 2 * 11, "both views of all steps but the first"
    assert not any(looked)


def test_only_the_own_row_in_the_queue(built):
    recipe = built("nnclr", queue_size=12)
    recipe.queue.push(F.normalize(torch.randn(1, 16), dim=1), torch.tensor([7]))
    z = torch.randn(1, 16)
    assert torch.allclose(recipe.nearest(z, torch.tensor([7])), F.normalize(z, dim=1))


def test_the_loss_takes_neighbours_as_anchors(built, a_batch):
    recipe = built("nnclr", temperature=0.5)
    outputs = recipe.represent(batch := a_batch())
    z, p = (F.normalize(outputs[name].detach(), dim=-1) for name in ("z", "prediction"))
    directions = [F.cross_entropy(z[a] @ p[b].T / 0.5, torch.arange(8)).item() for a, b in [(0, 1), (1, 0)]]
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(sum(directions) / 2, rel=1e-5)
