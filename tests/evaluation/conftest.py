"""Small sets of vectors with known answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from twofold.evaluation import Features


def blobs(n: int, classes: int = 4, dim: int = 8, noise: float = 0.05, seed: int = 0) -> tuple[Tensor, Tensor]:
    """`n` vectors around `classes` axes, classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    return torch.eye(classes, dim)[labels] + noise * torch.randn(n, dim, generator=generator), labels


@pytest.fixture
def separable() -> tuple[Features, Features]:
    """A bank of 80 and a test set of 40 items that every metric should find perfect."""
    return Features(*blobs(80, seed=1)), Features(*blobs(40, seed=2))


@pytest.fixture
def noise() -> tuple[Features, Features]:
    """Features that know nothing of the labels."""
    generator = torch.Generator().manual_seed(3)
    bank, test = torch.randn(200, 8, generator=generator), torch.randn(400, 8, generator=generator)
    return Features(bank, torch.arange(200) % 4), Features(test, torch.arange(400) % 4)
