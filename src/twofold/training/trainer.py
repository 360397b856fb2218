"""The training loop: plain torch, resumable at any step, the same on one process or many."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from twofold.contrast.gather import gather
from twofold.dataset import Dataset, Views, take
from twofold.errors import ConfigError, RunError
from twofold.training import checkpoint, health, nonfinite, sharding
from twofold.training.allocator import freed_memory_is_kept
from twofold.training.distributed import Process, average_gradients, on_main, smallest, synchronize_batch_norm
from twofold.training.files import read_json
from twofold.training.loader import Loader
from twofold.training.metrics_log import MetricsLog, RecordLog, TensorBoardLog
from twofold.training.optimizers import make_optimizer, named_state, parameter_groups
from twofold.training.options import BATCH_SIZE, EPOCHS, TrainingOptions
from twofold.training.precision import autocast, channels_last, resolve_precision
from twofold.training.progress import NullProgress, Progress
from twofold.training.randomness import forked_rng
from twofold.training.schedule import learning_rate, set_learning_rate
from twofold.training.signals import INTERRUPTED, stop_requests
from twofold.training.step import StepMaker

_STOP, _SAVE, _GO_ON = 0, 1, 2
"""What a process wants after a step; the smallest wish of all processes counts."""


class Trainable(Protocol):
    """What the loop needs of a recipe; see :class:`twofold.recipes.base.Recipe`."""

    constant_lr: Any
    needs_labels: Any

    def represent(self, batch: dict[str, Any]) -> dict[str, Tensor]: ...
    def losses(self, outputs: dict[str, Tensor], batch: dict[str, Any]) -> dict[str, Tensor]: ...
    def encode(self, inputs: Any) -> Tensor: ...
    def chance_level(self, batch_size: int) -> float | None: ...
    def before_epoch(self, epoch: int) -> None: ...
    def before_update(self, batch: dict[str, Any]) -> None: ...
    def after_step(self, outputs: dict[str, Tensor], batch: dict[str, Any]) -> None: ...


class InterruptedRunError(RunError):
    """The run was asked to stop; its checkpoint is written and the same command resumes it."""

    exit_code = INTERRUPTED


@dataclass
class TrainingResult:
    """What a finished run leaves beside the trained networks."""

    steps: int
    seconds: float
    """Spent in training, interruptions left out."""
    last: dict[str, float]
    """The last record of the metrics."""
    chance: float | None
    warnings: list[str] = field(default_factory=list)


class Trainer:
    """One run: ``Trainer(recipe, dataset, views, options).run()``.

    Args:
        recipe: A built recipe (a module that meets :class:`Trainable`).
        dataset: What it learns from.
        views: Makes the views of a fetched batch.
        options: Resolved training options.
        process: This process among those that train together.
        folder: Where checkpoints and metrics go; None keeps nothing.
        progress: Shows the run to a person.

    Raises:
        ConfigError: If recipe and data do not fit.
    """

    def __init__(
        self,
        recipe: Any,
        dataset: Dataset,
        views: Views,
        options: TrainingOptions,
        *,
        process: Process,
        folder: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        if recipe.needs_labels and dataset.labels is None:
            raise ConfigError(
                f"{type(recipe).__name__} learns from labels, and the data has none: give it labelled data "
                "(class folders, a label column), or choose a recipe that needs none."
            )
        self.options, self.process, self.folder = options, process, folder
        self.progress = progress or NullProgress()
        self.dataset = dataset
        self.loader = Loader(
            dataset,
            options.batch_size or BATCH_SIZE,
            seed=options.seed,
            workers=options.workers,
            rank=process.rank,
            world=process.world,
        )
        self.total_steps = self.loader.steps_per_epoch * (options.epochs or EPOCHS)
        self.warmup_steps = round(options.warmup * self.total_steps)
        self.health_steps = options.health_steps or max(1, self.total_steps // 40)
        self.recipe: Any = channels_last(synchronize_batch_norm(recipe, process).to(process.device))
        if options.shard and process.world > 1:
            sharding.shard(self.recipe, process.device, process.world)
        groups = parameter_groups(recipe, options.weight_decay or 0.0, constant_lr_prefixes=recipe.constant_lr)
        groups = sharding.separate_groups(groups)
        self.optimizer = make_optimizer(options.optimizer or "adamw", groups, lr=options.lr or 1e-3)
        self.steps = StepMaker(
            self.recipe,
            views,
            seed=options.seed,
            total_steps=self.total_steps,
            device=process.device,
            dtype=resolve_precision(options.precision, process.device),
            micro_batch=options.micro_batch,
            reduced_loss=options.loss_precision == "bf16",
        )
        self.chance = recipe.chance_level(self.loader.batch_size)
        self.logs: list[RecordLog] = []
        self.warnings: list[str] = []
        self.first_step = self.steps_done = 0
        self.skipped_in_a_row = 0
        self.last: dict[str, float] = {}
        self._clock = time.monotonic()

    def run(self) -> TrainingResult:
        """Train from the last checkpoint, or from the start, to the end.

        Raises:
            InterruptedRunError: After SIGINT, SIGTERM or SIGUSR1, with a checkpoint written.
            RunError: If the loss is no number, the memory does not suffice, or a file cannot be written.
        """
        self._clock = saved = time.monotonic()
        with ExitStack() as closing:
            stop = closing.enter_context(stop_requests())
            closing.enter_context(self.progress)
            closing.enter_context(freed_memory_is_kept())
            closing.enter_context(forked_rng())  # each step seeds torch's global state: it is put back afterwards
            on_main(lambda: self._open_logs(closing))
            self._resume()
            self.recipe.train()
            for step, batch in self.loader.batches(self.steps_done, self.total_steps):
                self.last = self._step(step, batch)
                self.steps_done = step + 1
                self._publish(self.last)
                wanted = _STOP if stop.requested else _SAVE if self._checkpoint_is_due(saved) else _GO_ON
                wanted = smallest(wanted)  # all processes do the same after the same step
                if wanted != _GO_ON:
                    self._save()
                    saved = time.monotonic()
                if wanted == _STOP:
                    raise self._interruption(stop.exit_code)
            self.steps_done = self.total_steps  # also when the last batches could not be read
            if self.first_step < self.total_steps:
                self._save()
        self.recipe.eval()
        return TrainingResult(self.steps_done, self._seconds(), self.last, self.chance, self.warnings)

    # One step ---------------------------------------------------------------------------------------------------------

    def _step(self, step: int, fetched: dict[str, Any]) -> dict[str, float]:
        began = time.perf_counter()
        options = self.options
        epoch, position = divmod(step, self.loader.steps_per_epoch)
        if position == 0:
            self.recipe.before_epoch(epoch)
        rate = learning_rate(
            step, base=options.lr or 1e-3, warmup_steps=self.warmup_steps, total_steps=self.total_steps
        )
        set_learning_rate(self.optimizer, rate)
        statistics = nonfinite.norm_statistics(self.recipe) if options.nonfinite == "skip" else []
        batch = self.steps.batch(step, self.process.rank, fetched)
        outputs, losses = self.steps.gradients(step, self.process.rank, batch)
        average_gradients(self.recipe)
        self.recipe.before_update(batch)
        norm = sharding.clip_gradients(self.recipe.parameters(), options.grad_clip)
        record = {"step": step + 1, "epoch": (step + 1) / self.loader.steps_per_epoch, "loss": float(losses["total"])}
        record |= {name: float(value) for name, value in losses.items() if name != "total"}
        record |= {"lr": rate, "gradient_norm": float(norm)}
        if found := nonfinite.not_finite(losses, norm):
            self._capture(step, found, record, batch)  # raises, unless such steps are to be left out
            nonfinite.restore(statistics)
            self.optimizer.zero_grad(set_to_none=True)
            return record | {"skipped": 1}
        self.skipped_in_a_row = 0
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.recipe.after_step(outputs, batch)
        if step % self.health_steps == 0 or step + 1 == self.total_steps:
            record |= self._health(batch)
        record["items_per_second"] = len(batch["index"]) * self.process.world / (time.perf_counter() - began)
        return record

    def _capture(self, step: int, found: list[str], record: dict[str, float], batch: dict[str, Any]) -> None:
        """Keep a step whose loss or gradient is not finite; raise, or return if the run should go on without it."""
        index = gather(batch["index"])
        finite = gather(torch.tensor(nonfinite.finite_rows(batch["views"], len(batch["index"]))).to(index.device))
        names = [str(self.dataset.ids[i]) for i in index.tolist()]
        spoilt = [name for name, good in zip(names, finite.tolist(), strict=True) if not good]
        state = sharding.whole(self.recipe.state_dict())
        facts = {"step": step, "ids": names, "found": found, "spoilt": spoilt, "recorded": record}
        facts |= {"total_steps": self.total_steps, "precision": str(self.steps.dtype), "device": str(self.steps.device)}
        path = on_main(lambda: self._write_replay(state, index, facts))
        text = nonfinite.message(step, found, spoilt, names, path)
        self.skipped_in_a_row += 1
        if self.options.nonfinite == "stop":
            text += " The last checkpoint is from before this step; with --nonfinite skip such steps are left out."
            raise self._told_once(RunError(text))
        if self.skipped_in_a_row >= nonfinite.MOST_IN_A_ROW:
            text = f"{self.skipped_in_a_row} steps in a row were left out, so nothing is learned any more. {text}"
            raise self._told_once(RunError(text))
        self._warn(f"Steps are left out because they are not finite: first, {text}")

    def _write_replay(self, state: dict[str, Tensor], index: Tensor, facts: dict[str, Any]) -> Path | None:
        if self.folder is None or not (self.folder / "config.json").is_file():
            return None
        facts = facts | {"config": read_json(self.folder / "config.json")}
        try:
            return nonfinite.write(self.folder, state, index.reshape(self.process.world, -1), facts)
        except OSError as error:
            self.progress.warn(f"The step could not be kept for a replay: {error}.")
            return None

    @torch.no_grad()
    def _health(self, batch: dict[str, Any]) -> dict[str, float]:
        """Shape of the embedding of this batch's first two views, as the user would get it (evaluation mode)."""
        count = len(batch["index"])
        views = [take(view, slice(health.ROWS), count) for view in batch["views"][:2]]
        self.recipe.eval()
        with autocast(self.steps.device, self.steps.dtype):
            rows = [self.recipe.encode(view).float() for view in views]
        self.recipe.train()
        measured = health.measure(rows)
        if measured and (warning := health.collapse(measured, rows[0].shape)):
            self._warn(warning)
        return measured

    # Around the steps -------------------------------------------------------------------------------------------------

    def _open_logs(self, closing: ExitStack) -> None:
        if self.folder is None:
            return
        try:
            self.logs.append(MetricsLog(self.folder / "metrics.jsonl"))
        except OSError as error:
            raise RunError(f"{self.folder / 'metrics.jsonl'} cannot be written: {error.strerror}.") from error
        if self.options.tensorboard:
            self.logs.append(TensorBoardLog(self.folder / "tensorboard"))
        for log in self.logs:
            closing.callback(log.close)

    def _publish(self, record: dict[str, float]) -> None:
        try:
            for log in self.logs:
                log.write(record)
        except OSError as error:
            raise RunError(
                f"The metrics of step {self.steps_done} cannot be written to {self.folder}: {error.strerror or error}. "
                "Free some space, and give the same command: the run goes on from its last checkpoint."
            ) from error
        self.progress.update(record, total_steps=self.total_steps, chance=self.chance)
        halfway = max(self.warmup_steps + 1, self.total_steps // 2, health.LEAST_STEPS)
        if self.steps_done == halfway and (warning := health.stuck(record["loss"], self.chance)):
            self._warn(warning)

    def _warn(self, text: str) -> None:
        if text.split(":")[0] not in [known.split(":")[0] for known in self.warnings]:
            self.warnings.append(text)
            self.progress.warn(text)

    def _interruption(self, exit_code: int) -> RunError:
        kept = "the same command resumes the run." if self.folder else "nothing was kept (no out folder)."
        error = InterruptedRunError(f"Stopped after step {self.steps_done} of {self.total_steps}; {kept}")
        error.exit_code = exit_code
        return self._told_once(error)

    def _told_once(self, error: RunError) -> RunError:
        """An error that every process raises, and that only the main one tells."""
        error.told = not self.process.is_main
        return error

    def _checkpoint_is_due(self, saved: float) -> bool:
        if self.folder is None or self.steps_done == self.total_steps:
            return False
        if self.options.checkpoint_steps:
            return self.steps_done % self.options.checkpoint_steps == 0
        return time.monotonic() - saved > 60 * self.options.checkpoint_minutes

    def _save(self) -> None:
        """Write a checkpoint from the main process; all take part, since split tensors must be put together."""
        if self.folder is None:
            return
        model = sharding.whole(self.recipe.state_dict())
        optimizer = sharding.whole(named_state(self.optimizer, self.recipe))
        if not self.process.is_main:
            return
        meta = {
            "total_steps": self.total_steps,
            "processes": self.process.world,
            "warnings": self.warnings,
            "skipped_in_a_row": self.skipped_in_a_row,
            "unreadable": dict(self.dataset.skipped),
            "seconds": self._seconds(),
            "last": self.last,
        }
        for log in self.logs:
            log.sync()  # after a power cut, a checkpoint must not know of steps that the metrics do not
        checkpoint.save(self.folder, self.steps_done, model=model, optimizer=optimizer, meta=meta)

    def _seconds(self) -> float:
        return time.monotonic() - self._clock

    def _resume(self) -> None:
        found = checkpoint.latest(self.folder) if self.folder else None
        if found is None:
            for log in self.logs:
                log.truncate_after(0)
            return
        sharding.load_whole(self.recipe, found.model())
        sharding.load_whole_optimizer(self.optimizer, self.recipe, found.optimizer())
        self.first_step = self.steps_done = found.step
        self.warnings, self.last = list(found.meta["warnings"]), dict(found.meta["last"])
        self.skipped_in_a_row = found.meta["skipped_in_a_row"]
        self.dataset.skipped.update(found.meta["unreadable"])
        self._clock -= found.meta["seconds"]
        for log in self.logs:
            log.truncate_after(found.step)
        if found.meta["processes"] != self.process.world:
            self._warn(
                f"The run goes on with {self.process.world} processes and began with {found.meta['processes']}: it is "
                "as good a run, but not bit by bit the one that it would have been, since each process draws its own "
                "views."
            )
        if found.step == self.total_steps:
            self.progress.note(f"Nothing to do: all {self.total_steps} steps are done.")
        else:
            self.progress.note(f"Resuming after step {found.step} of {self.total_steps}.")
