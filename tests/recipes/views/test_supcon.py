"""SupCon: labels choose the positives."""

import pytest
import torch


@pytest.mark.parametrize("positives", ["outside", "inside"])
def test_with_distinct_labels_it_is_simclr(positives, built, a_batch):
    simclr, supcon = built("simclr"), built("supcon", positives=positives)
    batch = a_batch(label=torch.arange(8))
    assert supcon(batch)["total"].item() == pytest.approx(simclr(a_batch())["total"].item(), rel=1e-5)
    unlabelled = a_batch(label=torch.full((8,), -1))
    assert supcon(unlabelled)["total"].item() == pytest.approx(simclr(a_batch())["total"].item(), rel=1e-5)


def test_the_class_matters_and_its_number_does_not(built, a_batch):
    recipe = built("supcon")
    label = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    value = recipe(a_batch(label=label))["total"].item()
    assert recipe(a_batch(label=(label + 5) % 7))["total"].item() == pytest.approx(value)
    assert recipe(a_batch(label=torch.arange(8)))["total"].item() != pytest.approx(value, rel=1e-3)


def test_samples_of_a_class_come_together(make_recipe, quick_fit, digits_set):
    recipe, _ = quick_fit(make_recipe("supcon"), digits_set, epochs=12, lr=4e-3)
    rows = torch.nn.functional.normalize(recipe.embed(digits_set), dim=1)
    similarity = rows @ rows.T
    same = digits_set.labels[:, None] == digits_set.labels
    off = ~torch.eye(len(rows), dtype=torch.bool)
    assert similarity[same & off].mean() > similarity[~same].mean() + 0.05
