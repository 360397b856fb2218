"""3 × 3 convolutions of a ResNet-18 for pictures of 32 px, forward and backward, beside torch's own layer.

``twofold.nn.convolution.Convolution`` has the values and gradients of ``torch.nn.Conv2d``, and computes them as
products of matrices where that is faster. The shapes are those of the last two stages at width 64 and of the last one
at width 16, for 256 pictures, with channels innermost, in bfloat16 (under autocast, as in training) and float32.

    python benchmarks/speed/convolution.py
"""

from __future__ import annotations

import torch
from harness import Call, Row, parser, race, start, write
from torch import nn

from twofold.nn.convolution import Convolution
from twofold.training.precision import autocast, channels_last

PICTURES = 256
SHAPES = ((256, 256, 8, 1), (256, 512, 8, 2), (512, 512, 4, 1), (64, 128, 8, 2), (128, 128, 4, 1))
"""Channels in and out, side of the maps, stride."""


def main() -> None:
    """Measure all shapes in both formats."""
    arguments = parser(__doc__, "convolution").parse_args()
    start(arguments)
    torch.empty(7_500_000).fill_(0)  # the C library then keeps freed blocks up to this size, as in a training
    shapes = SHAPES[2:3] if arguments.quick else SHAPES
    rows = [
        measured(*shape, dtype, 2 if arguments.quick else 5) for dtype in (torch.bfloat16, None) for shape in shapes
    ]
    notes = ["No target: these are parts of the steps above."]
    write(arguments, title="Convolutions of small maps", numbers=[6], rows=rows, notes=notes)


def measured(channels: int, out: int, side: int, stride: int, dtype: torch.dtype | None, rounds: int) -> Row:
    """Both layers on one shape."""
    draw = torch.Generator().manual_seed(0)
    maps = channels_last(torch.randn(PICTURES, channels, side, side, generator=draw)).to(dtype or torch.float32)
    layers = {
        "twofold": Convolution(channels, out, 3, stride),
        "torch": nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
    }
    arms = {name: step(channels_last(layer), maps, dtype) for name, layer in layers.items()}
    case = {
        "pictures": PICTURES,
        "channels": f"{channels} to {out}",
        "side": side,
        "stride": stride,
        "precision": "float32" if dtype is None else "bfloat16",
    }
    return race(case, arms, rounds=rounds)


def step(layer: nn.Module, maps: torch.Tensor, dtype: torch.dtype | None) -> Call:
    """Forward and backward; both have gradients for the maps and the weights."""
    leaf = maps.requires_grad_()

    def call() -> None:
        leaf.grad = None
        layer.zero_grad()
        with autocast("cpu", dtype):
            made = layer(leaf)
        made.backward(torch.ones_like(made))

    return call


if __name__ == "__main__":
    main()
