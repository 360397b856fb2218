"""Convolutions of small maps with many channels, as products of matrices.

On CPUs torch convolves through oneDNN, which is at its best where a map has many places. In the last stage of a
ResNet-18 for pictures of 32 pixels there are 16 places and 512 channels, and there it is far from it in bfloat16. Laid
out as a matrix with one row a place and one column for each of the k · k · c numbers that a place looks at, the same
sums are one product: two to three times as fast on an Intel processor, about as fast on an AMD one
(``benchmarks/speed/convolution.py``). With many places that matrix would be larger than what is saved, so there, in
float32 (no gain on the one, a loss on the other) and on accelerators, torch's own convolution is used.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn import grad as gradients


class From(NamedTuple):
    """From how many weights (out · in channels) a place on something is a product."""

    output: float
    """The output, and the gradient of the input."""
    of_weight: float
    """The gradient of the weights."""


FROM = {torch.bfloat16: From(output=4096, of_weight=512)}
"""Where products are faster; in other formats, nowhere."""
_NOWHERE = From(math.inf, math.inf)
_NUMBERS_AT_ONCE = 2**24
"""Most numbers of the laid-out maps that are held at a time."""


class Convolution(nn.Conv2d):
    """``nn.Conv2d`` without bias or groups, padded with k // 2 zeros; the same values and gradients up to rounding.

    Args:
        channels: Of the input.
        out_channels: Of the output.
        kernel: k, odd.
        stride: Of both axes.

    Raises:
        ValueError: If k is even.
    """

    def __init__(self, channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, for a place to be in its middle, got {kernel}; use nn.Conv2d.")
        super().__init__(channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        stride = self.stride[0]
        if maps.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(maps)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else maps.dtype
        if _density(maps, self.weight, stride) < min(FROM.get(dtype, _NOWHERE)):
            return super().forward(maps)
        result: Tensor = _Products.apply(maps.to(dtype), self.weight.to(dtype), stride)
        return result


class _Products(torch.autograd.Function):
    """(maps, weight, stride) → maps. The backward pass is made of operations that have gradients themselves."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.stride = stride
        return _output(maps, weight, stride)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Tensor | None, ...]:
        maps, weight = ctx.saved_tensors
        of_maps, of_weight = ctx.needs_input_grad[:2]
        return (
            _of_maps(maps, weight, grads[0], ctx.stride) if of_maps else None,
            _of_weight(maps, weight, grads[0], ctx.stride) if of_weight else None,
            None,
        )


def _output(maps: Tensor, weight: Tensor, stride: int) -> Tensor:
    if _density(maps, weight, stride) < FROM.get(maps.dtype, _NOWHERE).output:
        return F.conv2d(maps, weight, stride=stride, padding=weight.shape[-1] // 2)
    height, width = _places(maps, stride)
    flat = weight.permute(2, 3, 1, 0).reshape(-1, len(weight))
    made = torch.cat([_laid_out(piece, weight.shape[-1], stride) @ flat for piece in _pieces(maps, weight, stride)])
    return made.view(len(maps), height, width, len(weight)).permute(0, 3, 1, 2)


def _of_maps(maps: Tensor, weight: Tensor, grad: Tensor, stride: int) -> Tensor:
    if stride == 1 and _density(maps, weight, stride) >= FROM.get(maps.dtype, _NOWHERE).output:
        return _output(grad, weight.flip(2, 3).transpose(0, 1), 1)
    return gradients.conv2d_input(maps.shape, weight, grad, stride=stride, padding=weight.shape[-1] // 2)


def _of_weight(maps: Tensor, weight: Tensor, grad: Tensor, stride: int) -> Tensor:
    kernel = weight.shape[-1]
    if _density(maps, weight, stride) < FROM.get(maps.dtype, _NOWHERE).of_weight:
        return gradients.conv2d_weight(maps, weight.shape, grad, stride=stride, padding=kernel // 2)
    pieces = _pieces(maps, weight, stride)
    grads = grad.permute(0, 2, 3, 1).tensor_split(len(pieces))
    parts = [
        part.reshape(-1, len(weight)).t() @ _laid_out(piece, kernel, stride)
        for part, piece in zip(grads, pieces, strict=True)
    ]
    in_full = torch.promote_types(weight.dtype, torch.float32)
    made = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0, dtype=in_full).to(weight.dtype)
    return made.view(len(weight), kernel, kernel, maps.shape[1]).permute(0, 3, 1, 2)


def _laid_out(maps: Tensor, kernel: int, stride: int) -> Tensor:
    """For each place of the output what it looks at: (n · h · w, k · k · c)."""
    edge = kernel // 2
    padded = F.pad(maps.permute(0, 2, 3, 1), (0, 0, edge, edge, edge, edge))
    seen = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)  # (n, h, w, c, k, k)
    return seen.permute(0, 1, 2, 4, 5, 3).reshape(-1, kernel * kernel * maps.shape[1])


def _pieces(maps: Tensor, weight: Tensor, stride: int) -> tuple[Tensor, ...]:
    """The pictures, so many at a time that laid out they are not too large."""
    height, width = _places(maps, stride)
    numbers = len(maps) * height * width * weight[0].numel()
    return maps.tensor_split(min(len(maps), -(-numbers // _NUMBERS_AT_ONCE)) or 1)


def _places(maps: Tensor, stride: int) -> tuple[int, int]:
    """Height and width of the output: with k odd and k // 2 zeros at each edge, k does not matter."""
    return -(-maps.shape[2] // stride), -(-maps.shape[3] // stride)


def _density(maps: Tensor, weight: Tensor, stride: int) -> float:
    height, width = _places(maps, stride)
    return weight.shape[0] * weight.shape[1] / max(1, height * width)
