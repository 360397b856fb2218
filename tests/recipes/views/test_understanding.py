"""Hard negatives: all of them give the ordinary loss."""

import pytest
import torch


def test_all_negatives_are_simclrs(built, a_batch):
    simclr, hard = built("simclr", temperature=0.4), built("understanding-cl", temperature=0.4, hardest=1)
    assert hard(a_batch())["total"].item() == pytest.approx(simclr(a_batch())["total"].item(), rel=1e-5)
    few = built("understanding-cl", temperature=0.4, hardest=0.2)
    assert few(a_batch())["total"].item() < simclr(a_batch())["total"].item() - 0.1


def test_a_run_with_all_negatives_is_simclrs_run(make_recipe, losses_of):
    first = losses_of(make_recipe("simclr", temperature=0.4))
    second = losses_of(make_recipe("understanding-cl", temperature=0.4, hardest=1))
    assert second == pytest.approx(first, rel=1e-3)


def test_the_simple_loss_takes_the_hardest_share(built, a_batch):
    recipe = built("understanding-cl", loss="simple", hardest=1.0, negative_weight=2.0)
    z = torch.nn.functional.normalize(recipe.represent(a_batch(2, 5))["z"].detach(), dim=-1)
    rows, index = z.flatten(0, 1), torch.arange(5).repeat(2)
    negatives = [(rows[index != index[a]] @ rows[a]).mean() for a in range(10)]
    positive = (z[0] * z[1]).sum(-1).mean()
    expected = float(-positive + 2.0 * torch.stack(negatives).mean())
    assert recipe(a_batch(2, 5))["total"].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert recipe.chance_level(8) is None


def test_chance_counts_the_kept_negatives(built, a_batch):
    recipe = built("understanding-cl", hardest=0.25, temperature=1e6)  # at which all similarities are as good as equal
    assert recipe(a_batch(2, 9))["total"].item() == pytest.approx(recipe.chance_level(9), rel=1e-4)
