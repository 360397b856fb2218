from __future__ import annotations

from math import exp, log

import pytest
import torch
from naive import assert_values, similarity_of
from objective_cases import random_views

from twofold.contrast.objectives import sigmoid


def log_sigmoid(x: float) -> float:
    return -log(1 + exp(-x))


@pytest.mark.parametrize(("temperature", "bias"), [(0.1, -10.0), (0.5, 0.0), (0.3, 2.0)])
def test_by_definition(temperature: float, bias: float) -> None:
    z = random_views(2, 5, 4)
    s = similarity_of(z)
    expected = []
    for i in range(5):
        pairs = [(1 if i == j else -1) * (s(0, i, 1, j) / temperature + bias) for j in range(5)]
        expected.append(-sum(log_sigmoid(x) for x in pairs))
    assert_values(sigmoid(z[0], z[1], temperature=temperature, bias=bias, reduction="none"), expected)
    learned = torch.tensor(bias)
    assert_values(sigmoid(z[0], z[1], temperature=temperature, bias=learned, reduction="none"), expected)


def test_temperature_and_bias_can_be_learned() -> None:
    a, p = random_views(2, 4, 3)
    values = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.2, -3.0)]
    assert torch.autograd.gradcheck(lambda t, b: sigmoid(a, p, temperature=t, bias=b), values)


def test_one_temperature_per_sample() -> None:
    a, p = random_views(2, 4, 3)
    temperatures = torch.tensor([0.1, 0.3, 0.5, 0.7])
    each = [sigmoid(a, p, temperature=float(t), reduction="none")[i] for i, t in enumerate(temperatures)]
    torch.testing.assert_close(sigmoid(a, p, temperature=temperatures, reduction="none"), torch.stack(each))


def test_the_start_of_the_paper_costs_little_for_negatives_and_ten_for_a_positive_at_right_angles() -> None:
    nothing_alike = torch.eye(8, dtype=torch.float64)
    values = sigmoid(nothing_alike[:4], nothing_alike[4:], temperature=0.1, reduction="none")
    assert_values(values, [10 + log(1 + exp(-10)) + 3 * log(1 + exp(-10))] * 4)
