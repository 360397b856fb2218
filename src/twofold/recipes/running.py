"""Fitting and using a recipe: what ``Recipe.fit`` and ``Recipe.embed`` do."""

from __future__ import annotations

import copy
import itertools
import math
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from twofold.contrast.gather import rank, world_size
from twofold.dataset import Dataset, to_device
from twofold.errors import ConfigError, DataError, RunError
from twofold.options import options_of, problems_of
from twofold.recipes import saving
from twofold.recipes.base import Recipe
from twofold.training import distributed, sharding
from twofold.training.files import remove_leftovers, write_json
from twofold.training.loader import fetch, sequential
from twofold.training.options import TrainingOptions
from twofold.training.precision import channels_last
from twofold.training.prefetching import side_by_side
from twofold.training.progress import Progress, make_progress
from twofold.training.randomness import seeded_init
from twofold.training.run_lock import run_lock
from twofold.training.trainer import Trainer, TrainingResult

LEAST_ROWS = 16
"""Samples of a batch that one core embeds by itself, at least: convolutions of fewer are slow."""
PIECE_BYTES = 2**20
"""Inputs that go through an encoder at once on a CPU, about: what its layers make of them should stay in the cache."""


def fit(
    recipe: Recipe,
    source: Any,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> TrainingResult:
    """Train a recipe on a source, in a folder that can be resumed or in memory.

    Args:
        recipe: Not built yet, or built for data of the same kind.
        source: Whatever the recipe's modality reads: folder, file, array, data set.
        out: Run folder. If it holds a run with the same configuration, that run goes on where it stopped.
        progress: How to show the run; by default a line in the terminal.
        options: Training options (:class:`TrainingOptions`) and the modality's reading options, mixed.

    Raises:
        ConfigError: On unknown or wrong options, or if ``out`` holds a run with another configuration.
        DataError: If the source cannot be read.
    """
    training, reading = split_options(recipe, options)
    settings = TrainingOptions.checked(**training)
    dataset = recipe.modality.read(source, **(recipe.modality.reading_with(recipe.chosen_encoder) | reading))
    return fit_dataset(
        recipe,
        dataset,
        settings,
        out=Path(out) if out else None,
        progress=progress,
        extra={"source": source_names(source), "reading": reading},
    )


def resolved(recipe: Recipe, dataset: Dataset, settings: TrainingOptions) -> TrainingOptions:
    """Training options with everything chosen: by the user, else the recipe, else the kind of data, else in general."""
    return settings.resolved(recipe.modality.training_defaults(dataset.spec) | recipe.training_defaults)


def source_names(source: Any) -> list[str]:
    """What a source is called in the saved configuration: its paths, or its type."""
    if isinstance(source, str | Path):
        return [str(source)]
    if isinstance(source, list | tuple) and all(isinstance(item, str | Path) for item in source):
        return [str(item) for item in source]
    return [type(source).__name__]


def fit_dataset(
    recipe: Recipe,
    dataset: Dataset,
    settings: TrainingOptions,
    *,
    out: Path | None = None,
    progress: Progress | None = None,
    extra: Mapping[str, Any] | None = None,
) -> TrainingResult:
    """:func:`fit` on data that is read already, with options that are resolved already.

    Args:
        recipe: As in :func:`fit`.
        dataset: What to learn from.
        settings: Training options; what they leave open is chosen by :func:`resolved`.
        out: As in :func:`fit`.
        progress: As in :func:`fit`.
        extra: Further entries of ``config.json``, such as the command.
    """
    settings = resolved(recipe, dataset, settings)
    with distributed.processes(settings.device) as process, ExitStack() as holding:
        with seeded_init(settings.seed):
            recipe.build(dataset.spec)
        how = dict(extra or {}) | {
            "training": settings.to_dict(),
            "samples": len(dataset),
            "started": time.strftime("%Y-%m-%d %H:%M"),
        }
        claimed: dict[str, Any] = {}
        if out:
            config = saving.configuration(recipe) | how
            claimed = distributed.on_main(lambda: _claim(out, config, holding))
            how["started"] = claimed["started"]
        plain = copy.deepcopy(recipe) if settings.shard and process.world > 1 else None
        trainer = Trainer(
            recipe,
            dataset,
            recipe.make_views(),
            settings,
            process=process,
            folder=out,
            progress=progress or make_progress(recipe.card.name, quiet=not process.is_main or not sys.stderr.isatty()),
        )
        result = trainer.run()
        if plain is not None:
            plain.load_state_dict(sharding.whole(recipe.state_dict()))
            recipe.replace_networks(plain)
        recipe.to("cpu")
        nothing_done = trainer.first_step == trainer.total_steps and "result" in claimed
        if out and not nothing_done:
            ending = {"seconds": result.seconds, "chance": result.chance, "warnings": result.warnings}
            how["result"] = ending | {"skipped": dict(sorted(dataset.skipped.items()))}
            distributed.on_main(lambda: _write_ending(recipe, out, how))
    return result


def _write_ending(recipe: Recipe, out: Path, how: dict[str, Any]) -> None:
    try:
        saving.save(recipe, out, extra=how)
    except OSError as error:
        raise RunError(
            f"The trained recipe cannot be written to {out}: {error.strerror or error}. Free some space, and give the "
            "same command: nothing is trained again."
        ) from error


def split_options(recipe: Recipe, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Training options and reading options out of a mix.

    Raises:
        ConfigError: Naming every option that is neither, or has a wrong value.
    """
    known_training, known_reading = options_of(TrainingOptions), reading_options(recipe)
    problems = problems_of(options, known_training | known_reading, owner=f"Fitting {type(recipe).__name__}")
    problems += distributed.device_problems(options.get("device", "auto"))
    if problems:
        raise ConfigError(problems)
    training = {name: value for name, value in options.items() if name in known_training}
    return training, {name: value for name, value in options.items() if name in known_reading}


def reading_options(recipe: Recipe) -> dict[str, Any]:
    """The options with which the recipe's modality reads data."""
    return {name: option for name, option in options_of(recipe.modality.read).items() if name not in ("self", "source")}


def _claim(out: Path, config: dict[str, Any], holding: ExitStack) -> dict[str, Any]:
    """Lock a run folder until ``holding`` is left, and give its configuration.

    It is written if the folder is new, else made sure to be the same.
    """
    path = out / "config.json"
    if not path.is_file() and out.exists() and not _is_fresh(out):
        raise ConfigError(f"{out} holds other files and no run: give --out a new or empty folder.")
    try:
        out.mkdir(parents=True, exist_ok=True)
        holding.enter_context(run_lock(out))
        remove_leftovers(out)
        if not path.is_file():
            write_json(path, config)
            return config
    except OSError as error:
        raise RunError(
            f"{out} cannot be written to ({error.strerror or error}): choose another --out, or mend that."
        ) from error
    claimed = saving.saved_configuration(out)
    if "training" not in claimed:
        raise ConfigError(f"{out} holds a saved recipe and no run: give --out a new or empty folder.")
    if changed := _differences(claimed, config):
        raise ConfigError(
            [f"{out} holds a run with another configuration: {text}." for text in changed]
            + ["Give the run's own options to resume it, or another --out for a new run."]
        )
    return claimed


def _is_fresh(folder: Path) -> bool:
    """Whether a folder is empty, but for what a run leaves that was killed before it had written anything."""
    return folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    texts = [f"{part} is {old[part]}, not {new[part]}" for part in ("recipe", "own_encoder") if old[part] != new[part]]
    for part in ("options", "training", "spec"):
        for name in sorted(set(old[part]) | set(new[part])):
            was, now = old[part].get(name), new[part].get(name)
            if was != now and name not in TrainingOptions.FREE_ON_RESUME:
                texts.append(f"{name} is {_short(was)}, not {_short(now)}")
    return texts


def _short(value: Any) -> str:
    """The beginning of a value: a tokenizer is long."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


@dataclass(frozen=True)
class Embedded:
    """Embeddings of the readable samples of a data set."""

    rows: Tensor
    """``(m, dim)`` float32, on the CPU."""
    index: Tensor
    """int64 ``(m,)``: which sample each row is; shorter than the data set if some could not be read."""
    dataset: Dataset

    @property
    def labels(self) -> Tensor | None:
        """int64 ``(m,)``, or None."""
        return None if self.dataset.labels is None else self.dataset.labels[self.index]

    @property
    def ids(self) -> list[str]:
        """The readable name of each row."""
        return [self.dataset.ids[i] for i in self.index.tolist()]


def embed(
    recipe: Recipe,
    source: Any,
    *,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    workers: int = 2,
    progress: Progress | None = None,
    **reading: Any,
) -> Embedded:
    """Embeddings of every readable sample of a source, in its order, in memory.

    See :func:`open_source` for how it is read, and :func:`embed_batches` for the rest.

    Raises:
        DataError: If nothing of the source can be read, or it does not fit the recipe.
        RunError: If the recipe has no networks yet.
    """
    dataset = open_source(recipe, source, **reading)
    parts = embed_batches(recipe, dataset, batch_size=batch_size, device=device, workers=workers, progress=progress)
    rows, index = zip(*parts, strict=True)
    return Embedded(torch.cat(rows), torch.cat(index), dataset)


def open_source(recipe: Recipe, source: Any, **reading: Any) -> Dataset:
    """A source as data, brought to the size and channels that the recipe was trained with.

    Raises:
        DataError: If the source cannot be read, or does not fit the recipe.
        RunError: If the recipe has no networks yet.
    """
    spec = recipe.built_spec
    dataset = recipe.modality.read(source, **(recipe.modality.reading_for(spec) | reading))
    recipe.modality.check_fits(dataset, spec)
    return dataset


def embed_batches(
    recipe: Recipe,
    dataset: Dataset,
    *,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
    workers: int = 2,
    progress: Progress | None = None,
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Embeddings of all readable samples in their order, a batch at a time: rows ``(b, dim)`` and their index.

    Rows are float32, both tensors on the CPU. Threads read ahead while the encoder computes. ``batch_size`` samples go
    through the encoder at once: 256, unless the kind of data wants more, as nodes do, which need the whole graph. On
    CPUs they are shared among the cores, each of which reads a part of them and takes it through the encoder by itself.
    Within a group of processes (see :func:`twofold.training.distributed.processes`) each embeds every so manieth batch,
    and all get all rows. Iterate to the end, or close the iterator: until then the recipe is in evaluation mode.

    Raises:
        DataError: At the end, if nothing could be read.
    """
    wanted = recipe.modality.training_defaults(recipe.built_spec).get("batch_size", 0)
    batch_size = batch_size or max(256, wanted)
    device, was_training, count = torch.device(device), recipe.training, 0
    lanes = 1
    if device.type == "cpu" and world_size() == 1 and wanted <= 256:
        lanes = max(1, min(torch.get_num_threads(), batch_size // LEAST_ROWS))
        batch_size = math.ceil(batch_size / lanes)
    channels_last(recipe.to(device)).eval()
    try:
        embedded = _embedded(recipe, dataset, batch_size, device, lanes=lanes, workers=workers)
        with closing(embedded):
            for mine in embedded:
                rows, index = map(distributed.gather_uneven, mine)
                count += len(index)
                if progress:
                    progress.advance(len(index), len(dataset))
                if len(index):
                    yield rows, index
    finally:
        recipe.train(was_training)
    for skipped in distributed.gather_objects(dataset.skipped):
        dataset.skipped.update(skipped)
    if not count:
        raise DataError(f"Nothing of the data could be read: {dict(itertools.islice(dataset.skipped.items(), 3))}")


def _embedded(
    recipe: Recipe, dataset: Dataset, batch_size: int, device: torch.device, *, lanes: int, workers: int
) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Rows and index of this process's batches; of as many as every other process has, the last perhaps empty."""
    if lanes > 1:  # a batch that another thread reads would have to come from the cache of another core

        def work(index: Tensor) -> tuple[Tensor, Tensor]:
            return _embed_batch(recipe, device, fetch(dataset, index))

        yield from side_by_side(torch.arange(len(dataset)).split(batch_size), work, lanes)
        return
    own = sequential(dataset, batch_size, workers=workers, rank=rank(), world=world_size())
    rounds = math.ceil(len(dataset) / (batch_size * world_size()))
    for batch in itertools.islice(itertools.chain(own, itertools.repeat(None)), rounds):
        yield _embed_batch(recipe, device, batch)


def _embed_batch(recipe: Recipe, device: torch.device, batch: dict[str, Any] | None) -> tuple[Tensor, Tensor]:
    if batch is None or not len(batch["index"]):
        return torch.empty(0, 0), torch.empty(0, dtype=torch.int64)
    with torch.inference_mode():  # here and not around the iteration: it would hold for whoever iterates
        batch = to_device(batch, device)
        inputs = recipe.modality.prepare(batch, recipe.built_spec)
        return _encoded(recipe, inputs).float().cpu(), batch["index"].cpu()


def _encoded(recipe: Recipe, inputs: Any) -> Tensor:
    """Features; on a CPU large inputs go through in pieces, so that what lies between the layers stays small."""
    if not isinstance(inputs, Tensor) or inputs.device.type != "cpu":
        return recipe.encode(inputs)
    pieces = min(math.ceil(inputs.nbytes / PIECE_BYTES), len(inputs) // LEAST_ROWS)
    return torch.cat([recipe.encode(piece) for piece in inputs.tensor_split(max(1, pieces))])


def raw_features(embedded: Embedded, recipe: Recipe, *, batch_size: int = 1024) -> Tensor:
    """The inputs themselves as vectors, for the same samples as ``embedded``, ``(m, d)``."""
    spec, modality = recipe.built_spec, recipe.modality
    parts = [modality.raw_features(embedded.dataset.fetch(index), spec) for index in embedded.index.split(batch_size)]
    return torch.cat(parts)
