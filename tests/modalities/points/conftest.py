"""Clouds and files for the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

KINDS = ("ball", "box", "ring", "cone")


def generated_shape(kind: str, points: int, draw: np.random.Generator) -> np.ndarray:
    """A noisy surface (points, 3), stretched at random along each axis."""
    if kind == "ball":
        places = draw.normal(size=(points, 3))
        places /= np.linalg.norm(places, axis=1, keepdims=True)
    elif kind == "box":
        places = draw.uniform(-1, 1, (points, 3))
        side = draw.integers(0, 3, points)
        places[np.arange(points), side] = np.sign(places[np.arange(points), side])
    elif kind == "ring":
        around, across = draw.uniform(0, 2 * np.pi, (2, points))
        width = 1 + 0.3 * np.cos(across)
        places = np.stack([width * np.cos(around), width * np.sin(around), 0.3 * np.sin(across)], 1)
    else:
        around, height = draw.uniform(0, 2 * np.pi, points), 1 - np.sqrt(draw.random(points))
        places = np.stack([(1 - height) * np.cos(around), (1 - height) * np.sin(around), 2 * height], 1)
    return places * draw.uniform(0.6, 1.4, 3) + 0.05 * draw.normal(size=places.shape)


@pytest.fixture(scope="session")
def generated_shapes():
    """``generated_shapes(count, seed)`` -> (clouds (count, 192, 3), labels)."""

    def make(count, seed):
        draw = np.random.default_rng(seed)
        labels = np.arange(count) % len(KINDS)
        return np.stack([generated_shape(KINDS[k], 192, draw) for k in labels]), labels

    return make


@pytest.fixture
def clouds():
    """Float tensor (5, 40, 3)."""
    return torch.randn(5, 40, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def table():
    """One cloud, float32 array (30, 3)."""
    return np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
