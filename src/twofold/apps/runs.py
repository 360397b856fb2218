"""Runs on the command line: train one, measure it, report on it."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from twofold.apps import sources
from twofold.apps.gallery import gallery
from twofold.apps.options import all_options, chosen_modality, from_toml, reading_options
from twofold.apps.report import ReportData, write
from twofold.dataset import Dataset
from twofold.errors import ConfigError, DataError
from twofold.evaluation import Evaluation
from twofold.options import did_you_mean, options_of, parse, problems_of
from twofold.recipes import catalogue, measuring, replaying, running, saving
from twofold.recipes.base import Recipe, name_problems
from twofold.training import distributed, metrics_log, nonfinite
from twofold.training.distributed import device_problems, on_main, speaks
from twofold.training.files import read_json, write_json
from twofold.training.options import TrainingOptions
from twofold.training.progress import make_progress

UNTRAINED_HERE: dict[str, Any] = {"source": [], "reading": {}, "training": {"seed": 0}}
"""What a folder lacks that was saved from Python and is no run."""


def merged_options(
    recipe: str, given: Mapping[str, str | None], config: Path | None, *, unknown: Sequence[str] = ()
) -> dict[str, Any]:
    """The options of a training command: those of the file, overruled by those on the command line.

    Args:
        recipe: A recipe's name.
        given: What was typed behind options; None where an option was not given.
        config: A TOML file.
        unknown: Options that were typed and do not exist, such as ``--batchsize``.

    Raises:
        ConfigError: Naming every faulty option at once.
    """
    modality = chosen_modality(catalogue.get(recipe), given, config)
    known = {name: o for group in all_options(catalogue.get(recipe), modality).values() for name, o in group.items()}
    values: dict[str, Any] = {}
    flags = [f"--{name.replace('_', '-')}" for name in known]
    problems = [f"There is no option {word.partition('=')[0]}{did_you_mean(word, flags)}" for word in unknown]
    try:
        values = from_toml(config, known) if config else {}
    except ConfigError as error:
        problems += error.problems
    for name, text in given.items():
        if text is None:
            continue
        try:
            values[name] = parse(known[name], text)
        except ConfigError as error:
            problems += error.problems
            continue
        if problem := known[name].problem(values[name]):
            problems.append(problem)
    problems += device_problems(values.get("device", "auto"))
    problems += _faults_together(catalogue.get(recipe), values)
    if problems:
        raise ConfigError(problems)
    return values


def _faults_together(recipe: type[Recipe], values: Mapping[str, Any]) -> list[str]:
    """What is wrong with names, and with options of a recipe that are right one by one."""
    own = {name: value for name, value in values.items() if name in options_of(recipe)}
    if problems_of(own, options_of(recipe), owner=recipe.__name__):
        return name_problems(recipe, own)
    try:
        recipe(**own)
    except ConfigError as error:
        return error.problems
    return []


def train(
    name: str, source: Sequence[str], *, out: Path | None, quiet: bool, command: str, options: Mapping[str, Any]
) -> None:
    """Train a recipe, save it, measure it where there are labels, and write the report."""
    groups = all_options(catalogue.get(name), options.get("modality") or catalogue.get(name).home())
    recipe = catalogue.get(name)(**{key: value for key, value in options.items() if key in groups["recipe"]})
    settings = TrainingOptions.checked(**{key: value for key, value in options.items() if key in groups["training"]})
    reading = {key: value for key, value in options.items() if key in groups["data"]}
    out = out or Path("runs") / name
    train_dataset(recipe, source, settings, reading=reading, out=out, quiet=quiet, command=command)


def train_dataset(
    recipe: Recipe,
    source: Sequence[str],
    settings: TrainingOptions,
    *,
    reading: Mapping[str, Any],
    out: Path,
    quiet: bool,
    command: str,
) -> None:
    """:func:`train` with a recipe and options that are made already."""
    with distributed.processes(settings.device) as process:
        _train_and_measure(
            recipe, source, settings, reading=reading, out=out, quiet=quiet, command=command, device=process.device
        )
    if speaks():
        click.echo(f"\nReport: {report(out, recipe=recipe)}")


def _train_and_measure(
    recipe: Recipe,
    source: Sequence[str],
    settings: TrainingOptions,
    *,
    reading: Mapping[str, Any],
    out: Path,
    quiet: bool,
    command: str,
    device: torch.device,
) -> None:
    resolved = sources.resolve(source, size=reading.get("size"))
    reading = recipe.modality.reading_with(recipe.chosen_encoder) | dict(reading)
    dataset = recipe.modality.read(resolved, **reading)
    settings = running.resolved(recipe, dataset, settings)
    if speaks():
        click.echo(f"Data: {recipe.modality.describe(dataset)}")
        click.echo(f"Run:  {recipe.card.name}, {settings.epochs} epochs of {len(dataset):,} samples, in {out}/")
    progress = make_progress(recipe.card.name, quiet=quiet or not sys.stderr.isatty())
    result = running.fit_dataset(
        recipe,
        dataset,
        settings,
        out=out,
        progress=progress,
        extra={"source": list(source), "reading": dict(reading), "command": command},
    )
    if speaks():
        loss = result.last.get("loss", math.nan)
        click.echo(f"Trained {result.steps:,} steps in {result.seconds:.0f} s; final loss {loss:.3f}.")
    known = recipe.modality.reading_for(recipe.built_spec)  # what the recipe brings data to by itself
    reading = {name: value for name, value in reading.items() if name not in known}
    if _measurable(recipe, dataset, resolved, reading):
        if speaks():
            click.echo("Measuring ...")
        measured = evaluate(out, source, recipe=recipe, device=device, **reading)
        if speaks():
            click.echo(measured.to_text())


def _measurable(recipe: Recipe, dataset: Dataset, source: Any, reading: Mapping[str, Any]) -> bool:
    """Whether the data that was trained on says how good the encoder is: by its labels, or by what it holds out."""
    if dataset.labels is not None and bool((dataset.labels >= 0).any()):
        return True
    try:
        task = recipe.modality.task(source, recipe.built_spec, **reading)
    except (ConfigError, DataError) as error:
        if speaks():
            click.echo(f"Not measured: {error}")
        return False
    return task is not None and task.held_out


def evaluate(
    run: Path,
    source: Sequence[str],
    *,
    recipe: Recipe | None = None,
    test: str | None = None,
    **options: Any,
) -> Evaluation:
    """Measure a run's encoder and keep the result as ``evaluation.json`` in its folder.

    Args:
        run: A run folder.
        source: Labelled data: paths or a built-in set.
        recipe: The run's recipe, if it is loaded already.
        test: Held-out data.
        options: Of :func:`twofold.recipes.measuring.evaluate`, also those that read data; None is as not given.
    """
    recipe = recipe or saving.load(run)
    options = {name: value for name, value in options.items() if value is not None}
    size = recipe.built_spec.get("size")
    if sources.is_built_in(source):
        bank, held_out = (sources.resolve(source, part=part, size=size) for part in ("train", "test"))
        keys = "code" if source[0] == "emoji" else None
        result = measuring.evaluate(recipe, bank, test=held_out, keys=keys, **options)
    else:
        held_out = sources.resolve([test], part="test", size=size) if test else None
        known = "" if test else _already_seen(run, source, recipe)
        data = sources.resolve(source, size=size)
        result = measuring.evaluate(recipe, data, test=held_out, remark=known, **options)
    on_main(lambda: write_json(run / "evaluation.json", result.to_json()))
    return result


def evaluate_and_report(
    run: Path, source: Sequence[str], *, device: str, extra: Sequence[str] = (), **options: Any
) -> tuple[str, Path]:
    """:func:`evaluate`, on all processes if there are several, and the report anew; the table and the page's path.

    Args:
        run: A run folder.
        source: Labelled data, or what the modality has a task for.
        device: Where to embed.
        extra: Reading options of the run's modality, as on the command line.
        options: See :func:`evaluate`.
    """
    recipe = saving.load(run)
    reading = reading_options(recipe.modality.name, extra, beside=("test", "test_fraction", "seed", "task", "device"))
    with distributed.processes(device) as process:
        text = evaluate(run, source, recipe=recipe, device=process.device, **reading, **options).to_text()
    return text, report(run) if speaks() else run / "report.html"


def _already_seen(run: Path, source: Sequence[str], recipe: Recipe) -> str:
    """What must be said if the samples to be scored were among those trained on; empty if they were not."""
    if (UNTRAINED_HERE | saving.saved_configuration(run))["source"] != list(source):
        return ""
    if recipe.needs_labels or recipe.needs_target:
        return "the encoder learned from the answers to all these samples, so the scores say nothing about new ones"
    return "the encoder saw all these samples in training, without their labels"


def replay(file: Path, source: Sequence[str], *, device: str) -> str:
    """A step that came out NaN or infinite again: what is not finite, and where; see :mod:`twofold.recipes.replaying`.

    Args:
        file: From the ``nonfinite/`` folder of a run.
        source: The run's data, if it lies elsewhere now; empty: where the run read it.
        device: Where to compute.
    """
    config = nonfinite.read(file).facts["config"]
    data = sources.resolve(source or config["source"], size=config["spec"].get("size"))
    return replaying.replay(file, data, device=device).to_text()


def report(run: Path, *, recipe: Recipe | None = None) -> Path:
    """Write ``report.html`` from what a run folder holds, and from its data where that can still be read."""
    config = UNTRAINED_HERE | saving.saved_configuration(run)
    recipe = recipe or saving.load(run)
    result = config.get("result", {})
    warnings = list(result.get("warnings", []))
    skipped = result.get("skipped", {})
    if skipped:
        name, reason = next(iter(skipped.items()))
        warnings.append(f"{len(skipped)} samples could not be read and were left out, such as {name} ({reason}).")
    pictures: dict[str, Any] = {}
    try:
        dataset = _data_of(config, recipe)
        pictures = gallery(recipe, dataset, seed=config["training"]["seed"])
    except (ConfigError, DataError) as error:
        warnings.append(f"The map and the neighbours are missing, since the data could not be read: {error}")
    path, shown = run / "report.html", (config["source"] or ["DATA"])[0]
    records = metrics_log.read(run / "metrics.jsonl") if (run / "metrics.jsonl").is_file() else []
    evaluation = read_json(run / "evaluation.json") if (run / "evaluation.json").is_file() else None
    card = recipe.card
    data = ReportData(
        title=f"{type(recipe).__name__}",
        paper=card.paper,
        idea=f"{card.new[0].upper()}{card.new[1:]}.",
        config={key: config[key] for key in ("recipe", "options", "training", "spec")},
        dataset={"Data": ", ".join(config["source"]), "Samples": config["spec"]["samples"], **_shape(recipe)},
        started=config.get("started", ""),
        seconds=result.get("seconds"),
        command=config.get("command", ""),
        versions=config["versions"],
        seed=config["training"]["seed"],
        warnings=warnings,
        metrics=records,
        loss_chance=result.get("chance"),
        evaluation=evaluation,
        python_usage="\n".join(
            ("import twofold", f"model = twofold.load({str(run)!r})", f"vectors = model.embed({shown!r})")
        ),
        cli_usage=(
            shlex.join(["twofold", "embed", str(run), shown, "--out", "vectors.parquet"]),
            shlex.join(["twofold", "evaluate", str(run), "LABELLED_DATA"]),
        ),
        **pictures,
    )
    write(data, path)
    return path


def _data_of(config: Mapping[str, Any], recipe: Recipe) -> Dataset:
    """What the page shows: the held-out part of a built-in set, else the data of the run."""
    part = "test" if sources.is_built_in(config["source"]) else "train"
    source = sources.resolve(config["source"], part=part, size=config["spec"].get("size"))
    return recipe.modality.read(
        source, **(dict(config.get("reading", {})) | recipe.modality.reading_for(config["spec"]))
    )


def _shape(recipe: Recipe) -> dict[str, Any]:
    parameters = sum(p.numel() for p in recipe.encoder.parameters())
    name = recipe.options["encoder"] or recipe.modality.default_encoder
    shown = type(name).__name__ if isinstance(name, nn.Module) else name
    return {"Encoder": f"{shown}, {parameters / 1e6:.2f} M parameters", "Embedding": f"{recipe.encoder.dim} numbers"}
