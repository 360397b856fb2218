"""Recipes side by side: the same data, budget, views and seeds; paired differences with intervals."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from twofold.apps import sources
from twofold.apps.options import all_options, chosen_modality, pairs_of, put
from twofold.apps.report import ComparisonData, MethodRuns, write
from twofold.dataset import Dataset
from twofold.errors import ConfigError
from twofold.evaluation import Evaluation, MetricInfo, paired_difference
from twofold.recipes import catalogue, measuring, running, saving
from twofold.recipes.base import Recipe, name_problems
from twofold.training import metrics_log
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions

HEADLINE = ("knn", "linear", "few_shot", "nmi")
"""Metrics of the terminal's table; the page has all. Of a modality's own task the first ones."""


@dataclass(frozen=True)
class Plan:
    """What every run of a comparison shares, and what one recipe has for itself."""

    training: TrainingOptions
    reading: dict[str, Any]
    recipes: dict[str, dict[str, Any]]
    """Recipe → its own options."""


def compare(
    names: Sequence[str],
    *,
    source: str,
    test: str | None = None,
    seeds: int = 3,
    out: Path = Path("runs/compare"),
    extra: Sequence[str] = (),
    command: str = "",
) -> tuple[str, Path]:
    """Train every recipe with every seed, measure all, and write ``comparison.html`` and ``comparison.json``.

    All runs share data, split, epochs, batch size and, unless a recipe is given its own, encoder and views. A run that
    is finished is not repeated, an unfinished one is resumed. The first recipe is what the others are compared with.
    No recipe for any kind of data gets the views that it prefers: all get those that SimCLR would, so that objectives
    are compared. Recipes of one kind of data keep theirs.

    Args:
        names: Recipes; all learn from the modality that is named, or else from that of the first.
        source: Labelled data, or what the modality has a task for: a path or a built-in set.
        test: Held-out data; without it a part of ``source`` is held out by the usual split.
        seeds: Number of seeds, from 0.
        out: Where runs and results go.
        extra: Further options as on the command line: training options, reading options, options that all recipes
            have (``--encoder``), and ``--RECIPE.OPTION`` for one recipe.
        command: What to show as the command.

    Returns:
        A table for the terminal, and the page.

    Raises:
        ConfigError: Naming all unknown or wrong options.
    """
    if not names or seeds < 1:
        raise ConfigError("A comparison needs at least one recipe and one seed: twofold compare simclr dcl --data ...")
    plan = plan_of(names, extra)
    began, started = time.monotonic(), time.strftime("%Y-%m-%d %H:%M")
    results: dict[str, dict[int, Evaluation]] = {name: {} for name in plan.recipes}
    for seed in range(seeds):
        for name, own in plan.recipes.items():
            folder = out / name / f"seed-{seed}"
            click.echo(f"{name}, seed {seed}", err=True)
            results[name][seed] = _run(name, own, plan, seed, folder, source, test)
    curves = {n: {s: metrics_log.read(out / n / f"seed-{s}" / "metrics.jsonl") for s in range(seeds)} for n in results}
    data = _page(results, curves, source, command, started, time.monotonic() - began)
    page = out / "comparison.html"
    write(data, page)
    write_json(out / "comparison.json", summary(results))
    return as_text(results), page


def plan_of(names: Sequence[str], extra: Sequence[str]) -> Plan:
    """The options of a comparison from ``--name value`` pairs.

    Raises:
        ConfigError: Naming all unknown or wrong options.
    """
    problems: list[str] = []
    pairs = list(pairs_of(extra, problems))
    modality = chosen_modality(catalogue.get(names[0]), dict(pairs), None)
    options = {name: all_options(catalogue.get(name), modality) for name in names}
    shared = options[names[0]]
    common = {key: o for key, o in shared["recipe"].items() if all(key in options[n]["recipe"] for n in names)}
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    training: dict[str, Any] = {}
    reading: dict[str, Any] = {}
    for flag, text in pairs:
        name, dot, option = flag.partition(".")
        if dot and name in own:
            put(own[name], option, text, options[name]["recipe"], problems, owner=name)
        elif flag == "seed":
            problems.append("seeds are numbered from 0; --seeds N says how many there are.")
        elif flag in shared["training"]:
            put(training, flag, text, shared["training"], problems, owner="training")
        elif flag in shared["data"]:
            put(reading, flag, text, shared["data"], problems, owner="data")
        else:
            for values in own.values():
                put(values, flag, text, common, problems, owner="all of these recipes together")
    for values in own.values():
        values.setdefault("modality", modality)
    problems += [problem for name, values in own.items() for problem in name_problems(catalogue.get(name), values)]
    if problems:
        raise ConfigError(sorted(set(problems)))
    return Plan(TrainingOptions(**training), reading, own)


def _run(
    name: str, own: Mapping[str, Any], plan: Plan, seed: int, folder: Path, source: str, test: str | None
) -> Evaluation:
    """One recipe with one seed: trained on the bank's part only, measured on the rest."""
    done = folder / "evaluation.json"
    cls = catalogue.get(name)
    recipe = cls(**own)
    settings = replace(plan.training, seed=seed)
    reading = recipe.modality.reading_with(recipe.chosen_encoder) | plan.reading
    dataset, measured = _data(recipe, reading, source, test)
    if "any" in cls.card.modalities:
        recipe = cls(**{"views": recipe.modality.choose_views(dataset.spec, preferred="simclr"), **own})
    running.fit_dataset(recipe, dataset, settings, out=folder, extra={"source": [source], "reading": reading})
    if not done.is_file():
        write_json(done, measured(recipe).to_json())
    return Evaluation.from_json(read_json(done))


Measured = Callable[[Recipe], Evaluation]


def _data(recipe: Recipe, reading: dict[str, Any], source: str, test: str | None) -> tuple[Dataset, Measured]:
    """What is trained on, and how a recipe that was trained on it is measured."""
    keys = None
    if sources.is_built_in([source]):
        bank, held_out = (sources.resolve([source], part=part, size=reading.get("size")) for part in ("train", "test"))
        keys = "code" if source == "emoji" else None
    else:
        whole = recipe.modality.read(source, **reading)
        task = recipe.modality.task(source, whole.spec, test=test, **reading)
        if task is None and test is not None:
            task = recipe.modality.task(test, whole.spec, **reading)
        if task is not None:
            return whole, functools.partial(measuring.evaluate_own, task=task, baselines=False)
        bank, held_out = measuring.train_and_test(recipe, source, test, reading)
    dataset = recipe.modality.read(bank, **reading)
    return dataset, functools.partial(measuring.evaluate, source=bank, test=held_out, keys=keys, baselines=False)


def summary(results: Mapping[str, Mapping[int, Evaluation]]) -> dict[str, Any]:
    """All numbers: metric → recipe → seed, and paired differences from the first recipe."""
    first = next(iter(results))
    table = {
        metric: {
            name: {str(seed): value for seed, value in _values(runs, metric).items()} for name, runs in results.items()
        }
        for metric in _metrics(results)
    }
    gaps: dict[str, dict[str, Any]] = {}
    for metric in table:
        for name in list(results)[1:]:
            ours, base = _values(results[name], metric), _values(results[first], metric)
            seeds = sorted(set(ours) & set(base))
            gap = paired_difference([ours[s] for s in seeds], [base[s] for s in seeds])
            gaps.setdefault(metric, {})[name] = gap._asdict()
    return {"values": table, "differences": gaps, "versions": saving.versions()}


def as_text(results: Mapping[str, Mapping[int, Evaluation]]) -> str:
    """A table for the terminal: mean ± standard deviation over seeds, and the difference from the first recipe."""
    first = next(iter(results))
    infos = _metrics(results)
    shown = [metric for metric in HEADLINE if metric in infos] or list(infos)[: len(HEADLINE)]
    lines = ["  ".join(["recipe".ljust(16), *(infos[m].title.rjust(34) for m in shown)])]
    for name, runs in results.items():
        cells = []
        for metric in shown:
            values, base = _values(runs, metric), _values(results[first], metric)
            cell = f"{statistics.mean(values.values()):.3f}"
            if len(values) > 1:
                cell += f" ± {statistics.stdev(values.values()):.3f}"
                if name != first:
                    seeds = sorted(values)
                    gap = paired_difference([values[s] for s in seeds], [base[s] for s in seeds])
                    cell += f" ({gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}])"
            cells.append(cell.rjust(34))
        lines.append("  ".join([name.ljust(16), *cells]))
    lines.append(f"Mean ± sd over seeds; in brackets the paired difference from {first} with its 95 % interval.")
    return "\n".join(lines)


def _page(
    results: Mapping[str, Mapping[int, Evaluation]],
    curves: Mapping[str, Any],
    source: str,
    command: str,
    started: str,
    seconds: float,
) -> ComparisonData:
    one = next(iter(next(iter(results.values())).values()))
    methods = [
        MethodRuns(name, {m: _values(runs, m) for m in _metrics(results)}, curves[name])
        for name, runs in results.items()
    ]
    about = {
        m: {
            "title": info.title,
            "higher_is_better": info.higher_is_better,
            "unit": one.rows[0].metrics[m].unit,
        }
        for m, info in _metrics(results).items()
    }
    return ComparisonData(
        title=" · ".join(results),
        methods=methods,
        metrics=about,
        idea="The same data, budget, encoder and views for all; one row a recipe, one dot a seed.",
        chance=one.chance,
        protocol=one.protocol,
        dataset={"Data": source},
        started=started,
        seconds=seconds,
        command=command,
        versions=saving.versions(),
    )


def _metrics(results: Mapping[str, Mapping[int, Evaluation]]) -> dict[str, MetricInfo]:
    """The metrics that were measured, and how to read them."""
    one = next(iter(next(iter(results.values())).values()))
    return {metric: info for metric, info in one.metrics.items() if metric in one.rows[0].metrics}


def _values(runs: Mapping[int, Evaluation], metric: str) -> dict[int, float]:
    return {seed: run.rows[0].metrics[metric].value for seed, run in runs.items()}
