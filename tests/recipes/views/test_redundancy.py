"""Barlow Twins and VICReg: statistics of dimensions."""

import pytest
import torch


def test_barlow_is_the_papers_sum(built, a_batch):
    recipe = built("barlow", off_diagonal=0.01, loss_scale=0.5)
    z = recipe.represent(batch := a_batch(2, 20))["z"].detach().double()
    a, b = ((view - view.mean(0)) / view.std(0, correction=0) for view in z)
    c = a.T @ b / 20
    on = (1 - c.diagonal()).square().sum()
    off = c.square().sum() - c.diagonal().square().sum()
    value = recipe(batch)["total"].item()
    assert value == pytest.approx(0.5 * float(on + 0.01 * off), rel=1e-2)


def test_vicreg_logs_its_terms_and_weighs_them(built, a_batch):
    recipe = built("vicreg", invariance=2.0, variance=0.0, covariance=0.0)
    losses = recipe(batch := a_batch(2, 20))
    z = recipe.represent(batch)["z"].detach()
    mse = (z[0] - z[1]).square().mean().item()
    assert losses["total"].item() == pytest.approx(2 * mse, rel=1e-3)
    assert len(losses) == 4, "the total and its three terms"
    collapsed = {"z": torch.ones(2, 20, 64)}
    without = built("vicreg", variance=0.0).losses(collapsed, batch)["total"].item()
    with_it = built("vicreg").losses(collapsed, batch)["total"].item()
    assert without == pytest.approx(0.0, abs=1e-4)
    assert with_it > 10, "collapse costs"
