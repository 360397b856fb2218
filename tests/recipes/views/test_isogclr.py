"""iSogCLR: temperatures and denominators of single samples."""

import pytest
import torch

from twofold.errors import ConfigError


def test_a_rate_of_zero_keeps_all_temperatures(make_recipe, quick_fit, digits_set):
    recipe, result = quick_fit(make_recipe("isogclr", temperature_lr=0.0, temperature=0.3), digits_set, epochs=2)
    assert torch.equal(recipe.state.temperature, torch.full((192,), 0.3))
    assert result.last["mean_temperature"] == torch.tensor(0.3).item()
    assert recipe.state.log_moment.isfinite().all(), "the denominators still learn"


def test_temperatures_become_individual_within_their_bounds(make_recipe, quick_fit, digits_set):
    recipe, _ = quick_fit(
        make_recipe("isogclr", temperature_lr=0.1, temperature_min=0.08, temperature_max=0.2), digits_set, epochs=3
    )
    temperatures = recipe.state.temperature
    assert len(temperatures.unique()) > 20
    assert temperatures.min() >= torch.tensor(0.08)
    assert temperatures.max() <= torch.tensor(0.2)


def test_only_the_samples_of_the_batch_change(built, a_batch):
    recipe = built("isogclr")
    batch = a_batch(index=torch.arange(8) * 3)
    outputs = recipe.represent(batch)
    recipe.losses(outputs, batch)
    recipe.after_step(outputs, batch)
    touched = torch.zeros(64, dtype=torch.bool)
    touched[batch["index"]] = True
    assert torch.equal(recipe.state.log_moment.isfinite(), touched)
    assert (recipe.state.temperature[~touched] == 0.1).all()


def test_the_denominator_is_a_moving_average(built, a_batch):
    memories = []
    for momentum in (1.0, 0.4):
        recipe = built("isogclr", momentum=momentum, temperature_lr=0.0)
        for seed in (0, 1):
            batch = a_batch(seed=seed)
            outputs = recipe.represent(batch)
            recipe.losses(outputs, batch)
            recipe.after_step(outputs, batch)
            memories.append(recipe.state.log_moment[:8].exp())
    first, now, same_first, mixed = memories
    assert torch.allclose(first, same_first, rtol=1e-4)
    assert torch.allclose(mixed, 0.6 * first + 0.4 * now, rtol=1e-3)


def test_a_temperature_outside_its_bounds_is_refused(make_recipe):
    with pytest.raises(ConfigError, match="between temperature_min and temperature_max"):
        make_recipe("isogclr", temperature=0.01)
