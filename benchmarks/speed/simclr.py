"""SimCLR end to end against lightly: a pass over pictures, from uint8 arrays to updated weights.

Both train the same network, ResNet-18 with the stem for small pictures, at widths 64 and 16, with SimCLR's projector,
NT-Xent at τ = 0.5 and SGD (rate 0.06, momentum 0.9, decay 5e-4), on 256 pictures of 32 × 32 a step, so 512 views.

- lightly as its users write it: ``SimCLRTransform(input_size=32)`` on Pillow pictures, a ``DataLoader`` with 2 workers,
  ``SimCLRProjectionHead``, ``NTXentLoss``, the loop of its example. Its transform crops and jitters more strongly than
  our preset and blurs half of the pictures; the time of both is nearly all in the network.
- ours is the trainer's own step with the preset ``simclr`` in its exact form, once with the default precision, which is
  bfloat16 where the processor has units for it, and once in float32.

A call is a pass over a few batches: lightly's starts its workers once a pass, as every epoch does. What happens once a
run is left out of ours (40 looks at the health of the embedding).

``--quality`` is another question: whether bfloat16 learns what float32 learns. Width 16 on the packaged emoji (or a
folder of pictures in class folders, ``--data``), both formats, several seeds; the loss of every epoch and the accuracy
of 20 nearest neighbours must differ by no more than seeds do. About ten minutes of one core.

    python benchmarks/speed/simclr.py
    python benchmarks/speed/simclr.py --quality
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import Row, Target, parser, race, start, value, write

BATCH, SIDE = 256, 32
LR, MOMENTUM, DECAY, TEMPERATURE = 0.06, 0.9, 5e-4, 0.5
STEPS = {64: 1, 16: 6}
"""Batches in a pass, by width: so that a pass takes seconds."""
LIGHTLY, FLOAT32 = "lightly", "twofold float32"


def main() -> None:
    given = parser(__doc__, "simclr")
    given.add_argument("--quality", action="store_true", help="what bfloat16 learns, instead of how fast")
    given.add_argument("--data", type=Path, help="of --quality: pictures in class folders, instead of emoji")
    given.add_argument("--seeds", type=int, default=3, help="of --quality")
    given.add_argument("--epochs", type=int, default=4, help="of --quality")
    arguments = given.parse_args()
    start(arguments)
    if arguments.quality:
        quality(arguments)
        return
    rows: list[Row] = []
    losses: dict[str, float] = {}
    for width in (16,) if arguments.quick else (64, 16):
        rows += speed(width, 2 if arguments.quick else STEPS[width], 2 if arguments.quick else 3, losses)
    notes = [
        "images/s = 256 x steps / seconds; an image is two views",
        "ours by default is bf16 with channels_last where the processor has units for bf16",
        "losses are of the last step of the last call; initial weights and views differ",
    ]
    peers = [] if absence() else [LIGHTLY, "torchvision"]
    write(arguments, title="SimCLR end to end", numbers=[6], rows=rows, peers=peers, notes=notes, losses=losses)


def speed(width: int, steps: int, rounds: int, losses: dict[str, float]) -> list[Row]:
    """A pass over ``steps`` batches: both of ours against lightly, then the same figures for float32."""
    pictures = np.random.default_rng(0).integers(0, 256, (BATCH * steps, SIDE, SIDE, 3), dtype=np.uint8)
    case = {"item": 6, "network": "ResNet-18", "width": width, "side": SIDE, "batch": BATCH, "steps": steps}
    arms = {
        name: ours(pictures, width, precision, losses, f"{name}, width {width}")
        for name, precision in (("twofold", "auto"), (FLOAT32, "float32"))
    }
    missing = absence()
    if missing is None:
        arms[LIGHTLY] = lightlys(pictures, width, losses, f"{LIGHTLY}, width {width}")
    absent = {} if missing is None else {LIGHTLY: missing}
    wanted = Target(LIGHTLY, at_least=2.6)
    row = race(case, arms, rounds=rounds, patience=1, absent=absent, targets=[wanted])
    medians = {name: arm["median"] for name, arm in row["arms"].items() if name != "twofold"}
    plain = value(
        case | {"precision": "float32"},
        "s",
        medians,
        ours=FLOAT32,
        absent=absent,
        targets=[Target(LIGHTLY, at_least=1.5)],
    )
    rates = {name: round(BATCH * steps / arm["median"], 1) for name, arm in row["arms"].items()}
    row["images_per_second"] = rates
    return [row, plain]


def absence() -> str | None:
    """Why lightly is not there; None if it is."""
    try:
        import lightly  # noqa: F401
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:  # a torchvision of another build raises RuntimeError
        return f"not importable: {type(error).__name__}: {error}"
    return None


def ours(
    pictures: np.ndarray[Any, Any], width: int, precision: Any, losses: dict[str, float], name: str
) -> Callable[[], None]:
    """A pass of a long run of ``simclr``."""
    steps = len(pictures) // BATCH
    loop = _our_loop(pictures, width, precision)

    def call() -> None:
        losses[name] = list(itertools.islice(loop, steps))[-1]

    return call


def _our_loop(pictures: np.ndarray[Any, Any], width: int, precision: Any) -> Iterator[float]:
    """The losses of a run, step by step: what ``fit`` does between its beginning and its end."""
    from twofold.recipes import catalogue
    from twofold.recipes.running import resolved
    from twofold.training.allocator import freed_memory_is_kept
    from twofold.training.distributed import Process
    from twofold.training.options import TrainingOptions
    from twofold.training.randomness import seeded_init
    from twofold.training.trainer import Trainer

    simclr: Any = catalogue.get("simclr")
    recipe = simclr(encoder=f"resnet18-w{width}", temperature=TEMPERATURE)
    dataset = recipe.modality.read(pictures)
    wanted = TrainingOptions(
        epochs=10_000,
        batch_size=BATCH,
        optimizer="sgd",
        lr=LR,
        weight_decay=DECAY,
        precision=precision,
        health_steps=10**9,
    )
    with seeded_init(0):
        recipe.build(dataset.spec)
    settings, process = (
        resolved(recipe, dataset, wanted),
        Process(rank=0, world=1, local_rank=0, device=torch.device("cpu")),
    )
    trainer = Trainer(recipe, dataset, recipe.make_views(), settings, process=process)
    recipe.train()
    with freed_memory_is_kept():
        for step, fetched in trainer.loader.batches(1, trainer.total_steps):  # the first step looks at the health
            yield trainer._step(step, fetched)["loss"]


def lightlys(pictures: np.ndarray[Any, Any], width: int, losses: dict[str, float], name: str) -> Callable[[], None]:
    """A pass of lightly's loop over the same network."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    from twofold.modalities.image.encoders import make_encoder
    from twofold.training.randomness import seeded_init

    transform = SimCLRTransform(input_size=SIDE)
    images = [Image.fromarray(picture) for picture in pictures]

    class Pictures(Dataset[Any]):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, index: int) -> Any:
            return transform(images[index])

    class SimCLR(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            spec = {"channels": 3, "size": SIDE, "mean": [0.5] * 3, "std": [0.25] * 3}
            encoder = make_encoder(f"resnet18-w{width}", spec)
            self.backbone = encoder.backbone
            self.projection_head = SimCLRProjectionHead(encoder.dim, encoder.dim, 128)

        def forward(self, views: torch.Tensor) -> torch.Tensor:
            return self.projection_head(self.backbone(views).flatten(start_dim=1))

    with seeded_init(0):
        model = SimCLR()
    loader = DataLoader(Pictures(), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=2)
    criterion = NTXentLoss(temperature=TEMPERATURE)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)

    def call() -> None:
        for first, second in loader:
            loss = criterion(model(first), model(second))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        losses[name] = loss.item()

    return call


def quality(arguments: argparse.Namespace) -> None:
    """Train in both formats with several seeds; write losses and accuracies, and whether they differ by more."""
    runs: dict[str, list[dict[str, Any]]] = {"bf16": [], "float32": []}
    for seed, precision in itertools.product(range(arguments.seeds), runs):
        found = _learned(arguments, precision, seed)
        print(precision, seed, found, flush=True)
        runs[precision].append(found)
    knn = {name: [run["knn"] for run in found] for name, found in runs.items()}
    rows = [
        value(
            {"item": 6, "quality": "20-NN accuracy", "width": 16, "seeds": arguments.seeds},
            "accuracy",
            {name: statistics.mean(found) for name, found in knn.items()},
            ours="bf16",
        )
    ]
    losses = {
        name: [list(epoch) for epoch in zip(*(r["losses"] for r in found), strict=True)] for name, found in runs.items()
    }
    within = {"knn": _within(knn["bf16"], knn["float32"])}
    within |= {f"loss, epoch {i + 1}": _within(*pair) for i, pair in enumerate(zip(*losses.values(), strict=True))}
    print("bf16 within the seeds' spread:", within)
    arguments.out = arguments.out.with_name("simclr_quality.json")
    notes = ["within: the means differ by no more than the larger of both formats' ranges over seeds"]
    write(
        arguments, title="SimCLR in bfloat16 and float32", numbers=[6], rows=rows, notes=notes, runs=runs, within=within
    )


def _within(one: list[float], other: list[float]) -> bool:
    spread = max(max(one) - min(one), max(other) - min(other))
    return abs(statistics.mean(one) - statistics.mean(other)) <= spread


def _learned(arguments: argparse.Namespace, precision: Any, seed: int) -> dict[str, Any]:
    """Mean loss of every epoch, and the accuracy of 20 nearest neighbours on held-out pictures."""
    from twofold.data import emoji
    from twofold.dataset import Dataset, Subset
    from twofold.evaluation import stratified_split, weighted_knn
    from twofold.recipes import catalogue
    from twofold.recipes.running import embed, fit
    from twofold.training.progress import Progress

    class Curve(Progress):
        """Keeps the losses of each epoch."""

        def __init__(self) -> None:
            self.epochs: dict[int, list[float]] = {}

        def update(self, record: Mapping[str, Any], **_: Any) -> None:
            self.epochs.setdefault(math.ceil(record["epoch"]), []).append(record["loss"])

    simclr: Any = catalogue.get("simclr")
    recipe = simclr(encoder="resnet18-w16", temperature=TEMPERATURE)
    train: Dataset
    test: Dataset
    if arguments.data is None:
        train, test = emoji("train"), emoji("test")
    else:
        whole = recipe.modality.read(arguments.data, size=SIDE)
        split = stratified_split(whole.labels, generator=torch.Generator().manual_seed(0))
        train, test = Subset(whole, split.train), Subset(whole, split.test)
    curve = Curve()
    fit(
        recipe,
        train,
        progress=curve,
        epochs=arguments.epochs,
        batch_size=BATCH,
        optimizer="sgd",
        lr=LR,
        weight_decay=DECAY,
        precision=precision,
        seed=seed,
        health_steps=10**9,
    )
    bank, queries = embed(recipe, train), embed(recipe, test)
    if bank.labels is None or queries.labels is None:
        raise SystemExit("the pictures have no classes")
    predictions = weighted_knn(bank.rows, bank.labels, queries.rows).predictions
    accuracy = (predictions == queries.labels).float().mean().item()
    return {"knn": accuracy, "losses": [statistics.mean(losses) for losses in curve.epochs.values()]}


if __name__ == "__main__":
    main()
