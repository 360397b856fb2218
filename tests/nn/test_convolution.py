"""Convolutions as products against torch's own, with gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from twofold.nn import convolution
from twofold.nn.convolution import Convolution


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products whatever the shapes, of a few pictures at a time."""
    monkeypatch.setattr(convolution, "FROM", {torch.float64: convolution.From(0, 0)})
    monkeypatch.setattr(convolution, "_NUMBERS_AT_ONCE", 400)


def results(layer: nn.Conv2d, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and gradients of input and weight."""
    leaf = inputs.clone().requires_grad_()
    made = layer(leaf)
    draw = torch.Generator().manual_seed(1)
    upstream = torch.randn(made.shape, generator=draw, dtype=torch.float64).to(made.dtype)
    return made, *torch.autograd.grad(made, (leaf, layer.weight), upstream)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 5),
    channels=st.integers(1, 4),
    out=st.integers(1, 4),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
)
def test_values_and_gradients_are_those_of_torch(
    always: None, n: int, channels: int, out: int, kernel: int, stride: int, height: int, width: int
) -> None:
    layer = Convolution(channels, out, kernel, stride).double()
    plain = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False).double()
    plain.load_state_dict(layer.state_dict())
    inputs = torch.randn(n, channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for found, wanted in zip(results(layer, inputs), results(plain, inputs), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_have_gradients(always: None, stride: int) -> None:
    weight = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    maps = torch.randn(2, 2, 3, 4, dtype=torch.float64, requires_grad=True)

    def convolved(maps: Tensor, weight: Tensor) -> Tensor:
        return convolution._Products.apply(maps, weight, stride)

    assert torch.autograd.gradcheck(convolved, (maps, weight))
    assert torch.autograd.gradgradcheck(convolved, (maps, weight))


@pytest.mark.parametrize(("channels", "side"), [(64, 2), (128, 4), (512, 4)])
def test_under_autocast_it_rounds_as_torch_does(channels: int, side: int) -> None:
    draw = torch.Generator().manual_seed(0)
    layer, plain = Convolution(channels, channels, 3), nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    plain.load_state_dict(layer.state_dict())
    inputs = torch.randn(4, channels, side, side, generator=draw)
    exact = results(plain, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, rough = results(layer, inputs), results(plain, inputs)
    for ours, theirs, true in zip(found, rough, exact, strict=True):
        assert ours.dtype == theirs.dtype
        assert (ours.float() - true).norm() < 1.5 * (theirs.float() - true).norm()


def test_only_small_maps_of_many_channels_become_products(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, laid_out = [], convolution._laid_out
    monkeypatch.setattr(convolution, "_laid_out", lambda *given: calls.append(given) or laid_out(*given))
    layer = Convolution(64, 64, 3)
    layer(torch.zeros(1, 64, 1, 1))
    assert not calls  # in float32 they gain nothing
    layer = layer.bfloat16()
    layer(torch.zeros(1, 64, 8, 8, dtype=torch.bfloat16))
    assert not calls
    layer(torch.zeros(1, 64, 1, 1, dtype=torch.bfloat16))
    assert len(calls) == 1


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"kernel must be odd, .* got 4; use nn.Conv2d"):
        Convolution(3, 8, 4)


def test_elsewhere_it_is_torchs_layer() -> None:
    layer = Convolution(64, 64, 3, 2)
    assert isinstance(layer, nn.Conv2d)
    assert list(layer.state_dict()) == ["weight"]
    assert layer.to("meta")(torch.empty(2, 64, 2, 2, device="meta")).shape == (2, 64, 1, 1)
    assert Convolution(64, 64, 3)(torch.zeros(0, 64, 1, 1)).shape == (0, 64, 1, 1)
