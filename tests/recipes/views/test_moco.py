"""MoCo v2's queue and teacher, MoCo v3's symmetry."""

import math

import pytest
import torch
from torch.nn import functional as F

from twofold.contrast.objectives import info_nce_with_negatives


def step(recipe, batch):
    outputs = recipe.represent(batch)
    losses = recipe.losses(outputs, batch)
    recipe.after_step({name: value.detach() for name, value in outputs.items()}, batch)
    return outputs, losses


def test_keys_enter_the_queue_in_order_with_their_samples(built, a_batch):
    recipe = built("moco-v2", queue_size=20)
    keys = [step(recipe, a_batch(seed=s, index=torch.arange(8) + 8 * s))[0]["key"][0] for s in range(2)]
    assert recipe.queue.filled == 16
    assert torch.allclose(recipe.queue.rows[:16], F.normalize(torch.cat(keys), dim=1), atol=1e-6)
    assert recipe.queue.index.tolist() == [*range(16), *[-1] * 4]


def test_the_queue_is_never_longer_than_the_data(built):
    assert len(built("moco-v2", queue_size=65536).queue.rows) == 64
    assert built("moco-v2", queue_size=65536).chance_level(8) == math.log(65)


def test_a_samples_own_old_key_is_no_negative(built, a_batch):
    recipe = built("moco-v2", queue_size=8, temperature=0.2)
    step(recipe, a_batch(index=torch.arange(8)))
    batch = a_batch(seed=1, index=torch.arange(8))
    outputs = recipe.represent(batch)
    query, key = outputs["query"][0].detach(), outputs["key"][0]
    with_own = info_nce_with_negatives(query, key, recipe.queue.rows, temperature=0.2).item()
    assert recipe.losses(outputs, batch)["total"].item() < with_own - 1e-3
    strangers = a_batch(seed=1, index=torch.arange(8) + 30)
    assert recipe.losses(outputs, strangers)["total"].item() == pytest.approx(with_own, rel=1e-5)


def test_the_teacher_follows_with_its_momentum_and_gets_no_gradient(built, a_batch):
    recipe = built("moco-v2", momentum=0.75)
    with torch.no_grad():
        for parameter in recipe.encoder.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in recipe.teacher.parameters()]
    _, losses = step(recipe, a_batch())
    losses["total"].backward()
    student = [*recipe.encoder.parameters(), *recipe.projector.parameters()]
    after = list(recipe.teacher.parameters())
    assert len(student) == len(after)
    for old, new, target in zip(before, after, student, strict=True):
        assert torch.allclose(new, 0.75 * old + 0.25 * target, atol=1e-6)
        assert new.grad is None
    assert all(p.grad is not None for p in student)


def test_more_views_are_more_keys_for_the_first(built, a_batch):
    recipe = built("moco-v2", view_count=3)
    outputs, losses = step(recipe, batch := a_batch(3))
    assert outputs["query"].shape[0] == 1
    assert outputs["key"].shape[0] == 2
    single = [recipe.losses({"query": outputs["query"], "key": key[None]}, batch)["total"] for key in outputs["key"]]
    assert losses["total"].shape == ()
    assert torch.stack(single).isfinite().all()


def test_v3_is_symmetric_and_scaled_by_the_temperature(built, a_batch):
    recipe = built("moco-v3", temperature=0.5)
    outputs = recipe.represent(batch := a_batch())
    q, k = (F.normalize(outputs[name].detach(), dim=-1) for name in ("query", "key"))
    target = torch.arange(8)
    directions = [F.cross_entropy(q[a] @ k[b].T / 0.5, target).item() for a, b in [(0, 1), (1, 0)]]
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(2 * 0.5 * sum(directions), rel=1e-5)
    same = {name: torch.ones(2, 8, 4) for name in ("query", "key")}
    assert recipe.losses(same, batch)["total"].item() == pytest.approx(recipe.chance_level(8), rel=1e-5)


def test_v3s_momentum_rises_to_one(built, a_batch):
    recipe = built("moco-v3", momentum=0.5)
    with torch.no_grad():
        for parameter in recipe.encoder.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in recipe.teacher.parameters()]
    step(recipe, a_batch(progress=1.0))
    assert all(torch.equal(a, b) for a, b in zip(before, recipe.teacher.parameters(), strict=True))
    step(recipe, a_batch(progress=0.0))
    assert not all(torch.equal(a, b) for a, b in zip(before, recipe.teacher.parameters(), strict=True))
