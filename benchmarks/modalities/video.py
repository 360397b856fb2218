"""Unit animations of Battle for Wesnoth: which race is it? CVRL and SimCLR beside the untrained encoder.

    mkdir -p DATA/wesnoth && cd DATA/wesnoth && apt-get download wesnoth-1.16-data && dpkg -x wesnoth-1.16-data_*.deb .
    python benchmarks/modalities/video.py --data DATA

Sprites of 72 x 72 pixels under ``images/units/RACE/UNIT-ACTION-NUMBER.png`` (GPL 2 or CC BY-SA 4.0): numbered pictures
that differ in their number only are a clip. Clips of at least three frames of races with at least 15 of them are taken.
The class is the race. The split is by unit, so that no unit that is measured on was trained on; there are three splits,
one a seed. 70 % of the units are trained on without labels and are the bank of the probes, 30 % are held out.

All settings but the views of CVRL were fixed in advance. For these ``--select`` compares ``cvrl`` with ``clips``
(milder colours and crops) on held-out units of the training part of a split that is not measured on.
Finished runs are kept in ``--out``; the result is written beside this script.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "video.json"
UNITS = "usr/share/games/wesnoth/1.16/data/core/images/units"
SIZE, FRAMES = 32, 8
LEAST_FRAMES, LEAST_CLIPS = 3, 15
ENCODER = "r3d-w8"
RECIPES: dict[str, dict[str, Any]] = {
    "cvrl": {"hidden_dim": 256},
    "simclr": {},
}
"""Options of the recipes; a projector of 256 instead of 2048 for an encoder of 64 features."""
CANDIDATES = ("cvrl", "clips")
TRAINING: dict[str, Any] = {"epochs": 10, "batch_size": 32, "lr": 2e-3, "precision": "float32", "workers": 0}
METRICS = ("knn", "linear")
SELECTION_SEED = 100


def clips(data: Path) -> tuple[Any, list[str]]:
    """The clips with the race as label, and their units."""
    import torch

    from twofold import modalities
    from twofold.dataset import Subset

    everything: Any = modalities.get("video").read(data / "wesnoth" / UNITS, size=SIZE, frames=FRAMES)
    batch = everything.fetch(torch.arange(len(everything)))
    races = [name.split("/")[0] for name in everything.ids]
    long_enough = {
        i for i, n in zip(batch["index"].tolist(), batch["length"].tolist(), strict=True) if n >= LEAST_FRAMES
    }
    counts = {race: sum(races[i] == race for i in long_enough) for race in set(races)}
    names = sorted(race for race, count in counts.items() if count >= LEAST_CLIPS)
    chosen = [i for i in sorted(long_enough) if races[i] in names]
    everything.labels = torch.tensor([names.index(race) if race in names else -1 for race in races])
    everything.class_names = names
    return Subset(everything, torch.tensor(chosen)), [unit(everything.ids[i]) for i in chosen]


def unit(name: str) -> str:
    """The unit of a clip: its race and the first word of its name, ``elves-wood/archer+female-bow`` -> archer."""
    race, _, rest = name.partition("/")
    return f"{race}/{rest.split('/')[-1].replace('+', '-').split('-')[0]}"


def parts(data: Any, units: list[str], seed: int) -> tuple[Any, Any, list[str]]:
    """70 % and 30 % of the units of each race with their clips, and the units of the clips of the first part."""
    import torch

    from twofold.dataset import Subset

    draw = torch.Generator().manual_seed(seed)
    held_out: set[str] = set()
    for race in sorted({name.split("/")[0] for name in units}):
        own = sorted({name for name in units if name.split("/")[0] == race})
        count = max(1, round(0.3 * len(own)))
        held_out |= {own[i] for i in torch.randperm(len(own), generator=draw)[:count].tolist()}
    train = [i for i, name in enumerate(units) if name not in held_out]
    test = [i for i, name in enumerate(units) if name in held_out]
    return Subset(data, torch.tensor(train)), Subset(data, torch.tensor(test)), [units[i] for i in train]


def run(recipe: str, train: Any, test: Any, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Train and measure once; the values by row and metric, and the seconds of training."""
    from twofold.recipes import catalogue, measuring, running
    from twofold.training.options import TrainingOptions
    from twofold.training.progress import NullProgress

    model = catalogue.get(recipe)(modality="video", encoder=ENCODER, **options)
    settings = TrainingOptions.checked(**TRAINING, seed=seed)
    trained = running.fit_dataset(model, train, settings, progress=NullProgress())
    report = measuring.evaluate(model, train, test=test, metrics=METRICS, seed=seed)
    rows = {row.name: {key: round(m.value, 4) for key, m in row.metrics.items()} for row in report.rows}
    return {"rows": rows, "seconds": round(trained.seconds, 1), "train": len(train), "test": len(test)}


def finished(path: Path, recipe: str, train: Any, test: Any, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """A run, or what is kept of it."""
    from twofold.training.files import read_json, write_json

    if not path.is_file():
        write_json(path, run(recipe, train, test, seed, options))
    found: dict[str, Any] = read_json(path)
    shown = ", ".join(f"{row} {m['knn']:.3f} / {m['linear']:.3f}" for row, m in found["rows"].items())
    print(f"{path.stem}: {shown}; {found['seconds']} s", flush=True)
    return found


def select(data: Any, units: list[str], out: Path) -> dict[str, float]:
    """The mean of the metrics with each candidate's views, on held-out units of a training part."""
    inner, _, own = parts(data, units, SELECTION_SEED)
    train, validation, _ = parts(inner, own, SELECTION_SEED)
    scores = {}
    for views in CANDIDATES:
        options = RECIPES["cvrl"] | {"views": views}
        found = finished(out / f"select-{views}.json", "cvrl", train, validation, SELECTION_SEED, options)
        scores[views] = round(statistics.mean(found["rows"]["trained"].values()), 4)
    return scores


def spread(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation."""
    return {"mean": round(statistics.mean(values), 4), "deviation": round(statistics.stdev(values), 4)}


def table_row(recipe: str, metric: str, title: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A line of the table over all kinds of data."""
    values = {name: spread([one["rows"][name][metric] for one in runs]) for name in ("trained", "untrained", "raw")}
    return {
        "modality": "video",
        "data": "Wesnoth units, 12 races, split by unit",
        "recipe": recipe,
        "metric": title,
        "higher_is_better": True,
        **values,
        "raw_name": "mean frame and change",
        "other": {},
        "seeds": len(runs),
        "seconds": round(statistics.mean(one["seconds"] for one in runs), 1),
        "note": f"{ENCODER}, {SIZE} px, {FRAMES} frames; each seed has its own split",
    }


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/video"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--select", action="store_true", help="only compare the views of CVRL, on validation units")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    from twofold.recipes import saving
    from twofold.training.files import read_json, write_json

    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    data, units = clips(arguments.data)
    print(f"{len(data)} clips of {len(set(units))} units in {len(data.class_names or [])} races", flush=True)
    if arguments.select:
        write_json(arguments.out / "selection.json", select(data, units, arguments.out))
        return
    splits = [parts(data, units, seed)[:2] for seed in range(arguments.seeds)]
    runs = {
        recipe: [
            finished(arguments.out / f"{recipe}-{seed}.json", recipe, train, test, seed, options)
            for seed, (train, test) in enumerate(splits)
        ]
        for recipe, options in RECIPES.items()
    }
    majority = [round(int(test.labels.bincount().max()) / len(test), 4) for _, test in splits]
    titles = {"knn": "20-NN accuracy", "linear": "linear probe accuracy"}
    selection = arguments.out / "selection.json"
    write_json(
        RESULT,
        {
            "settings": {"encoder": ENCODER, "size": SIZE, "frames": FRAMES, "recipes": RECIPES} | TRAINING,
            "data": {"clips": len(data), "units": len(set(units)), "races": data.class_names, "majority": majority},
            "selection": read_json(selection) if selection.is_file() else {},
            "table": [
                table_row(name, key, title, found) for name, found in runs.items() for key, title in titles.items()
            ],
            "runs": runs,
            "versions": saving.versions(),
        },
    )


if __name__ == "__main__":
    main()
