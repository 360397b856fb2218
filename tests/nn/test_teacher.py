"""The teacher: exact at m = 0 and m = 1, no gradients, which buffers it takes over, and its momentum schedule."""

import math

import pytest
import torch
from torch import nn

from twofold.nn.teacher import Teacher, cosine_momentum


def network(seed=0):
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def inputs(n=6):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(5))


def values(module):
    return [parameter.detach().clone() for parameter in module.parameters()]


def test_the_ends_are_exact():
    teacher, student = Teacher(network(0)), network(1)
    before = values(teacher)
    teacher.update(student, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(values(teacher), before, strict=True))
    teacher.update(student, 0.0)
    assert all(torch.equal(a, b) for a, b in zip(values(teacher), values(student), strict=True))


def test_between_it_is_the_weighted_mean():
    teacher, student = Teacher(network(0)), network(1)
    expected = [0.9 * a + 0.1 * b for a, b in zip(values(teacher), values(student), strict=True)]
    teacher.update(student, 0.9)
    torch.testing.assert_close(values(teacher), expected)


def test_it_is_a_copy_without_gradients():
    student = network()
    student(inputs()).sum().backward()
    teacher = Teacher(student)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.requires_grad for parameter in student.parameters())
    with torch.no_grad():
        student[0].weight.add_(1)
    assert not torch.equal(teacher.module[0].weight, student[0].weight)
    assert not teacher(inputs().requires_grad_()).requires_grad


def test_it_gives_what_the_student_gave():
    student = network()
    expected = student(inputs())
    torch.testing.assert_close(Teacher(student)(inputs()), expected)


def test_running_statistics_stay_its_own_and_counters_follow():
    student = network()
    teacher = Teacher(student)
    for _ in range(3):
        student(inputs() * 10)
    own = teacher.module[1].running_mean.clone()
    teacher.update(student, 0.5)
    assert torch.equal(teacher.module[1].running_mean, own)
    assert not torch.equal(student[1].running_mean, own)
    assert teacher.module[1].num_batches_tracked == 3
    teacher(inputs())
    assert not torch.equal(teacher.module[1].running_mean, own)


def test_all_of_it_is_in_the_checkpoint():
    teacher, fresh = Teacher(network(0)), Teacher(network(1))
    fresh.load_state_dict(teacher.state_dict())
    torch.testing.assert_close(fresh.eval()(inputs()), teacher.eval()(inputs()))


def test_shared_and_frozen_parameters_are_fine():
    layer = nn.Linear(3, 3)
    student = nn.Sequential(layer, layer).requires_grad_(False)
    teacher = Teacher(student)
    with torch.no_grad():
        layer.weight.zero_()
    teacher.update(student, 0.0)
    assert (teacher.module[0].weight == 0).all()
    Teacher(nn.ReLU()).update(nn.ReLU(), 0.5)


def test_bad_arguments_are_named():
    teacher = Teacher(network())
    with pytest.raises(ValueError, match=r"momentum must lie between 0 and 1, got 1\.1"):
        teacher.update(network(), 1.1)
    with pytest.raises(ValueError, match=r"not those the teacher was copied from: 0\.bias.*distributed wrapper"):
        teacher.update(nn.ModuleDict({"module": network()}), 0.9)
    wider = network()
    wider[3] = nn.Linear(4, 5)
    with pytest.raises(ValueError, match=r"3\.weight, 3\.bias"):
        teacher.update(wider, 0.9)


def test_cosine_momentum():
    assert cosine_momentum(0, 0.99) == pytest.approx(0.99)
    assert cosine_momentum(1, 0.99) == 1
    assert cosine_momentum(0.5, 0.9, 0.98) == pytest.approx(0.94)
    assert cosine_momentum(0.25, 0.0, 1.0) == pytest.approx(1 - (math.cos(math.pi / 4) + 1) / 2)
    schedule = [cosine_momentum(i / 10, 0.99) for i in range(11)]
    assert schedule == sorted(schedule)
    for name, arguments in (("progress", (1.2, 0.9)), ("start", (0.5, -0.1)), ("end", (0.5, 0.9, 2))):
        with pytest.raises(ValueError, match=f"{name} must lie between 0 and 1"):
            cosine_momentum(*arguments)
