"""SwAV: balanced codes, prototypes on the sphere, a queue for small batches."""

import pytest
import torch


def lengths(recipe):
    (weight,) = recipe.prototypes.parameters()
    return weight.norm(dim=1)


def test_prototypes_have_unit_length_all_the_time(make_recipe, quick_fit, digits_set):
    recipe, _ = quick_fit(make_recipe("swav", freeze_prototypes=0.0), digits_set, epochs=2, lr=0.01)
    assert torch.allclose(lengths(recipe), torch.ones(16), atol=1e-5)
    frozen, _ = quick_fit(make_recipe("swav", freeze_prototypes=1.0), digits_set, epochs=2, lr=0.01)
    other, _ = quick_fit(make_recipe("swav", freeze_prototypes=1.0), digits_set, epochs=1, lr=0.01)
    assert torch.allclose(lengths(frozen), torch.ones(16), atol=1e-5)
    (a,), (b,), (c,) = (r.prototypes.parameters() for r in (frozen, other, recipe))
    assert torch.allclose(a, b, atol=1e-5), "frozen they do not move"
    assert not torch.allclose(a, c, atol=1e-3)


def test_codes_share_the_samples_equally(built, a_batch):
    recipe = built("swav", prototypes=4, sinkhorn_iterations=50, epsilon=0.5)
    outputs = recipe.represent(batch := a_batch(3, 32))
    codes = recipe.codes(0, outputs, batch)
    assert torch.allclose(codes.sum(1), torch.ones(32), atol=1e-4)
    assert torch.allclose(codes.sum(0), torch.full((4,), 8.0), atol=0.05)
    plain = built("swav", prototypes=4, sinkhorn_iterations=0, epsilon=0.5)
    assert not torch.allclose(plain.codes(0, outputs, batch).sum(0), torch.full((4,), 8.0), atol=0.05)
    assert not codes.requires_grad


def test_each_code_is_predicted_from_the_other_views(built, a_batch):
    recipe = built("swav")
    outputs = recipe.represent(batch := a_batch(3))
    codes = [recipe.codes(i, outputs, batch) for i in range(2)]
    scores = torch.log_softmax(outputs["scores"].detach() / 0.1, -1)
    terms = [-(codes[g] * scores[v]).sum(-1).mean() for g in range(2) for v in range(3) if v != g]
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-4)


def test_the_queue_joins_once_it_is_full_and_its_time_has_come(built, a_batch):
    recipe = built("swav", queue_size=16, queue_start=0.3)
    outputs = recipe.represent(a_batch(3))
    before = recipe.codes(0, outputs, a_batch(3))
    for seed in (1, 2):
        assert torch.equal(recipe.codes(0, outputs, a_batch(3)), before), "not while it is filling"
        recipe.after_step(recipe.represent(a_batch(3, seed=seed)), a_batch(3))
    assert torch.equal(recipe.codes(0, outputs, a_batch(3, progress=0.2)), before)
    joined = recipe.codes(0, outputs, a_batch(3, progress=0.5))
    assert joined.shape == before.shape
    assert not torch.allclose(joined, before, atol=1e-4)
