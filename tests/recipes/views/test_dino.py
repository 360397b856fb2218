"""DINO: centre, temperature, frozen prototypes, a teacher on global views."""

import pytest
import torch
from torch.nn import functional as F


def test_the_loss_is_the_papers(built, a_batch):
    recipe = built("dino", view_count=3)
    outputs = recipe.represent(batch := a_batch(3))
    assert outputs["student"].shape[0] == 3
    assert outputs["teacher"].shape[0] == 2, "global views alone"
    student = F.log_softmax(outputs["student"].detach() / 0.1, -1)
    teacher = F.softmax((outputs["teacher"] - recipe.center.value) / 0.04, -1)
    terms = [-(teacher[g] * student[v]).sum(-1).mean() for g in range(2) for v in range(3) if g != v]
    expected = torch.stack(terms).mean().item()
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(expected, rel=1e-4)


def test_the_centre_moves_towards_the_teachers_mean(built, a_batch):
    recipe = built("dino", center_momentum=0.75)
    outputs = recipe.represent(batch := a_batch(3))
    assert not recipe.center.value.any()
    recipe.after_step(outputs, batch)
    mean = outputs["teacher"].flatten(0, 1).mean(0)
    assert torch.allclose(recipe.center.value.flatten(), 0.25 * mean, atol=1e-6)
    still = built("dino", center_momentum=1.0)
    still.after_step(still.represent(batch), batch)
    assert not still.center.value.any()


def test_prototypes_are_frozen_at_first(built, a_batch):
    recipe = built("dino", freeze_last_layer=0.2)
    for progress, frozen in [(0.0, True), (0.19, True), (0.2, False), (0.9, False)]:
        batch = a_batch(3, progress=progress)
        recipe(batch)["total"].backward()
        recipe.before_update(batch)
        assert (recipe.head.prototypes.grad is None) == frozen
        assert next(recipe.encoder.parameters()).grad is not None


def test_frozen_for_the_whole_run_the_prototypes_stay(make_recipe, quick_fit, digits_set):
    import twofold.training.randomness as randomness

    with randomness.seeded_init(3):
        start = make_recipe("dino").build(digits_set.spec).head.prototypes.clone()
    frozen, _ = quick_fit(make_recipe("dino", freeze_last_layer=1.0), digits_set)
    free, _ = quick_fit(make_recipe("dino", freeze_last_layer=0.0), digits_set)
    assert torch.equal(frozen.head.prototypes, start)
    assert not torch.equal(free.head.prototypes, start)


def test_the_teachers_temperature_rises_and_stays(built):
    recipe = built("dino", warmup_temperature=0.02, teacher_temperature=0.06, temperature_warmup=0.4)
    values = [recipe.temperature_at(progress) for progress in (0.0, 0.2, 0.4, 1.0)]
    assert values == pytest.approx([0.02, 0.04, 0.06, 0.06])
    assert built("dino", temperature_warmup=0.0, warmup_temperature=0.5).temperature_at(0.0) == pytest.approx(0.04)
