"""Recipes on rows of tables, beside the untrained encoder and the columns themselves.

    python benchmarks/modalities/table.py --data DATA

Classes: wine, breast cancer and 8 × 8 digits as 64 columns, as scikit-learn brings them. Numbers to predict: its
diabetes, and the prices of houses (their decimal logarithm) from ``DATA/houses_64/HousesInfo.txt``
(github.com/emanhamed/Houses-dataset at 5e148219500558089cf5cf121b626b17fdde9b92: bedrooms, bathrooms, area, zip code,
price; the zip code is read as a category).

For each seed 30 % of the rows are the test, drawn anew (stratified by class); the encoder is trained on the others,
without labels, but for SupReMix, which learns from the numbers of these rows. Then probes on the same rows are scored
on the test: 5-shot (five labels of each class, ten episodes) and linear, or ridge and nearest neighbours. Nothing was
chosen on these sets: recipes run with their own options, views and encoder (four layers of 256), at a number of steps
that was fixed in advance; SCARF with its paper's views, and with those that all other recipes have by default.
Finished runs are kept in ``--out``; the result is written beside this script. About ten minutes on one idle core.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from twofold.dataset import Dataset, Subset
from twofold.evaluation import Evaluation, stratified_split
from twofold.modalities.table import data as tables
from twofold.recipes import catalogue, measuring, running, saving
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "table.json"
SEEDS = (0, 1, 2)
STEPS = 300
"""Of training, rounded up to whole epochs."""
TRAINING: dict[str, Any] = {"batch_size": 128, "lr": 1e-3, "precision": "float32", "workers": 0}
TEST_SHARE = 0.3
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "scarf": ("scarf", {}),
    "scarf, views corruption": ("scarf", {"views": "corruption"}),
    "simclr": ("simclr", {"temperature": 0.5}),
    "dcl": ("dcl", {"temperature": 0.5}),
    "vicreg": ("vicreg", {"projection_dim": 256, "hidden_dim": 256}),
    "supremix": ("supremix", {}),
}
"""What is run, by the name in the table: recipe and options."""
CLASSES = ("scarf", "scarf, views corruption", "simclr", "dcl", "vicreg")
NUMBERS = ("scarf", "simclr", "supremix")
METRICS = {
    "few_shot": ("5-shot probe accuracy", True),
    "linear": ("linear probe accuracy", True),
    "ridge_r2": ("ridge probe R²", True),
    "knn_r2": ("20-NN R²", True),
}


def classes() -> dict[str, Dataset]:
    """The sets that have classes."""
    from sklearn.datasets import load_breast_cancer, load_digits, load_wine

    loaders = {"wine": load_wine, "breast cancer": load_breast_cancer, "digits": load_digits}
    return {name: tables.read(load()) for name, load in loaders.items()}


def numbers(data: Path) -> dict[str, Dataset]:
    """The sets that have a number to predict."""
    from sklearn.datasets import load_diabetes

    lines = (data / "houses_64" / "HousesInfo.txt").read_text().split("\n")
    cells = [line.split() for line in lines if line.strip()]
    names = ("bedrooms", "bathrooms", "area", "zip", "price")
    columns: dict[str, list[Any]] = {name: [float(row[i]) for row in cells] for i, name in enumerate(names)}
    columns["zip"] = [row[3] for row in cells]
    columns["price"] = [math.log10(price) for price in columns["price"]]
    houses = tables.read(columns, categorical="zip", target_column="price")
    return {"diabetes": tables.read(load_diabetes()), "houses": houses}


def parts(dataset: Dataset, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows to train on, and rows to measure on."""
    labels = torch.full((len(dataset),), -1) if dataset.labels is None else dataset.labels
    split = stratified_split(labels, generator=torch.Generator().manual_seed(seed), test_fraction=TEST_SHARE)
    return split.train, split.test


def run(arm: str, dataset: Dataset, train: torch.Tensor, test: torch.Tensor, seed: int) -> dict[str, Any]:
    """Train once; the metrics of the trained encoder and of all baselines."""
    name, options = ARMS[arm]
    model = catalogue.get(name)(modality="table", **options)
    batch = min(int(TRAINING["batch_size"]), len(train))
    epochs = math.ceil(STEPS / (len(train) // batch))
    settings = TrainingOptions.checked(**(TRAINING | {"epochs": epochs, "seed": seed, "batch_size": batch}))
    started = time.perf_counter()
    running.fit_dataset(model, Subset(dataset, train), settings, progress=NullProgress())
    seconds = time.perf_counter() - started
    groups: dict[str, Any] = {} if dataset.labels is None else {"metrics": ("few_shot", "linear")}
    report: Evaluation = measuring.evaluate(
        model, Subset(dataset, train), test=Subset(dataset, test), seed=seed, **groups
    )
    rows = {row.name: {key: row.metrics[key].value for key in METRICS if key in row.metrics} for row in report.rows}
    return {"rows": rows, "seconds": round(seconds, 1), "seed": seed, "epochs": epochs}


def kept(path: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of a run, from its file if it is finished."""
    if not path.is_file():
        write_json(path, work())
    return read_json(path)


def measure(out: Path, data: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """All runs, by data set and arm."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for arms, sets in ((CLASSES, classes()), (NUMBERS, numbers(data))):
        for name, dataset in sets.items():
            found[name] = {}
            for arm in arms:
                runs = []
                for seed in SEEDS:
                    path = out / f"test-{arm.replace(', views ', '-')}-{name.replace(' ', '-')}-{seed}.json"
                    split = parts(dataset, seed)
                    runs.append(kept(path, partial(run, arm, dataset, *split, seed)))
                found[name][arm] = runs
                print(name, arm, runs[0]["rows"], flush=True)
    return found


def table(found: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """One row for each data set, arm and metric."""
    rows = []
    for name, arms in found.items():
        for arm, runs in arms.items():
            for metric in [key for key in METRICS if key in runs[0]["rows"]["trained"]]:
                spread = {kind: _spread([one["rows"][kind][metric] for one in runs]) for kind in runs[0]["rows"]}
                title, higher = METRICS[metric]
                rows.append(
                    {
                        "modality": "table",
                        "data": name,
                        "recipe": arm,
                        "metric": title,
                        "higher_is_better": higher,
                        "trained": spread["trained"],
                        "untrained": spread["untrained"],
                        "raw": spread["raw"],
                        "raw_name": "standardized columns",
                        "other": {"training mean": spread["training-mean"]} if "training-mean" in spread else {},
                        "seeds": len(runs),
                        "seconds": round(statistics.mean(one["seconds"] for one in runs), 1),
                        "note": "learns from the target" if arm == "supremix" else "",
                    }
                )
    return rows


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": round(statistics.mean(values), 4), "deviation": round(statistics.stdev(values), 4)}


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/table"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = measure(arguments.out, arguments.data)
    settings = {"arms": {name: [recipe, options] for name, (recipe, options) in ARMS.items()}}
    settings |= {"training": TRAINING | {"steps": STEPS}}
    result = {"settings": settings, "versions": saving.versions(), "table": table(found), "runs": found}
    write_json(RESULT, result)
    print(json.dumps(result["table"], indent=1))


if __name__ == "__main__":
    main()
