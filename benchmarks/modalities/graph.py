"""Recipes on the nodes of public graphs, and a step of contrast on a graph of 100,000 nodes.

    python benchmarks/modalities/graph.py --data DATA
    python benchmarks/modalities/graph.py --data DATA --select    # what else BGRL was tried with on Cora

DATA holds ``planetoid/Cora/raw`` and ``planetoid/CiteSeer/raw`` (the files ind.*, from
github.com/kimiyoung/planetoid) and ``amazon/Photo/raw/amazon_electronics_photo.npz`` (from
github.com/shchur/gnn-benchmark). PyTorch Geometric unpickles Planetoid's files: take them from a place that you trust.
Its processed copies are written below ``--out``.

Cora and CiteSeer are measured on their public split, and beside it, as Photo, on five random splits of 10 / 10 / 80 %
that are the same for all. The encoder is trained on the whole graph without labels; a logistic probe is fitted on the
training nodes, its penalty chosen on the validation nodes, and scored on the test nodes once. Beside it, where a run is
recent enough to have it, stands the layer trained by Adam of GraphMAE's code.

``graph_settings.py`` has the options of each recipe, where they are from, and how they were chosen. Seconds are those
of one core (CPU time).

The large graph is a stochastic block model with sparse edges; what is measured is one step of GRACE after another,
and the most memory that its process held, beside what a matrix of all pairs would have taken.

Finished runs are kept in ``--out``; the result is written beside this script.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from graph_settings import ARMS, PUBLISHED, PUBLISHED_RANDOM, SMALL, TRIED, Arm
from torch import Tensor

from twofold.evaluation import Measurement, Task
from twofold.evaluation.node_probe import layer_probe, node_probe
from twofold.modalities.graph import data
from twofold.modalities.graph.batches import Graph
from twofold.modalities.graph.readers.facts import OneGraph
from twofold.modalities.graph.tasks import make_task
from twofold.recipes import catalogue, measuring, running, saving
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "graph.json"
SELECTION = RESULT.with_name("graph-selection.json")
SEEDS, MORE = 3, 5
"""Runs of a recipe on a graph; more where there is a published figure and a run takes a minute or two."""
QUICK = ("dgi", "grace", "bgrl")
RECIPES = ("dgi", "grace", "bgrl", "graphmae", "gca", "simclr")
TRAINING: dict[str, Any] = {"precision": "float32", "workers": 0}
NODES, BLOCKS, WIDTH = 100_000, 100, 64
ANCHORS_OF_LARGE = {1024: 3, 8192: 3, 32768: 1}
"""Nodes contrasted in a step → steps; the last is what the modality takes by default."""


@functools.cache
def graph_of(name: str, folder: Path, out: Path) -> Any:
    """One of the public graphs as a data set."""
    if name == "Photo":
        return data.read(folder / "amazon" / "Photo" / "raw" / "amazon_electronics_photo.npz")
    raw = out / "planetoid" / name / "raw"
    if not raw.is_dir():
        shutil.copytree(folder / "planetoid" / name / "raw", raw)
    return data.read(f"planetoid:{name}", root=str(out / "planetoid"))


def accuracies(task: Task, rows: Tensor) -> dict[str, float]:
    """Values of the task's metrics."""
    found: Mapping[str, Measurement] = task.measure({"nodes": rows})
    return {name: one.value for name, one in found.items()}


def seeds_of(name: str, recipe: str) -> range:
    """The seeds of a recipe's runs on a graph."""
    return range(MORE if name != "Photo" and recipe in QUICK else SEEDS)


def tasks_of(dataset: Any) -> dict[str, Task]:
    """How a graph's encoders are measured: on random splits, and before that on its own if it has one."""
    names = {"own": "own-split", "random": "random-splits"}
    made = {name: make_task(dataset, name=word) for name, word in names.items() if dataset.splits or name == "random"}
    return {name: task for name, task in made.items() if task is not None}


def measured(dataset: Any, rows: Tensor) -> dict[str, float]:
    """Metrics on the graph's own split, and beside them those on random ones; or on random ones alone."""
    first, *others = (accuracies(task, rows) for task in tasks_of(dataset).values())
    return first | {f"random_{name}": value for other in others for name, value in other.items()}


def run(dataset: Any, recipe: str, arm: Arm, seed: int) -> dict[str, Any]:
    """Train once; the metrics of the trained encoder and of the same one untrained."""
    options, training = arm
    model = catalogue.get(recipe)(modality="graph", **options)
    settings = TrainingOptions.checked(seed=seed, **TRAINING, **training)
    began = time.process_time()
    trained = running.fit_dataset(model, dataset, settings, progress=NullProgress())
    seconds = time.process_time() - began
    whole = {"batch_size": len(dataset)}
    untrained = measuring.untrained_copy(model)
    return {
        "trained": measured(dataset, model.embed(dataset, **whole)),
        "untrained": accuracies(next(iter(tasks_of(dataset).values())), untrained.embed(dataset, **whole)),
        "seconds": round(seconds, 1),
        "steps": trained.steps,
        "loss": trained.last["loss"],
        "seed": seed,
    }


def measure(name: str, folder: Path, out: Path, recipe: str) -> None:
    """The runs of one recipe on one graph that are not in ``out`` yet, and what its features give."""
    dataset = graph_of(name, folder, out)
    facts = out / f"{name}-raw.json"
    if not facts.is_file():
        protocol = {key: dict(task.protocol) for key, task in tasks_of(dataset).items()}
        write_json(facts, {"protocol": protocol, "raw": measured(dataset, dataset.graph.x)})
    for seed in seeds_of(name, recipe):
        path = out / f"{name}-{recipe}-{seed}.json"
        if not path.is_file():
            one = run(dataset, recipe, ARMS[name][recipe], seed)
            write_json(path, one)
            trained, layer = (one["trained"][metric] for metric in ("accuracy", "layer_accuracy"))
            untrained = one["untrained"]["accuracy"]
            print(f"{name}, {recipe}, seed {seed}: {trained:.3f}, {layer:.3f}, untrained {untrained:.3f}", flush=True)


def finished(out: Path) -> dict[str, Any]:
    """By graph: its facts, and the runs of each recipe that has run with all seeds."""
    found: dict[str, Any] = {}
    for name in ARMS:
        runs = {}
        for recipe in RECIPES:
            paths = [out / f"{name}-{recipe}-{seed}.json" for seed in seeds_of(name, recipe)]
            if all(path.is_file() for path in paths):
                runs[recipe] = [read_json(path) for path in paths]
        if runs:
            found[name] = read_json(out / f"{name}-raw.json") | {"runs": runs}
    return found


def rows_of(name: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table that all modalities share."""
    rows = []
    for recipe, runs in found["runs"].items():
        published = PUBLISHED[name].get(recipe), PUBLISHED_RANDOM.get(name, {}).get(recipe)
        split = "public split" if name != "Photo" else "10 / 10 / 80 splits"
        rows.append(
            {
                "modality": "graph",
                "data": f"{name} ({split})",
                "recipe": recipe,
                "metric": "accuracy of a logistic probe",
                "higher_is_better": True,
                "trained": _spread([one["trained"]["accuracy"] for one in runs]),
                "untrained": _spread([one["untrained"]["accuracy"] for one in runs]),
                "raw": {"mean": round(found["raw"]["accuracy"], 4), "deviation": 0.0},
                "raw_name": "features",
                "other": {},
                "seeds": len(runs),
                "seconds": round(statistics.mean(one["seconds"] for one in runs), 1),
                "note": _note(runs, published),
            }
        )
    return rows


def _note(runs: list[dict[str, Any]], published: tuple[float | None, float | None]) -> str:
    own, random = (f"; published {accuracy:.3f}" if accuracy else "" for accuracy in published)
    told = [f"{runs[0]['steps']} steps{own}"]
    for metric, words, reference in (
        ("layer_accuracy", "a layer trained by Adam", ""),
        ("random_accuracy", "on random splits", random),
    ):
        values = [one["trained"][metric] for one in runs if metric in one["trained"]]
        if len(values) == len(runs):
            told.append(f"{words} {_words(_spread(values))}{reference}")
    return "; ".join(told)


def _words(found: dict[str, float]) -> str:
    return f"{found['mean']:.3f} ± {found['deviation']:.3f}"


def _spread(values: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 4), "deviation": round(deviation, 4)}


def select(folder: Path, out: Path) -> None:
    """What each of ``TRIED`` reaches on Cora's validation nodes with seed 0, beside this script."""
    dataset, (options, training) = graph_of("Cora", folder, out), SMALL
    split, found = dataset.splits[0], {}
    for name, (other, otherwise) in TRIED.items():
        path = out / f"select-{name.replace(' ', '-')}.json"
        if not path.is_file():
            model = catalogue.get("bgrl")(modality="graph", **options | other)
            settings = TrainingOptions.checked(seed=0, **TRAINING | training | otherwise)
            began = time.process_time()
            running.fit_dataset(model, dataset, settings, progress=NullProgress())
            seconds = time.process_time() - began
            given = model.embed(dataset, batch_size=len(dataset)), dataset.labels, split.train, split.val, split.val
            probes = {"validation": node_probe(*given), "layer_validation": layer_probe(*given)}
            write_json(path, {key: one.validation for key, one in probes.items()} | {"seconds": round(seconds, 1)})
        found[name] = read_json(path)
        print(name, found[name], flush=True)
    write_json(SELECTION, {"recipe": "bgrl", "data": "Cora", "seed": 0, "tried": found} | {"settings": TRIED})


def block_model(nodes: int, blocks: int, seed: int = 0) -> OneGraph:
    """A stochastic block model of about ten neighbours a node, nine of them of its own block."""
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(blocks, (nodes,), generator=draw)
    order = label.argsort()
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), label.bincount(minlength=blocks).cumsum(0)])
    source = torch.arange(nodes).repeat(5)
    sizes = starts.diff()[label[source]]
    near = order[starts[label[source]] + (torch.rand(len(source), generator=draw) * sizes).long()]
    far = torch.randint(nodes, (len(source),), generator=draw)
    target = torch.where(torch.rand(len(source), generator=draw) < 0.9, near, far)
    x = torch.randn(blocks, WIDTH, generator=draw)[label] + 3 * torch.randn(nodes, WIDTH, generator=draw)
    return OneGraph(Graph(x, torch.stack([source, target])), "block model", label, ids=[str(i) for i in range(nodes)])


def large(anchors: int) -> dict[str, Any]:
    """Steps of GRACE on the block model, in this process; seconds a step, and the most memory held."""
    dataset = data.NodeData(block_model(NODES, BLOCKS))
    before = _peak()
    model = catalogue.get("grace")(encoder="gcn-w32-relu")
    part = torch.randperm(NODES, generator=torch.Generator().manual_seed(0))
    recipe = model.build(dataset.spec)
    views = recipe.make_views()
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=1e-3)
    times, losses = [], []
    for step in range(ANCHORS_OF_LARGE[anchors]):
        began = time.process_time()
        index = part[step * anchors : (step + 1) * anchors]
        batch = dataset.fetch(index)
        batch["views"] = views(batch.pop("inputs"), generator=torch.Generator().manual_seed(step))
        loss = recipe(batch)["total"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.process_time() - began)
        losses.append(float(loss))
    return {
        "nodes": NODES,
        "directed_edges": dataset.graph.edges,
        "anchors": anchors,
        "cpu_seconds_per_step": round(statistics.median(times), 2),
        "losses": losses,
        "peak_gib": round(_peak() / 2**30, 2),
        "peak_gib_before_training": round(before / 2**30, 2),
        "gib_of_one_matrix_of_all_pairs": round(4 * (2 * anchors) ** 2 / 2**30, 2),
    }


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/graph"))
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--graphs", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--large", nargs="*", type=int, default=list(ANCHORS_OF_LARGE), choices=ANCHORS_OF_LARGE)
    parser.add_argument("--select", action="store_true", help="only try other settings of BGRL, on validation nodes")
    parser.add_argument(
        "--anchors",
        type=int,
        choices=list(ANCHORS_OF_LARGE),
        help="only measure steps with so many anchors on the large graph",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.anchors:
        print(json.dumps(large(arguments.anchors)))
        return
    if arguments.data is None:
        parser.error("--data is needed")
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.select:
        select(arguments.data, arguments.out)
        return
    for recipe in arguments.recipes:  # recipe by recipe, so that the first are there on all graphs soon
        for name in arguments.graphs:
            measure(name, arguments.data, arguments.out, recipe)
            write_result(arguments.out)
    for anchors in arguments.large:
        large_apart(anchors, arguments.out)
    for row in write_result(arguments.out):
        print(row["data"], row["recipe"], row["trained"], row["untrained"], row["raw"]["mean"], row["note"])


def write_result(out: Path) -> list[dict[str, Any]]:
    """Everything that is finished, beside this script; gives the rows of the table."""
    paths = [out / f"large-{anchors}.json" for anchors in ANCHORS_OF_LARGE]
    steps = [read_json(path) for path in paths if path.is_file()]
    found = finished(out)
    table = [row for name, one in found.items() for row in rows_of(name, one)]
    settings = {"seeds": {"runs": SEEDS, "more": MORE, "more of": QUICK}, "arms": ARMS, "training": TRAINING}
    result = {"table": table, "published": PUBLISHED, "large_graph": steps, "settings": settings, "graphs": found}
    write_json(RESULT, result | {"versions": saving.versions()})
    return table


def large_apart(anchors: int, out: Path) -> None:
    """:func:`large` in a process of its own, so that its memory is its own; kept in ``out``."""
    path = out / f"large-{anchors}.json"
    if not path.is_file():
        command = [sys.executable, __file__, "--anchors", str(anchors)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        write_json(path, json.loads(answer.splitlines()[-1]))


if __name__ == "__main__":
    main()
