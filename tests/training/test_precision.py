from __future__ import annotations

import pytest
import torch

from twofold.errors import ConfigError
from twofold.training import precision
from twofold.training.precision import autocast, channels_last, resolve_precision


def test_named_precisions() -> None:
    assert resolve_precision("float32", "cpu") is None
    assert resolve_precision("bf16", torch.device("cpu")) is torch.bfloat16
    with pytest.raises(ConfigError, match="'fp16' is unknown; choose one of auto, float32, bf16"):
        resolve_precision("fp16", "cpu")


@pytest.mark.parametrize("units", [True, False])
def test_auto_follows_the_hardware(units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_native_bf16", lambda device: units)
    assert resolve_precision("auto", "cpu") is (torch.bfloat16 if units else None)


def test_autocast_changes_products_only_where_asked() -> None:
    a = torch.ones(4, 4)
    with autocast("cpu", torch.bfloat16):
        assert (a @ a).dtype is torch.bfloat16
    with autocast("cpu", None):
        assert (a @ a).dtype is torch.float32


def test_channels_last_keeps_values() -> None:
    images = torch.rand(2, 3, 4, 5)
    moved = channels_last(images)
    assert torch.equal(moved, images)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert not images.is_contiguous(memory_format=torch.channels_last)
    convolution = channels_last(torch.nn.Conv2d(3, 4, 3))
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    flat, deep = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(3, 4, 3)
    before = flat.weight.clone(), deep.weight.clone()
    channels_last(torch.nn.Sequential(flat, deep))
    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    assert deep.weight.is_contiguous()
    assert torch.equal(flat.weight, before[0])
    assert torch.equal(deep.weight, before[1])
    rows = torch.rand(2, 3)
    assert channels_last(rows) is rows
