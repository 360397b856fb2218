"""Payloads that must never run, and a small saved recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this one: tests are no package

from payloads import Payload


@pytest.fixture
def payload(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Something whose unpickling leaves a mark; afterwards there must be none."""
    marker = tmp_path_factory.mktemp("marks") / "sprung"
    yield Payload(marker)
    assert not marker.exists(), "code from a file was run"


@pytest.fixture
def code(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The text of a module that leaves a mark when it is imported; afterwards there must be none."""
    marker = tmp_path_factory.mktemp("marks") / "sprung"
    yield f"import os\nos.mkdir({str(marker)!r})\n"
    assert not marker.exists(), "code from a file was run"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The folder of a small recipe."""
    import twofold

    spec = {"modality": "image", "channels": 1, "size": 8, "mean": [0.5], "std": [0.3], "samples": 64}
    recipe = twofold.NNCLR(encoder="convnet-w16", queue_size=64, hidden_dim=32, projection_dim=16)
    return recipe.build(spec).save(tmp_path / "model")
