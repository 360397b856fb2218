"""Embedding to a file: what ``twofold embed`` does, from pictures on the disk to Parquet, against the encoder alone.

``twofold.apps.export.embed`` is the command without its start: it loads the saved recipe, reads uint8 pictures of 32
pixels (a .npy file, or a folder of JPEGs), scales them to floats, encodes, and writes ids and float32 vectors. The
encoder alone gets as many batches of as many pictures, which lie ready in memory as floats and are used several times
over; it stores nothing. Both run in inference mode with the same networks, batches and threads, so a ratio of 0.9 says
that reading, scaling, writing and loading the recipe together took a tenth.

Memory is the peak of the command over what was held before it, less the pictures themselves: the reader of arrays
keeps those (in uint8). What is left should not grow with their number but for names (some 70 bytes each); the vectors
alone would be 400 MB for 100,000 pictures.

    python benchmarks/speed/embed.py
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Call, Row, Target, exponent, parser, peak_of, race, start, value, write

import twofold
from twofold.apps import export
from twofold.recipes import saving
from twofold.training.precision import channels_last

SIDE, BATCH = 32, 256
IN_MEMORY = 50
"""Batches that the encoder alone is given again and again."""
GROWTH = 40.0
"""MB that the most pictures may take more than the fewest, for their names and for the allocator's moods."""


def main() -> None:
    arguments = parser(__doc__, "embed").parse_args()
    start(arguments)
    sizes = (5000, 20000) if arguments.quick else (25000, 100000)
    few = 1000 if arguments.quick else 5000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = {count: array_file(folder, count) for count in (few, *sizes)}
        photos = jpeg_folder(folder / "photos", 500 if arguments.quick else 3000)
        rounds = 2 if arguments.quick else 3
        rows = [
            measured("convnet-w8", pictures[sizes[-1]], sizes[-1], folder, rounds=rounds),
            measured("resnet18-w16", pictures[few], few, folder, rounds=rounds),
            measured("resnet18-w16", photos, len(list(photos.iterdir())), folder, rounds=rounds),
            measured("resnet18", photos, len(list(photos.iterdir())), folder, rounds=rounds),
        ]
        rows += (weighed := [memory(pictures[count], count, folder) for count in sizes])
        rows.append(growth(sizes, [row["arms"]["twofold"]["median"] for row in weighed]))
    slope = exponent(sizes, [row["arms"]["twofold"]["median"] for row in weighed])
    notes = [
        "'encoder alone' is the time of the encoder on batches in memory; its ratio is the share of its throughput."
    ]
    title = "Embedding to a Parquet file"
    write(arguments, title=title, numbers=[12], rows=rows, notes=notes, exponents={"memory over rows": slope})


def measured(encoder: str, source: Path, count: int, folder: Path, *, rounds: int) -> Row:
    """The command against its encoder."""
    run = saved(encoder, source, folder)
    kind = "JPEG files" if source.is_dir() else "array file"
    arms = {"twofold": command(run, source, folder), "encoder alone": alone(run, count)}
    targets = [Target("encoder alone", at_least=0.9)]
    return race({"encoder": encoder, "rows": count, "source": kind}, arms, rounds=rounds, targets=targets)


def memory(source: Path, count: int, folder: Path) -> Row:
    """Peak of the command, without the pictures, with vectors of 1,024 numbers."""
    call = command(saved("mlp-w1024", source, folder), source, folder)
    call()
    beyond = max(peak_of(call) - count * 3 * SIDE**2 / 2**20, 0.1)
    return value(
        {"encoder": "mlp-w1024", "rows": count, "what": "peak without the pictures"}, "MB", {"twofold": beyond}
    )


def growth(sizes: tuple[int, int], peaks: list[float]) -> Row:
    """How much more the most pictures need than the fewest."""
    case = {"encoder": "mlp-w1024", "rows": f"{sizes[0]} to {sizes[1]}", "what": "growth of that peak"}
    return value(case, "MB", {"twofold": max(peaks[1] - peaks[0], 0.1)}, targets=[Target(at_most=GROWTH)])


def command(run: Path, source: Path, folder: Path) -> Call:
    """``twofold embed RUN SOURCE --out vectors.parquet``."""

    def call() -> None:
        with quiet():
            export.embed(run, [str(source)], folder / "vectors.parquet", batch_size=BATCH)

    return call


def alone(run: Path, count: int) -> Call:
    """The encoder on as many batches, the same few again and again."""
    recipe: Any = channels_last(saving.load(run)).eval()
    generator = torch.Generator().manual_seed(0)
    ready = [torch.rand(BATCH, 3, SIDE, SIDE, generator=generator) for _ in range(min(IN_MEMORY, -(-count // BATCH)))]
    sizes = [len(part) for part in torch.arange(count).split(BATCH)]

    def call() -> None:
        with torch.inference_mode():
            for size, batch in zip(sizes, itertools.cycle(ready)):
                recipe.encode(batch[:size])

    return call


def saved(encoder: str, source: Path, folder: Path) -> Path:
    """The folder of a recipe that was never trained: its speed is the same."""
    run = folder / encoder
    if not run.exists():
        recipe = twofold.SimCLR(encoder=encoder)
        recipe.build(recipe.modality.read(str(source), size=SIDE).spec)
        recipe.save(run)
    return run


def array_file(folder: Path, count: int) -> Path:
    """Noise as a .npy file (n, 3, 32, 32)."""
    path = folder / f"{count}.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (count, 3, SIDE, SIDE), dtype=np.uint8))
    return path


def jpeg_folder(folder: Path, count: int) -> Path:
    """Smooth pictures of 32 pixels as JPEG files."""
    from PIL import Image

    folder.mkdir()
    coarse = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    for number, pixels in enumerate(coarse):
        Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(folder / f"{number:05d}.jpg")
    return folder


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress lines of the command."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


if __name__ == "__main__":
    main()
