"""Recipes side by side: the same data, budget, views and seeds; paired differences with intervals."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from twofold.apps import sources
from twofold.apps.options import all_options, chosen_modality
from twofold.apps.report import ComparisonData, MethodRuns, write
from twofold.errors import ConfigError
from twofold.evaluation import METRICS, Evaluation, paired_difference
from twofold.options import Option, did_you_mean, parse
from twofold.recipes import catalogue, measuring, running, saving
from twofold.recipes.base import Recipe, name_problems
from twofold.training import metrics_log
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions

HEADLINE = ("knn", "linear", "few_shot", "nmi")
"""Metrics of the terminal's table; the page has all."""


@dataclass(frozen=True)
class Plan:
    """What every run of a comparison shares, and what one recipe has for itself."""

    training: TrainingOptions
    reading: dict[str, Any]
    recipes: dict[str, dict[str, Any]]
    """Recipe → its own options."""


def names_and_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The recipes among the words of a command line, and its ``--name value`` and ``--name=value`` options."""
    names, extra, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        extra += [word] if "=" in word or not rest else [word, rest.pop(0)]
    return names, extra


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
    No recipe gets the views that it prefers: all get those that SimCLR would, so that objectives are compared.

    Args:
        names: Recipes.
        source: Labelled data: a path or a built-in set.
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
    pairs = list(_pairs(extra, problems))
    modality = chosen_modality(dict(pairs), None)
    options = {name: all_options(catalogue.get(name), modality) for name in names}
    shared = options[names[0]]
    common = {key: o for key, o in shared["recipe"].items() if all(key in options[n]["recipe"] for n in names)}
    own: dict[str, dict[str, Any]] = {name: {} for name in names}
    training: dict[str, Any] = {}
    reading: dict[str, Any] = {}
    for flag, text in pairs:
        name, dot, option = flag.partition(".")
        if dot and name in own:
            _put(own[name], option, text, options[name]["recipe"], problems, owner=name)
        elif flag == "seed":
            problems.append("seeds are numbered from 0; --seeds N says how many there are.")
        elif flag in shared["training"]:
            _put(training, flag, text, shared["training"], problems, owner="training")
        elif flag in shared["data"]:
            _put(reading, flag, text, shared["data"], problems, owner="data")
        else:
            for values in own.values():
                _put(values, flag, text, common, problems, owner="all of these recipes together")
    problems += [problem for values in own.values() for problem in name_problems(values)]
    if problems:
        raise ConfigError(sorted(set(problems)))
    return Plan(TrainingOptions(**training), reading, own)


def _pairs(words: Sequence[str], problems: list[str]) -> Iterable[tuple[str, str]]:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or (not equals and not rest):
            problems.append(f"{word!r} is no option with a value; write --name value.")
            continue
        yield flag.replace("-", "_") if "." not in flag else _after_dot(flag), text if equals else rest.pop(0)


def _after_dot(flag: str) -> str:
    """Recipe names keep their dashes; option names have underscores."""
    name, _, option = flag.partition(".")
    return f"{name}.{option.replace('-', '_')}"


def _put(
    values: dict[str, Any], key: str, text: str, known: Mapping[str, Option], problems: list[str], *, owner: str
) -> None:
    if key not in known:
        problems.append(f"{owner} has no option {key!r}{did_you_mean(key, known)}")
        return
    try:
        values[key] = parse(known[key], text)
    except ConfigError as error:
        problems.extend(error.problems)
        return
    if problem := known[key].problem(values[key]):
        problems.append(problem)


def _run(
    name: str, own: Mapping[str, Any], plan: Plan, seed: int, folder: Path, source: str, test: str | None
) -> Evaluation:
    """One recipe with one seed: trained on the bank's part only, measured on the rest."""
    done = folder / "evaluation.json"
    cls = catalogue.get(name)
    recipe = cls(**own)
    settings = replace(plan.training, seed=seed).resolved(recipe.training_defaults)
    bank, held_out, keys = _data(recipe, plan, source, test)
    dataset = recipe.modality.read(bank, **plan.reading)
    recipe = cls(**{"views": recipe.modality.choose_views(dataset.spec, preferred="simclr"), **own})
    running.fit_dataset(recipe, dataset, settings, out=folder, extra={"source": [source], "reading": plan.reading})
    if not done.is_file():
        result = measuring.evaluate(recipe, bank, test=held_out, keys=keys, baselines=False)
        write_json(done, result.to_json())
    return Evaluation.from_json(read_json(done))


def _data(recipe: Recipe, plan: Plan, source: str, test: str | None) -> tuple[Any, Any, str | None]:
    """What is trained on (and teaches the probes), what is held out, and the keys of retrieval."""
    size = plan.reading.get("size")
    if sources.is_built_in([source]):
        parts = [sources.resolve([source], part=part, size=size) for part in ("train", "test")]
        return parts[0], parts[1], "code" if source == "emoji" else None
    return (*measuring.train_and_test(recipe, source, test, plan.reading), None)


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
    shown = [metric for metric in HEADLINE if metric in _metrics(results)]
    lines = ["  ".join(["recipe".ljust(16), *(METRICS[m].title.rjust(34) for m in shown)])]
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
            "title": METRICS[m].title,
            "higher_is_better": METRICS[m].higher_is_better,
            "unit": one.rows[0].metrics[m].unit,
        }
        for m in _metrics(results)
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


def _metrics(results: Mapping[str, Mapping[int, Evaluation]]) -> list[str]:
    one = next(iter(next(iter(results.values())).values()))
    return [metric for metric in METRICS if metric in one.rows[0].metrics]


def _values(runs: Mapping[int, Evaluation], metric: str) -> dict[int, float]:
    return {seed: run.rows[0].metrics[metric].value for seed, run in runs.items()}
