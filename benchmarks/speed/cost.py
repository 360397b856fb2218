"""How cost grows with size: exponents fitted to time and memory, of items, batch, width and views.

An exponent is the slope of log cost over log size: 1 is linear, 2 quadratic. Only ours is measured; the other scripts
of this folder compare. Everything that is fitted is a row too, so that a reader can see whether it is a straight line:
fixed costs flatten the lower end, caches that overflow bend the upper one. The nanoseconds per pair are the time of the
loss, forward and backward, divided by the number of pairs of rows at the largest batch: the constant of what is
quadratic.

    python benchmarks/speed/cost.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from harness import Call, Row, exponent, parser, peak_of, race, start, value, write
from torch import Tensor

import twofold
from twofold.contrast.objectives import nt_xent
from twofold.evaluation import weighted_knn
from twofold.modalities.image.data import ImageArrays
from twofold.recipes import running

TEMPERATURE, DIM, SIDE = 0.1, 128, 32
ENCODER = "convnet-w8"


@dataclass(frozen=True)
class Curve:
    """One quantity over one size."""

    name: str
    over: str
    sizes: Sequence[int]
    made: Callable[[int], Call]
    expected: str
    memory: bool = False


def main() -> None:
    arguments = parser(__doc__, "cost").parse_args()
    start(arguments)
    rows: list[Row] = []
    exponents: dict[str, Any] = {}
    for curve in curves(quick=arguments.quick):
        found = [point(curve, size, rounds=2 if arguments.quick else 3) for size in curve.sizes]
        costs = [row["arms"]["twofold"]["median"] for row in found]
        label = f"{curve.name}, {'memory' if curve.memory else 'time'} over {curve.over}"
        exponents[label] = {"exponent": exponent(curve.sizes, costs), "expected": curve.expected}
        print(f"    {label}: size^{exponents[label]['exponent']}, expected {curve.expected}", flush=True)
        rows += found
        if curve.over == "batch" and curve.name == "loss" and not curve.memory:
            pairs = (2 * curve.sizes[-1]) ** 2
            exponents[label]["nanoseconds per pair"] = round(costs[-1] / pairs * 1e9, 3)
    notes = ["The loss is NT-Xent on two views, forward and backward: a batch of n has (2n)² pairs of rows."]
    write(arguments, title="Cost against size", numbers=[14], rows=rows, notes=notes, exponents=exponents)


def curves(*, quick: bool) -> list[Curve]:
    """What is fitted. The expectation of a step holds until the loss, which is quadratic, outweighs the networks."""
    items = (1000, 2000, 4000) if quick else (2000, 4000, 8000, 16000)
    banks = (5000, 10000, 20000) if quick else (10000, 20000, 40000, 80000)
    batches = (1024, 2048, 4096) if quick else (1024, 2048, 4096, 8192)
    steps = (64, 128, 256) if quick else (64, 128, 256, 512)
    return [
        Curve("embedding", "items", items, embedding, "1"),
        Curve("kNN of 1,000 queries", "bank", banks, neighbours, "1"),
        Curve("loss", "batch", batches, lambda n: loss(2, n, DIM), "2"),
        Curve("SimCLR step", "batch", steps, lambda n: step(2, n), "1"),
        Curve("loss", "width", (128, 256, 512, 1024), lambda d: loss(2, 1024, d), "1 or less"),
        Curve("loss", "views", (2, 4, 8), lambda views: loss(views, 1024, DIM), "2"),
        Curve("multi-view step", "views", (2, 4, 8), lambda views: step(views, 64), "1"),
        Curve("loss", "batch", batches, lambda n: loss(2, n, DIM), "1", memory=True),
        Curve("kNN of 1,000 queries", "bank", banks, neighbours, "1 or less", memory=True),
    ]


def point(curve: Curve, size: int, *, rounds: int) -> Row:
    """Time or memory at one size."""
    call = curve.made(size)
    case = {"what": curve.name, curve.over: size}
    if not curve.memory:
        return race(case, {"twofold": call}, rounds=rounds, patience=1)
    call()
    return value(case, "MB", {"twofold": max(peak_of(call), 0.1)})


def embedding(items: int) -> Call:
    """Pictures in memory to vectors in memory."""
    recipe, images = built(2), pictures(items)
    dataset = ImageArrays(images)
    return lambda: running.embed(recipe, dataset)


def neighbours(bank: int) -> Call:
    """Weighted 20-NN, 100 classes."""
    generator = torch.Generator().manual_seed(0)
    rows, queries = torch.randn(bank, DIM, generator=generator), torch.randn(1000, DIM, generator=generator)
    labels = torch.randint(100, (bank,), generator=generator)
    return lambda: weighted_knn(rows, labels, queries)


def loss(views: int, batch: int, dim: int) -> Call:
    """NT-Xent, forward and backward."""
    z = torch.randn(views, batch, dim, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def call() -> None:
        z.grad = None
        nt_xent(z, temperature=TEMPERATURE).backward()

    return call


def step(views: int, batch: int) -> Call:
    """Views, encoder, projector, loss and their gradients."""
    recipe, images = built(views), pictures(batch)
    make_views = recipe.make_views()

    def call() -> None:
        recipe.zero_grad(set_to_none=True)
        inputs = {"views": make_views(images, generator=torch.Generator().manual_seed(0)), "index": torch.arange(batch)}
        found = recipe.objective(recipe.represent(inputs), inputs)
        (found if isinstance(found, Tensor) else found["total"]).backward()

    return call


def built(views: int) -> Any:
    """SimCLR, or its form for several views, with a small encoder."""
    made = twofold.SimCLR(encoder=ENCODER) if views == 2 else twofold.MVInfoNCE(encoder=ENCODER, view_count=views)
    return made.build(ImageArrays(pictures(64)).spec)


def pictures(count: int) -> Tensor:
    """Noise, uint8 (count, 3, 32, 32)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


if __name__ == "__main__":
    main()
