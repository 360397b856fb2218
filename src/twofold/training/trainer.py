"""The training loop: plain torch, resumable at any step, the same on one process or many."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from twofold.contrast.gather import gather
from twofold.contrast.objectives.geometry import alignment, effective_rank, standard_deviation, uniformity
from twofold.dataset import Dataset, Views, to_device
from twofold.errors import ConfigError, RunError
from twofold.training import checkpoint, gradient_cache
from twofold.training.distributed import Process, average_gradients, smallest, synchronize_batch_norm
from twofold.training.loader import Loader
from twofold.training.metrics_log import MetricsLog, RecordLog, TensorBoardLog
from twofold.training.optimizers import make_optimizer, parameter_groups
from twofold.training.options import TrainingOptions
from twofold.training.precision import autocast, channels_last, resolve_precision
from twofold.training.progress import NullProgress, Progress
from twofold.training.randomness import forked_rng, generator, seed_global
from twofold.training.schedule import learning_rate, set_learning_rate
from twofold.training.signals import stop_requests

HEALTH_ROWS = 256
LEAST_STEPS = 20
"""Before so many steps nothing is said about a loss at chance."""
COLLAPSE_STD = 0.1
"""Below this share of the spread of a uniform distribution on the sphere, embeddings are called collapsed."""


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
        self.dataset, self.views = dataset, views
        self.loader = Loader(
            dataset,
            options.batch_size,
            seed=options.seed,
            workers=options.workers,
            rank=process.rank,
            world=process.world,
        )
        self.total_steps = self.loader.steps_per_epoch * options.epochs
        self.warmup_steps = round(options.warmup * self.total_steps)
        self.health_steps = options.health_steps or max(1, self.total_steps // 40)
        self.recipe: Any = channels_last(synchronize_batch_norm(recipe, process).to(process.device))
        groups = parameter_groups(recipe, options.weight_decay or 0.0, constant_lr_prefixes=recipe.constant_lr)
        self.optimizer = make_optimizer(options.optimizer or "adamw", groups, lr=options.lr or 1e-3)
        self.dtype = resolve_precision(options.precision, process.device)
        self.chance = recipe.chance_level(self.loader.batch_size)
        self.logs: list[RecordLog] = []
        if folder and process.is_main:
            self.logs.append(MetricsLog(folder / "metrics.jsonl"))
            if options.tensorboard:
                self.logs.append(TensorBoardLog(folder / "tensorboard"))
        self.warnings: list[str] = []
        self.first_step = self.steps_done = 0
        self.last: dict[str, float] = {}
        self._clock = time.monotonic()

    def run(self) -> TrainingResult:
        """Train from the last checkpoint, or from the start, to the end.

        Raises:
            InterruptedRunError: After SIGINT or SIGTERM, with a checkpoint written.
            RunError: If the loss is no number.
        """
        self._clock = saved = time.monotonic()
        with ExitStack() as closing:
            stop = closing.enter_context(stop_requests())
            closing.enter_context(self.progress)
            closing.enter_context(forked_rng())  # each step seeds torch's global state: it is put back afterwards
            for log in self.logs:
                closing.callback(log.close)
            self._resume()
            self.recipe.train()
            for step, batch in self.loader.batches(self.steps_done, self.total_steps):
                self.last = self._step(step, batch)
                self.steps_done = step + 1
                self._publish(self.last)
                if smallest(0 if stop.requested else 1) == 0:  # all processes leave the loop at the same step
                    self._save()
                    raise InterruptedRunError(
                        f"Stopped after step {self.steps_done} of {self.total_steps}; "
                        + ("the same command resumes the run." if self.folder else "nothing was kept (no out folder).")
                    )
                if self._checkpoint_is_due(saved):
                    self._save()
                    saved = time.monotonic()
            self.steps_done = self.total_steps  # also when the last batches could not be read
        if self.first_step < self.total_steps:
            self._save()
        self.recipe.eval()
        return TrainingResult(self.steps_done, self._seconds(), self.last, self.chance, self.warnings)

    # One step ---------------------------------------------------------------------------------------------------------

    def _step(self, step: int, fetched: dict[str, Any]) -> dict[str, float]:
        began = time.perf_counter()
        options, device = self.options, self.process.device
        epoch, position = divmod(step, self.loader.steps_per_epoch)
        if position == 0:
            self.recipe.before_epoch(epoch)
        rate = learning_rate(
            step, base=options.lr or 1e-3, warmup_steps=self.warmup_steps, total_steps=self.total_steps
        )
        set_learning_rate(self.optimizer, rate)
        batch = self._batch(step, fetched, device)
        outputs, losses = self._forward_backward(step, batch)
        average_gradients(self.recipe)
        self.recipe.before_update(batch)
        norm = nn.utils.clip_grad_norm_(self.recipe.parameters(), options.grad_clip or math.inf)
        self._refuse_nan(step, losses, norm, batch)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.recipe.after_step(outputs, batch)
        record = {"step": step + 1, "epoch": (step + 1) / self.loader.steps_per_epoch, "loss": float(losses["total"])}
        record |= {name: float(value) for name, value in losses.items() if name != "total"}
        record |= {"lr": rate, "gradient_norm": float(norm)}
        if step % self.health_steps == 0 or step + 1 == self.total_steps:
            record |= self._health(batch)
        record["items_per_second"] = len(batch["index"]) * self.process.world / (time.perf_counter() - began)
        return record

    def _batch(self, step: int, fetched: dict[str, Any], device: torch.device) -> dict[str, Any]:
        """Views and everything else a recipe may ask for; all that is drawn depends on (seed, step, rank) alone."""
        key = (self.options.seed, step, self.process.rank)
        seed_global("step", *key)
        fetched = to_device(fetched, device)
        extra = {name: value for name, value in fetched.items() if name not in ("inputs", "index", "label")}
        views = self.views(fetched["inputs"], generator=generator("views", *key), **extra)
        batch = {
            "views": views,
            "index": fetched["index"],
            "progress": step / self.total_steps,
            "generator": generator("recipe", *key),
        }
        return batch | {name: fetched[name] for name in ("label",) if name in fetched}

    def _forward_backward(self, step: int, batch: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        def represent(chunk: dict[str, Any]) -> dict[str, Tensor]:
            with autocast(self.process.device, self.dtype):
                return self.recipe.represent(chunk)

        micro = self.options.micro_batch
        if micro is None or micro >= len(batch["index"]):
            outputs = represent(batch)
            losses: dict[str, Tensor] = self.recipe.losses(outputs, batch)
            losses["total"].backward()
        else:
            outputs, losses = gradient_cache.backward(
                self.recipe,
                represent,
                split_batch(batch, micro),
                lambda rows: self.recipe.losses(rows, batch),
                seed=lambda chunk: seed_global("chunk", self.options.seed, step, self.process.rank, chunk),
            )
        return detached(outputs), average(detached(losses))

    def _refuse_nan(self, step: int, losses: dict[str, Tensor], norm: Tensor, batch: dict[str, Any]) -> None:
        wrong = [name for name, value in losses.items() if not math.isfinite(float(value))]
        if not math.isfinite(float(norm)):
            wrong.append("gradient")
        if wrong:
            names = [str(self.dataset.ids[i]) for i in batch["index"].tolist()]
            spoilt = [name for name, row in zip(names, finite_rows(batch["views"], len(names)), strict=True) if not row]
            where = (
                f"the views of {shortened(spoilt)} hold NaN or infinity" if spoilt else f"samples {shortened(names)}"
            )
            raise RunError(
                f"Step {step + 1}: {' and '.join(wrong)} not finite ({where}). The last checkpoint is "
                "from before this step. Usual causes: too high a learning rate, too low a temperature, NaN in the data."
            )

    @torch.no_grad()
    def _health(self, batch: dict[str, Any]) -> dict[str, float]:
        """Shape of the embedding of this batch's first two views, as the user would get it (evaluation mode)."""
        views = [view[:HEALTH_ROWS] for view in batch["views"][:2]]
        self.recipe.eval()
        with autocast(self.process.device, self.dtype):
            rows = [self.recipe.encode(view).float() for view in views]
        self.recipe.train()
        spread = float(standard_deviation(rows[0]))
        if spread < COLLAPSE_STD:
            self._warn(
                f"The embeddings have collapsed: they spread {spread:.3f} of what is possible. Usual causes: too "
                "high a learning rate, a missing stop-gradient or predictor, views that hide everything."
            )
        health = {
            "effective_rank": float(effective_rank(rows[0])),
            "uniformity": float(uniformity(rows[0])),
            "spread": spread,
        }
        if len(rows) == 2 and rows[0].shape == rows[1].shape:
            health["alignment"] = float(alignment(torch.stack(rows)))
        return health

    # Around the steps -------------------------------------------------------------------------------------------------

    def _publish(self, record: dict[str, float]) -> None:
        for log in self.logs:
            log.write(record)
        self.progress.update(record, total_steps=self.total_steps, chance=self.chance)
        halfway = self.steps_done == max(self.warmup_steps + 1, self.total_steps // 2, LEAST_STEPS)
        if halfway and self.chance and record["loss"] > 0.98 * self.chance:
            self._warn(
                f"Half-way, the loss {record['loss']:.3f} still sits at chance ({self.chance:.3f}): nothing has been "
                "learned yet. Usual causes: too low or too high a learning rate, too high a temperature, views that "
                "share nothing."
            )

    def _warn(self, text: str) -> None:
        if text.split(":")[0] not in [known.split(":")[0] for known in self.warnings]:
            self.warnings.append(text)
            self.progress.warn(text)

    def _checkpoint_is_due(self, saved: float) -> bool:
        if self.folder is None or self.steps_done == self.total_steps:
            return False
        if self.options.checkpoint_steps:
            return self.steps_done % self.options.checkpoint_steps == 0
        return time.monotonic() - saved > 60 * self.options.checkpoint_minutes

    def _save(self) -> None:
        if self.folder and self.process.is_main:
            checkpoint.save(
                self.folder,
                self.steps_done,
                model=self.recipe.state_dict(),
                optimizer=self.optimizer.state_dict(),
                meta={
                    "total_steps": self.total_steps,
                    "warnings": self.warnings,
                    "seconds": self._seconds(),
                    "last": self.last,
                },
            )

    def _seconds(self) -> float:
        return time.monotonic() - self._clock

    def _resume(self) -> None:
        found = checkpoint.latest(self.folder) if self.folder else None
        if found is None:
            for log in self.logs:
                log.truncate_after(0)
            return
        self.recipe.load_state_dict(found.model())
        self.optimizer.load_state_dict(found.optimizer())
        self.first_step = self.steps_done = found.step
        self.warnings = list(found.meta["warnings"])
        self.last = dict(found.meta["last"])
        self._clock -= found.meta["seconds"]
        for log in self.logs:
            log.truncate_after(found.step)
        if found.step == self.total_steps:
            self.progress.note(f"Nothing to do: all {self.total_steps} steps are done.")
        else:
            self.progress.note(f"Resuming after step {found.step} of {self.total_steps}.")


def detached(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without their graph."""
    return {name: tensor.detach() for name, tensor in tensors.items()}


def average(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their means over processes, each of which has those of its own anchors."""
    rows = gather(torch.stack([value.float() for value in losses.values()])[None])
    return dict(zip(losses, rows.mean(0), strict=True))


def split_batch(batch: dict[str, Any], size: int) -> list[dict[str, Any]]:
    """A batch in pieces of at most ``size`` samples: rows of tensors and of views are split, the rest is shared.

    The pieces are as equal as can be, so that no single sample is left for batch norm to stumble over.
    """
    count = len(batch["index"])
    pieces = math.ceil(count / size)
    bounds = [count * i // pieces for i in range(pieces + 1)]

    def piece(value: Any, start: int, stop: int) -> Any:
        if isinstance(value, Tensor) and value.ndim and len(value) == count:
            return value[start:stop]
        return [piece(v, start, stop) for v in value] if isinstance(value, list) else value

    return [{name: piece(v, *span) for name, v in batch.items()} for span in pairwise(bounds)]


def finite_rows(views: list[Any], count: int) -> list[bool]:
    """Of each of ``count`` samples, whether all its views that are tensors are finite."""
    finite = torch.ones(count, dtype=torch.bool)
    for view in views:
        if isinstance(view, Tensor):
            finite &= view.isfinite().reshape(count, -1).all(1).cpu()
    return finite.tolist()


def shortened(names: list[str], shown: int = 4) -> str:
    """The first few names, and whether there are more."""
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
