from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from twofold.nn.dropout import Dropout, dropout, quick_dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_scale_of_the_rest(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(100, 1001, dtype=dtype)
    out = dropout(x, p)
    assert out.dtype is dtype
    assert abs(float((out == 0).double().mean()) - p) < 0.006  # four deviations
    kept = out[out != 0].double()
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)), rtol=0.01, atol=0)
    if dtype is torch.float64:
        level = round(p * 65536)
        assert float(kept[0]) == 65536 / (65536 - level)


def test_numbers_are_dropped_independently() -> None:
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(400, 512), 0.3) == 0).double() - 0.3
    for shift in (1, 2, 3, 4, 512):  # within a word of random bits, beyond it, and in the next row
        flat = dropped.flatten()
        correlation = (flat[shift:] * flat[:-shift]).mean() / (0.3 * 0.7)
        assert abs(float(correlation)) < 0.01


def test_the_gradient_has_the_mask_of_the_forward_pass() -> None:
    x = torch.randn(33, 7, dtype=torch.float64, requires_grad=True)
    out = dropout(x, 0.4)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient * x, out)
    assert 0 < int((gradient == 0).sum()) < x.numel()


def test_it_is_drawn_from_the_global_state() -> None:
    x = torch.ones(50, 3)
    torch.manual_seed(5)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


def test_what_needs_no_draw() -> None:
    x = torch.randn(4, 5)
    assert torch.equal(dropout(x, 0.5, training=False), x)
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(dropout(x, 1.0), torch.zeros(4, 5))
    assert dropout(torch.empty(0, 3), 0.5).shape == (0, 3)
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            dropout(x, p)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=0, max_size=4))
def test_any_shape_and_layout(shape: list[int]) -> None:
    x = torch.ones(shape).mT.contiguous().mT if len(shape) > 1 else torch.ones(shape)
    assert dropout(x, 0.5).shape == x.shape


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.2), nn.Sequential(nn.Dropout(0.3, inplace=True)))
        self.also = nn.Dropout2d(0.1)


def test_every_dropout_of_a_module_is_replaced_and_nothing_else() -> None:
    branch = Branch().eval()
    names = branch.state_dict().keys()
    assert quick_dropout(branch) is branch
    found = {name: part for name, part in branch.named_modules() if isinstance(part, Dropout)}
    assert {name: (part.p, part.inplace) for name, part in found.items()} == {
        "inner.1": (0.2, False),
        "inner.2.0": (0.3, True),
    }
    assert not any(part.training for part in found.values())
    assert type(branch.also) is nn.Dropout2d
    assert branch.state_dict().keys() == names
    assert isinstance(branch.inner(torch.ones(2, 3)), torch.Tensor)
    assert quick_dropout(branch).inner[1] is found["inner.1"]
