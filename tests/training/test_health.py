"""Words for representations that do not do well."""

from __future__ import annotations

import pytest
import torch

from twofold.training import health


def test_a_healthy_batch_gives_no_warning():
    rows = [torch.randn(64, 16, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    measured = health.measure(rows)
    assert set(measured) == {"effective_rank", "uniformity", "spread", "alignment"}
    assert health.collapse(measured, rows[0].shape) is None


def test_all_at_one_point():
    rows = [torch.ones(64, 16) + 1e-4 * torch.randn(64, 16, generator=torch.Generator().manual_seed(0))]
    warning = health.collapse(health.measure(rows), rows[0].shape)
    assert warning.startswith("The embeddings have collapsed: they spread 0.0")
    assert "stop-gradient" in warning


def test_all_on_one_line_though_they_spread():
    ends = torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0)
    rows = [ends[:, None] * torch.ones(1, 16)]
    measured = health.measure(rows)
    assert measured["spread"] > 0.5
    warning = health.collapse(measured, rows[0].shape)
    assert "effective rank is 1.00 of 16, so nearly all lie on one line" in warning


def test_few_numbers_are_no_collapse():
    rows = [torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])]
    assert health.collapse(health.measure(rows), rows[0].shape) is None


def test_what_is_not_finite_is_not_measured():
    assert health.measure([torch.tensor([[1.0, torch.nan], [0.0, 1.0]])]) == {}


@pytest.mark.parametrize(
    ("loss", "chance", "warns"), [(4.6, 4.61, True), (3.0, 4.61, False), (4.6, None, False), (float("nan"), 4.6, False)]
)
def test_a_loss_at_chance(loss, chance, warns):
    assert (health.stuck(loss, chance) is not None) == warns
