"""Reading a folder of JPEGs at 224 px, beside a plain loop and torchvision.

The folder is made first: 1,280 pictures of about 500 × 375 pixels, quality 90, as cameras and collections for research
have them; real pictures brought to that size, with fine grain of their own (``--data``: any folder of pictures, such as
BSDS's), else noise whose amplitude falls with its frequency. Files lie in the system's cache, so what is measured is
decoding, not the disk.

- plain loop: open, convert to RGB, resize to 224 × 224 with Pillow's bilinear filter, make an array; one thread.
- torchvision: `ImageFolder`, the same resize, `PILToTensor`, a `DataLoader` with 2 worker processes, one epoch. Not
  run with ``--quick``.
- ours: `read` and the loader with as many threads as cores. First epoch: nothing is kept. Cached in memory and cached
  on disk: epochs after the first one.

All give uint8 pictures of 3 × 224 × 224, in batches of 64 but for the plain loop. Not the same: a JPEG that is at least
four times as large as asked for along both sides is decoded by us at half of its scale or less. Those of the first row
are not, those of the second row (1600 × 1200 pixels) are. How far the pixels are from the plain loop's is told in a row
for each.

    python benchmarks/speed/reading.py [--data FOLDER]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Row, Target, parser, race, start, value, write
from PIL import Image

from twofold.modalities.image import data
from twofold.training.loader import sequential

SIZE = 224
BATCH = 64
WORKERS = 2
QUALITY = 90


def main() -> None:
    """Make pictures, read them in all ways, write the result file."""
    options = parser(__doc__, "reading")
    options.add_argument("--data", type=Path, help="pictures to enlarge; default: noise with a natural spectrum")
    arguments = options.parse_args()
    start(arguments)
    cases = [((500, 375), 256 if arguments.quick else 1280)]
    if not arguments.quick:
        cases.append(((1600, 1200), 256))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for form, count in cases:
            folder = Path(name) / f"{form[0]}"
            make_folder(folder, form, count, arguments.data)
            rows.append(speed(folder, form, count, Path(name) / "cache", arguments))
            rows.append(difference(folder, form))
    notes = ["Seconds for one epoch over the folder.", "Files are in the system's cache."]
    peers = () if arguments.quick else ("torchvision",)
    write(arguments, title="Reading JPEGs", numbers=[5], rows=rows, peers=("pillow", *peers), notes=notes)


def speed(folder: Path, form: tuple[int, int], count: int, cache: Path, arguments: argparse.Namespace) -> Row:
    """All ways to read one folder; our first epoch is the measure, the cached ones are told by what they save."""
    paths = sorted(folder.rglob("*.jpg"))
    workers = arguments.threads or len(os.sched_getaffinity(0))
    arms: dict[str, Callable[[], object]] = {
        "twofold, first epoch": partial(epoch, data.read(folder, size=SIZE, cache=False), workers),
        "plain loop": partial(plain, paths),
    }
    if not arguments.quick:
        arms["torchvision"] = torchvision(folder)
    memory, disk = data.read(folder, size=SIZE, cache=True), data.read(folder, size=SIZE, cache=f"disk:{cache}")
    arms["twofold, cached in memory"] = partial(epoch, memory, workers)
    arms["twofold, cached on disk"] = partial(epoch, disk, workers)
    case = {"pictures": count, "width": form[0], "height": form[1], "workers": workers}
    rounds = 2 if arguments.quick else 5
    first = "twofold, first epoch"
    row = race(case, arms, ours=first, rounds=rounds, targets=[Target("plain loop", at_least=2.0)])
    row["targets"].append(against_plain(row, "twofold, cached on disk", 5.0))
    return row


def against_plain(row: Row, arm: str, at_least: float) -> dict[str, Any]:
    """How many times faster than the plain loop one of our other ways is."""
    got = row["arms"]["plain loop"]["median"] / row["arms"][arm]["median"]
    print(f"{arm}: {got:.1f} times the plain loop's speed")
    return {"against": f"plain loop ({arm})", "at_least": at_least, "got": got, "met": got >= at_least}


def difference(folder: Path, form: tuple[int, int]) -> Row:
    """Mean absolute difference of our pixels from those of the plain loop, in levels of 255."""
    paths = sorted(folder.rglob("*.jpg"))[:32]
    ours = data.read(paths, size=SIZE, cache=False).fetch(torch.arange(len(paths)))["inputs"]
    theirs = torch.from_numpy(np.stack([square(path) for path in paths])).permute(0, 3, 1, 2)
    found = {"twofold": float((ours.float() - theirs.float()).abs().mean())}
    return value({"width": form[0], "height": form[1], "from": "plain loop"}, "levels of 255", found)


def epoch(dataset: Any, workers: int) -> int:
    """All batches once, in order."""
    return sum(len(batch["index"]) for batch in sequential(dataset, BATCH, workers))


def plain(paths: list[Path]) -> int:
    """What one writes first."""
    return sum(len(square(path)) for path in paths)


def square(path: Path) -> np.ndarray:
    """One picture as the plain loop reads it, (224, 224, 3)."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def torchvision(folder: Path) -> Callable[[], object]:
    """Epochs of torchvision's folder in a loader with worker processes, which live on."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    transform = v2.Compose([v2.Resize((SIZE, SIZE)), v2.PILToTensor()])
    loader = DataLoader(ImageFolder(str(folder), transform), BATCH, num_workers=WORKERS, persistent_workers=True)
    return lambda: sum(len(labels) for _, labels in loader)


def make_folder(folder: Path, form: tuple[int, int], count: int, source: Path | None) -> None:
    """JPEGs in two class folders."""
    random = np.random.default_rng(0)
    for number, picture in zip(range(count), pictures(source, form), strict=False):
        grain = random.normal(0, 6, (form[1], form[0], 1))
        pixels = (np.asarray(picture.resize(form, Image.Resampling.BICUBIC), np.float32) + grain).clip(0, 255)
        path = folder / "ab"[number % 2] / f"{number:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path, quality=QUALITY)


def pictures(source: Path | None, form: tuple[int, int]) -> Iterator[Image.Image]:
    """Pictures without end: those of a folder, or noise with the spectrum of photographs."""
    if source is not None:
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not files:
            raise SystemExit(f"{source} holds no pictures")
        while True:
            for path in files:
                with Image.open(path) as image:
                    yield image.convert("RGB")
    random = np.random.default_rng(1)
    height, width = form[1] // 4, form[0] // 4
    y, x = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(x, y), 1 / width)
    while True:
        waves = np.fft.irfft2(np.fft.rfft2(random.standard_normal((3, height, width))) * amplitude, s=(height, width))
        levels = (128 + 50 * waves / waves.std()).clip(0, 255)
        yield Image.fromarray(levels.transpose(1, 2, 0).astype(np.uint8))


if __name__ == "__main__":
    main()
