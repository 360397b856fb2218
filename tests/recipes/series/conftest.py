"""Small sets of series for the recipes that are bound to them."""

from __future__ import annotations

import numpy as np
import pytest

from twofold.modalities.series import MODALITY


def _motions(n, seed, t=32):
    """Two sensors of one motion: a sine, and to it a second one at one of three phases, at any speed and strength."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    time = np.arange(t) * draw.uniform(0.2, 0.6, (n, 1)) + draw.uniform(0, 6.3, (n, 1))
    second = np.sin(time + (labels * 2 * np.pi / 3)[:, None])
    pair = draw.uniform(0.5, 3, (n, 1, 1)) * np.stack([np.sin(time), second], axis=2)
    waves = np.concatenate([pair, pair[:, ::-1] * 2], axis=2)
    return (waves + 0.5 * draw.normal(size=waves.shape)).astype(np.float32), labels


def _bodies(n, seed, t=16):
    """Four joints in one of six postures, swaying, seen from many sides."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 6
    postures = np.random.default_rng(5).normal(size=(6, 4, 2))
    time = np.arange(t) * draw.uniform(0.3, 0.5, (n, 1)) + draw.uniform(0, 6.3, (n, 1))
    sway = 0.2 * np.stack([np.sin(time), np.cos(time)], axis=2)[:, :, None] * draw.normal(size=(n, 1, 4, 1))
    side = np.eye(2) + draw.uniform(-1.5, 1.5, (n, 2, 2)) * (1 - np.eye(2))
    places = postures[labels][:, None] + 0.1 * draw.normal(size=(n, 1, 4, 2)) + sway
    places = np.einsum("nij,ntvj->ntvi", side, places)
    return (places + 0.1 * draw.normal(size=places.shape)).astype(np.float32), labels


@pytest.fixture(scope="session")
def sensors():
    """``sensors(n, seed)``: a data set of two sensors with two channels each, three classes."""
    return lambda n, seed: MODALITY.read(_motions(n, seed), parts="2,2")


@pytest.fixture(scope="session")
def bodies():
    """``bodies(n, seed)``: a data set of skeletons with four joints in the plane, six classes."""
    return lambda n, seed: MODALITY.read(_bodies(n, seed))
