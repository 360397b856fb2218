"""Recommendation: LightGCN, SGL, LightGCL and SimCLR on a graph, SASRec and CL4SRec on sequences, beside baselines.

    python benchmarks/modalities/interactions.py --data DATA

DATA holds three folders: ``lastfm`` (github.com/gusye1234/LightGCN-PyTorch at 947ca2b3b1d2: ``data1.txt`` to train on,
``test1.txt`` to test on), ``ml-100k`` with ``ml-100k.inter`` (the package recbole 1.2 on PyPI carries it, in
``recbole/dataset_example/ml-100k``; GroupLens, for research) and ``seqrec`` with ``Beauty.txt`` (Amazon's reviews of
Beauty of 2014, five or more of each user and item, as the repositories of CL4SRec's successors hold them).

- lastfm, and ml-100k with all ratings as choices: Recall@20 and NDCG@20 over all items, those known left out. lastfm
  has a split; of ml-100k a fifth of each user's films is drawn as the test, by a generator with seed 0.
- ml-100k and Beauty in the order of time: the last item of each user is the test. HR and NDCG over all items, those
  that the user had before left out, at 10, and on Beauty at 5 too, which is what is published.

All recipes on one data set have the same encoder, rate and number of steps. What is compared in ``PLANS`` is chosen by
NDCG with seed 0 on validation data, which is no test: a tenth of the file to train on, or the last item but one of each
user. Rate and steps are chosen with LightGCN and with SASRec. Then each recipe is trained with three seeds: a graph's
on all that is no test, those in the order of time on all but the last two items of each user. Finished runs are kept in
``--out``; the result is written beside this script. About an hour and a half on one core, most of it Beauty's.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from twofold import modalities
from twofold.recipes import catalogue, measuring, running, saving
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "interactions.json"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Plan:
    """What is measured on a data set.

    Attributes:
        kind: The modality.
        encoder: Its name, the same for all recipes.
        batch_size: Samples of a step.
        grids: Recipe → what is compared on validation data. The first recipe is the base: the others take what was
            chosen for it, and choose what is named here beside that. ``lr`` and ``steps`` are of training.
        cuts: The k of the metrics in the table.
        published: Recipe → metric → its published value, times 100.
    """

    kind: str
    encoder: str
    batch_size: int
    grids: Mapping[str, Mapping[str, Sequence[Any]]]
    cuts: Sequence[int]
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """The recipe that the others follow."""
        return next(iter(self.grids))

    @property
    def metrics(self) -> dict[str, str]:
        """Names of metrics → how the table calls them."""
        first = {"interactions": ("recall_at", "Recall"), "sequences": ("hit_rate_at", "HR")}[self.kind]
        pairs = [*((k, first) for k in self.cuts), *((k, ("ndcg_at", "NDCG")) for k in self.cuts)]
        return {f"{name}_{k}": f"{title}@{k} x 100" for k, (name, title) in pairs}

    @property
    def chosen_by(self) -> str:
        """The metric that chooses."""
        return f"ndcg_at_{max(self.cuts)}"


_GRAPH: dict[str, Any] = {
    "kind": "interactions",
    "encoder": "lightgcn-d2",
    "batch_size": 512,
    "grids": {
        "lightgcn": {"lr": [0.003, 0.01, 0.03], "steps": [250, 1000, 2500]},
        "lightgcl": {"weight": [0.005, 0.05, 0.2]},
        "sgl": {"weight": [0.01, 0.1, 0.5]},
        "simclr": {"temperature": [0.1, 0.5]},
    },
    "cuts": [20],
}
PLANS: dict[str, Plan] = {
    "lastfm": Plan(**_GRAPH),
    "ml-100k": Plan(**_GRAPH),
    "ml-100k, by time": Plan(
        "sequences",
        "sasrec",
        128,
        {
            "sasrec": {"negatives": [1, None], "lr": [0.003, 0.01], "steps": [180, 700]},
            "cl4srec": {"weight": [0.005, 0.02]},
        },
        [10],
    ),
    "Beauty": Plan(
        "sequences",
        "sasrec-p50",
        256,
        {
            "sasrec": {"negatives": [1], "lr": [0.001, 0.003], "steps": [1740, 5220]},
            "cl4srec": {"weight": [0.02, 0.1]},
        },
        [5, 10],
        {
            "sasrec": {"hit_rate_at_5": 3.77, "ndcg_at_5": 2.41},
            "cl4srec": {"hit_rate_at_5": 4.01, "ndcg_at_5": 2.68},
        },
    ),
}
"""``published`` is from the table of MCLRec's repository (Qin et al., SIGIR 2023)."""


def split_of_ml_100k(source: Path, out: Path) -> tuple[str, str]:
    """Two files of users and films below ``out``: what may be trained on, and a fifth of each user's films."""
    paths = out / "ml-100k-train.csv", out / "ml-100k-test.csv"
    if not all(path.is_file() for path in paths):
        lines = [line.split("\t")[:2] for line in source.read_text(encoding="utf-8").splitlines()[1:]]
        films: dict[str, list[str]] = {}
        for user, film in lines:
            films.setdefault(user, []).append(film)
        draw = np.random.default_rng(0)
        parts: tuple[list[str], list[str]] = ([], [])
        for user, own in films.items():
            order = draw.permutation(len(own))
            bound = round(0.8 * len(own))
            for part, places in zip(parts, (order[:bound], order[bound:]), strict=True):
                part.extend(f"{user},{own[place]}" for place in sorted(places))
        for path, part in zip(paths, parts, strict=True):
            path.write_text("\n".join(["user_id,item_id", *part, ""]), encoding="utf-8")
    return str(paths[0]), str(paths[1])


def sources(data: Path, out: Path, name: str) -> tuple[str, str | None]:
    """What may be trained on, and the test (None: the last item of each user)."""
    if name == "lastfm":
        return str(data / "lastfm" / "data1.txt"), str(data / "lastfm" / "test1.txt")
    if name == "ml-100k":
        return split_of_ml_100k(data / "ml-100k" / "ml-100k.inter", out)
    return str(data / "seqrec" / "Beauty.txt" if name == "Beauty" else data / "ml-100k" / "ml-100k.inter"), None


def run(
    data: Path, out: Path, name: str, recipe: str, options: Mapping[str, Any], seed: int, *, test: bool
) -> dict[str, Any]:
    """Train once and measure, on the test or on validation data."""
    plan = PLANS[name]
    source, held_out = sources(data, out, name)
    reading: dict[str, Any] = {}
    if plan.kind == "interactions":
        reading = {"split": "all"} if test else {"split": "train", "held_out": 0.1, "split_seed": 7}
    dataset = modalities.get(plan.kind).read(source, **reading)
    own = {key: value for key, value in options.items() if key not in ("lr", "steps")}
    model = catalogue.get(recipe)(modality=plan.kind, encoder=plan.encoder, **own)
    epochs = math.ceil(options["steps"] / (len(dataset) // plan.batch_size))
    settings = TrainingOptions.checked(
        epochs=epochs, batch_size=plan.batch_size, lr=options["lr"], seed=seed, precision="float32", workers=0
    )
    began = time.process_time()
    running.fit_dataset(model, dataset, settings, progress=NullProgress())
    seconds = time.process_time() - began
    task = "validation" if plan.kind == "sequences" and not test else None
    report = measuring.evaluate(model, dataset, test=held_out if test else None, task=task)
    rows = {row.name: {key: m.value for key, m in row.metrics.items()} for row in report.rows}
    return {"rows": rows, "seconds": round(seconds, 1), "options": dict(options), "chance": report.chance}


def kept(key: str, data: Path, out: Path, *arguments: Any, **options: Any) -> dict[str, Any]:
    """:func:`run`, or what is left of it from before."""
    path = out / f"{key.replace(', ', '-').replace(' ', '-')}.json"
    if not path.is_file():
        write_json(path, run(data, out, *arguments, **options))
    found = read_json(path)
    told = {row: [round(100 * value, 2) for value in m.values()] for row, m in found["rows"].items()}
    print(f"{key}: {told}, {found['seconds']} s", flush=True)
    return dict(found)


def select(data: Path, out: Path, name: str) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """The options of each recipe on a data set, and what every choice scored on validation data."""
    plan = PLANS[name]
    chosen: dict[str, dict[str, Any]] = {}
    scores: dict[str, float] = {}
    for recipe, grid in plan.grids.items():
        best = -1.0
        for values in itertools.product(*grid.values()):
            options = chosen.get(plan.base, {}) | dict(zip(grid, values, strict=True))
            key = f"{name}-{recipe}-" + "-".join(map(str, values))
            found = kept(f"select-{key}", data, out, name, recipe, options, 0, test=False)
            scores[key] = score = found["rows"]["trained"][plan.chosen_by]
            if score > best:
                best, chosen[recipe] = score, options
    return chosen, scores


def spread(values: list[float]) -> dict[str, float]:
    """Mean and deviation of values, times 100."""
    scaled = [100 * value for value in values]
    return {"mean": round(statistics.mean(scaled), 3), "deviation": round(statistics.stdev(scaled), 3)}


def lines(name: str, recipe: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table's rows of a recipe on a data set, one a metric."""
    plan = PLANS[name]
    others = {"popularity": "popularity", "markov-chain": "Markov chain"}
    told = ", ".join(f"{key} {value}" for key, value in runs[0]["options"].items())
    table = []
    for metric, title in plan.metrics.items():
        values = {row: spread([one["rows"][row][metric] for one in runs]) for row in runs[0]["rows"]}
        published = plan.published.get(recipe, {}).get(metric)
        table.append(
            {
                "modality": plan.kind,
                "data": name,
                "recipe": recipe,
                "metric": title,
                "higher_is_better": True,
                "trained": values["trained"],
                "untrained": values["untrained"],
                "raw": values["raw"],
                "raw_name": modalities.get(plan.kind).raw,
                "other": {label: values[row] for row, label in others.items() if row in values},
                "seeds": len(runs),
                "seconds": round(statistics.mean(one["seconds"] for one in runs), 1),
                "note": f"{told}, {plan.encoder}" + (f"; published {published}" if published else ""),
            }
        )
    return table


def differences(runs: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """Each recipe less its base, paired by seed."""
    found: dict[str, Any] = {}
    for name, by_recipe in runs.items():
        plan = PLANS[name]
        for recipe in by_recipe:
            if recipe != plan.base:
                found[f"{name}: {recipe} - {plan.base}"] = {
                    title: spread(
                        [
                            a["rows"]["trained"][metric] - b["rows"]["trained"][metric]
                            for a, b in zip(by_recipe[recipe], by_recipe[plan.base], strict=True)
                        ]
                    )
                    for metric, title in plan.metrics.items()
                }
    return found


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/interactions"))
    parser.add_argument("--only", nargs="+", choices=list(PLANS), help="run these, and write no result")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    chosen, scores = {}, {}
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in arguments.only or PLANS:
        chosen[name], scores[name] = select(arguments.data, arguments.out, name)
        runs[name] = {recipe: [] for recipe in PLANS[name].grids}
        for seed, recipe in itertools.product(SEEDS, PLANS[name].grids):
            key, options = f"test-{name}-{recipe}-{seed}", chosen[name][recipe]
            found = kept(key, arguments.data, arguments.out, name, recipe, options, seed, test=True)
            runs[name][recipe].append(found)
    table = [
        line
        for name, by_recipe in runs.items()
        for recipe, found in by_recipe.items()
        for line in lines(name, recipe, found)
    ]
    for line in table:
        print(line["data"], line["recipe"], line["metric"], line["trained"], line["raw"], line["other"])
    if not arguments.only:
        result = {"table": table, "differences": differences(runs), "chosen": chosen, "validation": scores}
        write_json(RESULT, result | {"versions": saving.versions(), "runs": runs})


if __name__ == "__main__":
    main()
