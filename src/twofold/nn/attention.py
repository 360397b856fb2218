"""Attention in the form that is fastest where it runs: the one place where all transformers of the library choose."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from twofold.nn.dropout import dropout as dropped

_HALVES = (torch.bfloat16, torch.float16)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
    causal: bool = False,
) -> Tensor:
    """softmax(scale · q kᵀ) v, ``(n, heads, length, d)``, by torch's fused function or written out.

    Written out on CPUs in half precision, where the fused backward pass is several times slower than in float32, and
    with dropout, which the fused kernel of CPUs does not have. Fused everywhere else. Same arguments as
    ``torch.nn.functional.scaled_dot_product_attention``, and the same values up to rounding.

    Args:
        query: ``(n, heads, length, d)``.
        key: ``(n, heads, places, d)``.
        value: ``(n, heads, places, d)``.
        mask: Broadcast to ``(n, heads, length, places)``: bool, True where attention may go, or numbers that are added
            to the scores. A row that may attend to nothing comes out finite, and means nothing.
        dropout: Share of the weights that are set to 0; give 0 in evaluation. Drawn from torch's global state.
        scale: d^(−1/2) unless given.
        causal: No place attends to a later one; without ``mask`` only.

    Raises:
        ValueError: If there are both a mask and ``causal``.
    """
    if causal and mask is not None:
        raise ValueError("Give either a mask or causal=True; put the one into the other if you need both.")
    if explicit_is_faster(query, dropout):
        return explicit_attention(query, key, value, mask=mask, dropout=dropout, scale=scale, causal=causal)
    return F.scaled_dot_product_attention(query, key, value, mask, dropout, causal, scale=scale)


def explicit_is_faster(query: Tensor, dropout: float) -> bool:
    """Whether :func:`attend` writes attention out for such a query and dropout."""
    if query.device.type != "cpu":
        return False
    # The fused function casts to half precision under autocast, whatever it is given.
    return dropout > 0 or query.dtype in _HALVES or torch.is_autocast_enabled("cpu")


def explicit_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
    causal: bool = False,
) -> Tensor:
    """:func:`attend` written out."""
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.mT
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores + (_penalty(mask, scores.dtype) if mask.dtype == torch.bool else mask.to(scores.dtype))
    return dropped(scores.softmax(-1).to(value.dtype), dropout) @ value


class EncoderLayer(nn.TransformerEncoderLayer):
    """torch's transformer block, whose self-attention is :func:`attend`; same arguments, parameters and names."""

    def _sa_block(
        self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, *more: Any, **of: Any
    ) -> Tensor:
        attention = self.self_attn
        if attn_mask is not None or key_padding_mask is not None or not attention.batch_first:
            return super()._sa_block(x, attn_mask, key_padding_mask, *more, **of)
        rows = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
        split = rows.unflatten(2, (3, attention.num_heads, attention.head_dim))
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (n, heads, length, d)
        mixed = attend(query, key, value, dropout=attention.dropout if self.training else 0.0)
        projected: Tensor = self.dropout1(attention.out_proj(mixed.transpose(1, 2).flatten(2)))
        return projected


def _penalty(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where the mask is True, else the lowest number: with −∞, a row without a True would be NaN."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
