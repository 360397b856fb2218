"""SimCLR's views of pictures, exact and fused, beside lightly, torchvision and kornia.

All make the same number of views with the same operations from uint8 pictures in memory: a crop of 20 to 100 % of the
area, a mirror image, jitter (0.4, 0.4, 0.4, 0.1) with p = 0.8, grey with p = 0.2, blur of deviation 0.1 to 2 with
p = 0.5; float32 in [0, 1] comes out. The time is that of several batches.

- lightly: `SimCLRTransform` on PIL pictures in a `DataLoader` with 2 worker processes and the usual collation, as in
  lightly's examples. The workers live on from call to call; each call is one epoch.
- torchvision: the transforms of version 2 on each PIL picture, in this process.
- kornia: on whole batches, with draws for each sample, as the library does by itself.

Not the same: PIL works on bytes, so lightly and torchvision round after each operation; lightly's blur is PIL's, which
approximates a Gaussian by boxes; the kernels of the others have 3 taps at 32 px and 23 at 224 px. One large block of
memory is freed beforehand, as happens in any training: the C library then keeps smaller ones, for all contestants.

The last rows tell by how much fused views differ from the exact ones with the same draws. ``--quality`` measures
instead what encoders learn from either, into another file: SimCLR on small pictures, several seeds, neighbours.

    python benchmarks/speed/views.py
    python benchmarks/speed/views.py --quality [--data FOLDER]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import RESULTS, Row, Target, parser, race, start, value, write
from torch import Tensor

import twofold.data
from twofold.modalities.image.views import make_views

JITTER = (0.4, 0.4, 0.4, 0.1)
SCALE = (0.2, 1.0)
SIGMA = (0.1, 2.0)
BATCHES = 4
SIZES = {32: 256, 224: 16}  # side: pictures in a batch
WORKERS = 2
PEERS = ("lightly", "torchvision", "kornia")


def main() -> None:
    """Measure speed, or quality."""
    options = parser(__doc__, "views")
    options.add_argument("--quality", action="store_true", help="what is learned, into views_quality.json")
    options.add_argument("--data", type=Path, help="with --quality: a folder with train/CLASS and test/CLASS")
    options.add_argument("--epochs", type=int, default=8, help="with --quality")
    options.add_argument("--seeds", type=int, default=4, help="with --quality")
    arguments = options.parse_args()
    start(arguments)
    if arguments.quality:
        measure_quality(arguments)
        return
    free_large_block()
    rows = [row for size in SIZES for row in speed(size, arguments)]
    rows += [difference(size) for size in SIZES]
    write(arguments, title="Views of pictures", numbers=[4], rows=rows, peers=PEERS, notes=NOTES)


NOTES = (
    "Seconds for all views of a case.",
    "lightly runs in 2 processes beside this one, the others in this one with all its threads.",
)


def free_large_block() -> None:
    """Have the C library keep freed blocks up to this size, as after the first step of a training."""
    torch.empty(7_500_000).fill_(0)


def speed(size: int, arguments: argparse.Namespace) -> list[Row]:
    """A row for exact views and one for fused ones."""
    batch, rounds = SIZES[size], 2 if arguments.quick else 5
    pictures = textures(BATCHES * batch, size)
    case = {"size": size, "batch": batch, "views": 2 * len(pictures)}
    peers = {"lightly": lightly(pictures, size, batch), "kornia": kornia(pictures, size, batch)}
    slow = {} if arguments.quick else {"torchvision": torchvision(pictures, size)}
    exact = {"twofold exact": ours("simclr", pictures, size, batch)}
    fused = {"twofold fused": ours("simclr-fused", pictures, size, batch)}
    at_least = {"exact": {32: 5.0}, "fused": {32: 15.0, 224: 3.0}}
    rows = []
    for kind, arms in (("exact", exact | peers | slow), ("fused", fused | peers | exact)):
        targets = [Target("lightly", at_least=at_least[kind][size])] if size in at_least[kind] else []
        if kind == "fused":
            targets.append(Target("kornia", at_least=5.0))
        rows.append(race(case, arms, ours=f"twofold {kind}", rounds=rounds, targets=targets))
    return rows


def difference(size: int) -> Row:
    """Mean absolute difference of fused from exact views, with and without a change of hue."""
    pictures = emoji_pictures(size, 64)
    found = {}
    for name, jitter in (("all", JITTER), ("without hue", (*JITTER[:3], 0.0))):
        exact, fused = (
            make_views(views, size=size, jitter=jitter, blur_p=0.5)(pictures, generator=seeded())[0]
            for views in ("simclr", "simclr-fused")
        )
        found[name] = float((exact - fused).abs().mean())
    return value({"size": size, "fused against": "exact"}, "mean absolute difference, of 1", found, ours="all")


def ours(name: str, pictures: Tensor, size: int, batch: int) -> Callable[[], object]:
    """Views of this library from batches of bytes."""
    views, generator = make_views(name, size=size, scale=SCALE, jitter=JITTER, blur_p=0.5), seeded()
    return lambda: [views(part, generator=generator) for part in pictures.split(batch)]


def lightly(pictures: Tensor, size: int, batch: int) -> Callable[[], object]:
    """Epochs of a data loader with lightly's transform."""
    from lightly.transforms import SimCLRTransform
    from torch.utils.data import DataLoader

    transform = SimCLRTransform(input_size=size, cj_strength=0.5, min_scale=SCALE[0], sigmas=SIGMA, normalize=None)
    dataset = InMemory(pictures, transform)
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=WORKERS, persistent_workers=True)
    return lambda: [views for views, _ in loader]


def torchvision(pictures: Tensor, size: int) -> Callable[[], object]:
    """Version 2 of torchvision's transforms, picture by picture."""
    from torchvision.transforms import v2

    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=SCALE),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(*JITTER)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.RandomApply([v2.GaussianBlur(taps(size), SIGMA)], p=0.5),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    images = InMemory(pictures).pictures
    return lambda: [transform(image) for image in images for _ in range(2)]


def kornia(pictures: Tensor, size: int, batch: int) -> Callable[[], object]:
    """kornia's augmentations of whole batches."""
    from kornia import augmentation

    transform = augmentation.AugmentationSequential(
        augmentation.RandomResizedCrop((size, size), scale=SCALE),
        augmentation.RandomHorizontalFlip(),
        augmentation.ColorJitter(*JITTER, p=0.8),
        augmentation.RandomGrayscale(p=0.2),
        augmentation.RandomGaussianBlur((taps(size), taps(size)), SIGMA, p=0.5),
        data_keys=["input"],
    )
    return lambda: [transform(part.float() / 255) for part in pictures.split(batch) for _ in range(2)]


class InMemory(torch.utils.data.Dataset[Any]):
    """PIL pictures and a label that nobody looks at."""

    def __init__(self, pictures: Tensor, transform: Callable[[Any], Any] | None = None) -> None:
        from PIL import Image

        self.transform = transform
        self.pictures = [Image.fromarray(pixels) for pixels in pictures.permute(0, 2, 3, 1).contiguous().numpy()]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = self.pictures[index]
        return (picture if self.transform is None else self.transform(picture)), 0


def taps(size: int) -> int:
    """Width of the blur, as in SimCLR: next to a tenth of the side."""
    return max(3, size // 20 * 2 + 1)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def textures(n: int, size: int) -> Tensor:
    """Noise whose amplitude falls with its frequency, as in photographs; uint8 (n, 3, size, size)."""
    random = np.random.default_rng(0)
    y, x = np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(x, y), 1 / size)
    spectrum = np.fft.rfft2(random.standard_normal((n, 3, size, size))) * amplitude
    waves = np.fft.irfft2(spectrum, s=(size, size))
    waves /= waves.std((2, 3), keepdims=True)
    return torch.from_numpy((128 + 50 * waves).clip(0, 255).astype(np.uint8))


def emoji_pictures(size: int, n: int) -> Tensor:
    """Drawings that come with the package, as real pictures."""
    dataset = twofold.data.emoji(size=64)
    step = len(dataset) // n
    pictures = dataset.fetch(torch.arange(n) * step)["inputs"]
    large = torch.nn.functional.interpolate(pictures.float(), size=(size, size), mode="bilinear", antialias=True)
    return large.round().clamp(0, 255).to(torch.uint8)


def measure_quality(arguments: argparse.Namespace) -> None:
    """Accuracy of neighbours in encoders that learned from exact and from fused views, by seed."""
    train, test, name = quality_data(arguments.data)
    seeds = 2 if arguments.quick else arguments.seeds
    epochs = 1 if arguments.quick else arguments.epochs
    found: dict[str, list[float]] = {"simclr": [], "simclr-fused": []}
    chance = 0.0
    for seed in range(seeds):
        for views, accuracies in found.items():
            accuracy, chance = learned(views, train, test, epochs, seed)
            accuracies.append(accuracy)
            print(f"{views}, seed {seed}: {accuracy:.4f}", flush=True)
    case = {"data": name, "epochs": epochs, "encoder": "resnet18-w8", "size": 32}
    by_seed = [
        value(
            case | {"seed": seed},
            "20-NN accuracy",
            {key: figures[seed] for key, figures in found.items()},
            ours="simclr",
        )
        for seed in range(seeds)
    ]
    gains = [fused - exact for exact, fused in zip(*found.values(), strict=True)]
    summary = {
        "mean": {key: statistics.mean(figures) for key, figures in found.items()},
        "deviation over seeds": {key: statistics.stdev(figures) for key, figures in found.items()},
        "mean gain of fused": statistics.mean(gains),
        "standard error of the gain": statistics.stdev(gains) / len(gains) ** 0.5,
        "untrained encoder": chance,
    }
    print(summary)
    if arguments.out == RESULTS / "views.json":
        arguments.out = RESULTS / "views_quality.json"
    write(arguments, title="What is learned from fused views", numbers=[4], rows=by_seed, summary=summary)


def quality_data(folder: Path | None) -> tuple[Any, Any, str]:
    """Pictures of 32 px to learn from and to be tested on, and what they are."""
    if folder is None:
        return twofold.data.emoji("train", size=32), twofold.data.emoji("test", size=32), "emoji"
    from twofold.modalities.image import data

    return data.read(folder / "train", size=32), data.read(folder / "test", size=32), folder.name


def learned(views: str, train: Any, test: Any, epochs: int, seed: int) -> tuple[float, float]:
    """20-NN accuracy of a small encoder after training, and before."""
    made = make_views(views, size=32, blur_p=0.5)
    model = twofold.SimCLR(encoder="resnet18-w8", views=made)
    model.fit(train, epochs=epochs, batch_size=256, seed=seed)
    rows = {row.name: row for row in model.evaluate(train, test=test, metrics=("knn",)).rows}
    return rows["trained"].metrics["knn"].value, rows["untrained"].metrics["knn"].value


if __name__ == "__main__":
    main()
