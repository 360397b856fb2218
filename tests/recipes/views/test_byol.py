"""BYOL: a teacher that follows, a predictor, no negatives."""

import pytest
import torch
from torch.nn import functional as F


def test_the_loss_sums_both_directions(built, a_batch):
    recipe = built("byol")
    outputs = recipe.represent(batch := a_batch())
    p, t = (F.normalize(outputs[name].detach(), dim=-1) for name in ("prediction", "target"))
    expected = sum((2 - 2 * (p[a] * t[b]).sum(-1)).mean().item() for a, b in [(0, 1), (1, 0)])
    assert recipe.losses(outputs, batch)["total"].item() == pytest.approx(expected, rel=1e-5)


def test_the_teacher_starts_equal_follows_and_stops_at_the_end(built, a_batch):
    recipe = built("byol", momentum=0.6)
    student = dict(torch.nn.Sequential(recipe.encoder, recipe.projector).named_parameters())
    teacher = dict(recipe.teacher.module.named_parameters())
    assert all(torch.equal(teacher[name], student[name]) for name in student)
    with torch.no_grad():
        for parameter in student.values():
            parameter.add_(1.0)
    recipe.after_step({}, a_batch(progress=0.0))
    assert all(torch.allclose(teacher[name], student[name] - 0.6, atol=1e-5) for name in student)
    recipe.after_step({}, a_batch(progress=1.0))
    assert all(torch.allclose(teacher[name], student[name] - 0.6, atol=1e-5) for name in student)


def test_other_samples_play_no_part(built, a_batch):
    recipe = built("byol").eval()  # without batch statistics
    whole, part = a_batch(), a_batch()
    part["views"] = [view[:3] for view in part["views"]]
    outputs = recipe.represent(whole)
    first = {name: value[:, :3] for name, value in outputs.items()}
    assert recipe(part)["total"].item() == pytest.approx(recipe.losses(first, whole)["total"].item(), rel=1e-4)


def test_no_gradient_reaches_the_teacher(built, a_batch):
    recipe = built("byol")
    recipe(a_batch())["total"].backward()
    assert all(p.grad is None for p in recipe.teacher.parameters())
    assert all(p.grad is not None for p in recipe.predictor.parameters())
