"""SimCLR on sounds: environmental sounds (ESC-10) and spoken digits (FSDD), beside untrained encoder and MFCC.

    python benchmarks/modalities/audio.py --data DATA

DATA holds two folders: ``esc10_22k`` (github.com/karolpiczak/ESC-10 at 553c8f1743b9, CC BY 3.0, its clips at 22.05 kHz
as ``CLASS/FOLD-SOURCE-TAKE.ogg``) and ``fsdd/recordings`` (github.com/Jakobovski/free-spoken-digit-dataset at
26eb9aaf76e8, CC BY-SA 4.0, the recordings with index 0 to 9: ``DIGIT_SPEAKER_INDEX.wav``).

Three tasks, each trained without labels on the part that the probes then learn from:

- esc10: folds 1 to 4 in turn are the test, the other four are trained on;
- digits: the official split of FSDD, index 0 to 4 is the test, three seeds;
- speakers: digits of a speaker who was not heard in training, five speakers in turn.

The views are chosen before, by ``--select``, on parts that are no test: fold 5 of ESC-10 (trained on folds 1 to 4),
index 5 and 6 of FSDD (trained on 7 to 9), and the speaker theo, who is therefore no test of the third task. On the same
parts it was found that short clips should be repeated rather than followed by silence. All else was fixed in advance.
Finished runs are kept in ``--out``; the result is written beside this script. About four minutes on one core, and
three for the selection.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import twofold
from twofold import modalities
from twofold.dataset import Dataset, Subset
from twofold.recipes import measuring, running, saving
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "audio.json"
CANDIDATES = ("sounds", "byol-a", "cola")
CHOSEN = "sounds"
SETTINGS: dict[str, Any] = {"encoder": "logmel-convnet-w16", "temperature": 0.1}
TRAINING: dict[str, Any] = {"batch_size": 64, "lr": 2e-3, "precision": "bf16", "workers": 0}
STEPS = 100
"""Of training, rounded up to whole epochs."""
METRICS = {"knn": "20-NN accuracy", "linear": "linear probe accuracy"}
DATA = {
    "esc10": ("ESC-10", "folds 1 to 4 in turn, each with its own seed"),
    "digits": ("FSDD, official split", ""),
    "speakers": ("FSDD, unheard speaker", "five speakers in turn, each with its own seed"),
}
SELECTION_SPEAKER = "theo"

Parts = tuple[Tensor, Tensor]
"""Positions of the samples to train on, and of those to measure on."""


def esc10(data: Path) -> tuple[Dataset, list[int]]:
    """The clips and their folds."""
    dataset = modalities.get("audio").read(data / "esc10_22k")
    return dataset, [int(Path(name).name.split("-")[0]) for name in dataset.ids]


def spoken_digits(data: Path) -> tuple[Dataset, list[str], list[int]]:
    """The recordings with the digit as label, their speakers and their indices."""
    dataset = modalities.get("audio").read(data / "fsdd" / "recordings")
    facts = [Path(name).stem.split("_") for name in dataset.ids]
    dataset.labels = torch.tensor([int(digit) for digit, _, _ in facts])
    return dataset, [speaker for _, speaker, _ in facts], [int(index) for _, _, index in facts]


def where(values: list[Any], test: Callable[[Any], bool], train: Callable[[Any], bool] | None = None) -> Parts:
    """The parts of a set by a property of its samples; what is no test is trained on, unless ``train`` says."""
    trained = train or (lambda value: not test(value))
    train_index, test_index = ([i for i, value in enumerate(values) if rule(value)] for rule in (trained, test))
    return torch.tensor(train_index), torch.tensor(test_index)


def tasks(data: Path, *, select: bool) -> dict[str, list[tuple[str, Dataset, Parts, int]]]:
    """For each task its runs: name, data, parts and seed."""
    sounds, folds = esc10(data)
    digits, speakers, indices = spoken_digits(data)
    if select:
        alone = where(speakers, lambda who: who == SELECTION_SPEAKER)
        return {
            "esc10": [("fold 5", sounds, where(folds, lambda fold: fold == 5), 0)],
            "digits": [("index 5, 6", digits, where(indices, lambda i: i in (5, 6), lambda i: i > 6), 0)],
            "speakers": [(SELECTION_SPEAKER, digits, alone, 0)],
        }
    others = sorted(set(speakers) - {SELECTION_SPEAKER})

    def just(wanted: Any) -> Callable[[Any], bool]:
        return lambda value: value == wanted

    official = where(indices, lambda i: i < 5)
    return {
        "esc10": [(f"fold {k}", sounds, where(folds, just(k)), k) for k in range(1, 5)],
        "digits": [(f"seed {seed}", digits, official, seed) for seed in range(3)],
        "speakers": [(name, digits, where(speakers, just(name)), seed) for seed, name in enumerate(others)],
    }


def run(dataset: Dataset, parts: Parts, seed: int, views: str) -> dict[str, Any]:
    """Train once; the metrics of the trained encoder, the untrained one and the raw features."""
    train, test = (Subset(dataset, part) for part in parts)
    epochs = math.ceil(STEPS / (len(train) // TRAINING["batch_size"]))
    model = twofold.SimCLR(modality="audio", views=views, **SETTINGS)
    options = TrainingOptions.checked(epochs=epochs, seed=seed, **TRAINING).resolved(model.training_defaults)
    trained = running.fit_dataset(model, train, options, progress=NullProgress())
    report = measuring.evaluate(model, train, test=test, metrics=list(METRICS), seed=seed)
    rows = {row.name: {name: row.metrics[name].value for name in METRICS} for row in report.rows}
    return {"rows": rows, "seconds": round(trained.seconds, 1), "epochs": epochs, "seed": seed}


def measure(data: Path, out: Path, views: str, *, select: bool = False) -> dict[str, dict[str, dict[str, Any]]]:
    """All runs of all tasks by name; finished ones are read from ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for task, runs in tasks(data, select=select).items():
        found[task] = {}
        for name, dataset, parts, seed in runs:
            path = out / f"{'select' if select else 'test'}-{views}-{task}-{name.replace(' ', '')}.json"
            if not path.is_file():
                write_json(path, run(dataset, parts, seed, views))
            found[task][name] = read_json(path)
            shown = ", ".join(
                f"{row} {m['knn']:.3f} / {m['linear']:.3f}" for row, m in found[task][name]["rows"].items()
            )
            print(f"{task}, {name}, {views}: {shown}", flush=True)
    return found


def summary(runs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over runs, and of the differences to either baseline, paired by run."""
    rows = [one["rows"] for one in runs.values()]
    table: dict[str, Any] = {}
    for name in ("trained", "untrained", "raw"):
        table[name] = {metric: _spread([row[name][metric] for row in rows]) for metric in METRICS}
    for name in ("untrained", "raw"):
        table[f"trained - {name}"] = {
            metric: _spread([row["trained"][metric] - row[name][metric] for row in rows]) for metric in METRICS
        }
    return table


def table(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of this modality in the table of all (``page.py``)."""
    rows = []
    for task, runs in found.items():
        spreads, (data, note) = summary(runs), DATA[task]
        for metric, title in METRICS.items():
            rows.append(
                {"modality": "audio", "data": data, "recipe": "simclr", "metric": title, "higher_is_better": True}
                | {name: spreads[name][metric] for name in ("trained", "untrained", "raw")}
                | {"raw_name": "MFCC statistics", "seeds": len(runs), "note": note}
                | {"seconds": round(statistics.mean(one["seconds"] for one in runs.values()), 1)}
            )
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 4), "deviation": round(deviation, 4)}


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/audio"))
    parser.add_argument("--select", action="store_true", help="only compare the views, on validation parts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.select:
        chosen = {views: measure(arguments.data, arguments.out, views, select=True) for views in CANDIDATES}
        for views, found in chosen.items():
            scores = [one["rows"]["trained"][m] for runs in found.values() for one in runs.values() for m in METRICS]
            print(f"{statistics.mean(scores):.3f}  {views}")
        write_json(RESULT.with_name("audio-selection.json"), chosen)
        return
    found = measure(arguments.data, arguments.out, CHOSEN)
    settings = SETTINGS | {"views": CHOSEN} | {"training": TRAINING | {"steps": STEPS}}
    result = {"settings": settings, "versions": saving.versions()}
    result |= {"table": table(found)}
    result |= {"summary": {task: summary(runs) for task, runs in found.items()}, "runs": found}
    write_json(RESULT, result)
    print(json.dumps(result["summary"], indent=1))


if __name__ == "__main__":
    main()
