"""MoCHi: without synthetic negatives it is MoCo v2 to the bit."""

import pytest


def test_nothing_mixed_is_moco_v2_to_the_bit(make_recipe, losses_of):
    plain = losses_of(make_recipe("moco-v2"))
    nothing = losses_of(make_recipe("mochi", mixed=0, with_query=0, start=0.0))
    assert len(plain) == 8
    assert nothing == plain
    mixed = losses_of(make_recipe("mochi", start=0.5))
    assert mixed[:4] == plain[:4], "before its start nothing is mixed"
    assert mixed[4:] != plain[4:]


def test_synthetic_negatives_are_harder(built, a_batch):
    plain = built("mochi", mixed=0, with_query=0, start=0.0)
    mixed = built("mochi", mixed=64, with_query=0, hardest=4, start=0.0)
    both = built("mochi", mixed=64, with_query=64, hardest=4, start=0.0)
    values = [recipe(a_batch())["total"].item() for recipe in (plain, mixed, both)]
    assert values[0] < values[1] < values[2]


def test_the_mixtures_come_from_the_batchs_generator(built, a_batch):
    recipe = built("mochi", start=0.0)
    outputs = recipe.represent(a_batch())
    values = [recipe.losses(outputs, a_batch(seed=s))["total"].item() for s in (4, 4, 5)]
    assert values[0] == values[1] != values[2]


def test_hardest_is_at_most_an_eighth_of_the_queue(built, a_batch):
    assert built("mochi", hardest=1024, start=0.0)(a_batch())["total"].item() == pytest.approx(
        built("mochi", hardest=8, start=0.0)(a_batch())["total"].item()
    )
