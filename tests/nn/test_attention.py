from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.nn import attention
from twofold.nn.attention import EncoderLayer, attend, explicit_attention

MASKS = ("none", "bool", "added", "causal")


def rows(dtype: torch.dtype = torch.float64, places: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3, 5, 16), (2, 3, places, 16), (2, 3, places, 16)
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


def mask_of(kind: str, dtype: torch.dtype, places: int) -> dict[str, Any]:
    if kind == "causal":
        return {"causal": True}
    generator = torch.Generator().manual_seed(1)
    if kind == "bool":
        inside = torch.rand(2, 1, 1, places, generator=generator) < 0.6
        inside[..., 0] = True
        return {"mask": inside}
    if kind == "added":
        return {"mask": torch.randn(2, 3, 5, places, generator=generator, dtype=dtype)}
    return {}


def value_and_gradients(function: Any, inputs: list[Tensor], **options: Any) -> list[Tensor]:
    out = function(*inputs, **options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return [out, *torch.autograd.grad((out * weight).sum(), inputs)]


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_explicit_attention_is_the_fused_one(kind: str, dtype: torch.dtype, scale: float | None) -> None:
    places = 5 if kind == "causal" else 7
    inputs, options = rows(dtype, places), mask_of(kind, dtype, places)
    ours = value_and_gradients(explicit_attention, inputs, scale=scale, **options)
    named = {"attn_mask": options.get("mask"), "is_causal": "causal" in options, "scale": scale}
    theirs = value_and_gradients(F.scaled_dot_product_attention, inputs, **named)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)
    if kind != "none":
        assert (ours[0] - explicit_attention(*inputs, scale=scale)).abs().max() > 1e-3


def test_gradients_of_explicit_attention() -> None:
    inputs = [part[:1, :1, :, :3].detach().clone().requires_grad_() for part in rows(places=4)]
    inside = torch.tensor([True, True, False, True])
    assert torch.autograd.gradcheck(lambda *parts: explicit_attention(*parts, mask=inside), inputs)


def test_a_row_that_may_attend_to_nothing_stays_finite() -> None:
    inside = torch.zeros(2, 1, 1, 7, dtype=torch.bool)
    for dtype in (torch.float32, torch.bfloat16):
        found = value_and_gradients(explicit_attention, rows(dtype), mask=inside)
        assert all(part.isfinite().all() for part in found)


def refuse(*_: Any, **__: Any) -> Tensor:
    raise AssertionError("the fused kernel was called")


def test_half_precision_and_dropout_on_cpus_are_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    half, single = rows(torch.bfloat16), rows(torch.float32)
    fused = attend(*single)
    monkeypatch.setattr(F, "scaled_dot_product_attention", refuse)
    assert attend(*half).dtype == torch.bfloat16
    torch.testing.assert_close(attend(*half).float(), fused, atol=0.03, rtol=0.05)
    attend(*single, dropout=0.1)
    with pytest.raises(AssertionError, match="was called"):
        attend(*single)


def test_other_devices_take_the_fused_kernel() -> None:
    assert not attention.explicit_is_faster(torch.empty(1, dtype=torch.bfloat16, device="meta"), 0.1)


def test_dropout_keeps_the_mean_and_replays_with_the_global_state() -> None:
    query, key, value = (part.detach() for part in rows(torch.float32))
    torch.manual_seed(3)
    many = torch.stack([attend(query, key, value, dropout=0.3) for _ in range(400)])
    torch.manual_seed(3)
    again = attend(query, key, value, dropout=0.3)
    assert torch.equal(again, many[0])
    assert not torch.equal(many[0], many[1])
    torch.testing.assert_close(many.mean(0), attend(query, key, value), atol=0.2, rtol=0)


def test_mask_and_causal_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="either a mask or causal=True"):
        attend(*rows(places=5), mask=torch.ones(5, 5, dtype=torch.bool), causal=True)


def layers(dropout: float) -> tuple[nn.TransformerEncoderLayer, EncoderLayer]:
    options: dict[str, Any] = {"dropout": dropout, "activation": "gelu", "batch_first": True, "norm_first": True}
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(16, 4, 32, **options)
    torch.manual_seed(0)
    return theirs, EncoderLayer(16, 4, 32, **options)


@pytest.mark.parametrize("padded", [False, True])
def test_the_block_is_torchs(padded: bool) -> None:
    theirs, ours = layers(0.0)
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    tokens = torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(0))
    options = {"src_key_padding_mask": torch.arange(6).expand(3, 6) > 3} if padded else {}
    out, other = ours(tokens, **options), theirs(tokens, **options)
    torch.testing.assert_close(out, other)
    (out.square().sum() + other.square().sum()).backward()
    for mine, parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, parameter.grad, atol=1e-4, rtol=1e-4)


def test_the_block_drops_in_training_only_and_writes_half_precision_out(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ours = layers(0.5)
    tokens = torch.randn(3, 6, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    assert not torch.equal(ours(tokens), ours(tokens))
    ours.eval()
    assert torch.equal(ours(tokens), ours(tokens))
    monkeypatch.setattr(F, "scaled_dot_product_attention", refuse)
    with torch.autocast("cpu", torch.bfloat16):
        ours(tokens)
