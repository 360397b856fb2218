"""One step of a run again, from the file that was kept when it came out NaN or infinite."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from twofold.dataset import Dataset, Rows
from twofold.errors import DataError, RunError
from twofold.recipes import saving
from twofold.recipes.base import Recipe
from twofold.training import nonfinite, sharding
from twofold.training.distributed import choose_device
from twofold.training.options import TrainingOptions
from twofold.training.precision import channels_last, resolve_precision
from twofold.training.randomness import forked_rng
from twofold.training.step import Batch, StepMaker


@dataclass(frozen=True)
class Replayed:
    """A step that was computed again."""

    step: int
    """From 1, as in messages and metrics."""
    recorded: dict[str, Any]
    """Losses and norm of the gradient when it happened; NaN and infinity as text."""
    repeated: dict[str, float]
    """The same, now."""
    found: list[str]
    """What was not finite then."""
    found_again: list[str]
    """What is not finite now."""
    spoilt: list[str]
    """Samples whose views hold NaN or infinity now."""
    first_module: str | None
    """The first layer that gave NaN or infinity for finite inputs."""
    bad_gradients: list[str]
    """Parameters whose gradient is not finite."""
    parameters: int
    """How many have a gradient."""

    @property
    def reproduced(self) -> bool:
        """Whether the same quantities came out not finite."""
        return set(self.found) == set(self.found_again)

    def to_text(self) -> str:
        """What happened, in a few lines."""
        verdict = "reproduced" if self.reproduced else "not reproduced"
        lines = [
            f"Step {self.step}: {verdict}. Not finite then: {', '.join(self.found)}; "
            f"now: {', '.join(self.found_again) or 'nothing'}."
        ]
        names = [name for name in self.repeated if name in self.recorded]
        lines += [f"  {name:<16} then {self.recorded[name]!s:>22}   now {self.repeated[name]!s:>22}" for name in names]
        if self.spoilt:
            shown = nonfinite.shortened(self.spoilt)
            lines.append(f"The views of {len(self.spoilt)} samples hold NaN or infinity: {shown}.")
        if self.first_module:
            lines.append(f"The first layer that gives NaN or infinity for finite inputs: {self.first_module}.")
        elif self.found_again and not self.spoilt:
            lines.append("All layers give finite outputs: look at the objective and its temperature.")
        if self.bad_gradients:
            shown = nonfinite.shortened(self.bad_gradients)
            lines.append(f"Gradients not finite: {len(self.bad_gradients)} of {self.parameters} parameters: {shown}.")
        return "\n".join(lines)


def replay(
    file: str | Path,
    source: Any = None,
    *,
    recipe: type[Recipe] | None = None,
    encoder: torch.nn.Module | None = None,
    device: str = "cpu",
) -> Replayed:
    """Compute a step again: the same weights, samples, views and random numbers; nothing is updated or written.

    On the same device and number of threads it is the same to the bit. A step of several processes is computed by one,
    on all rows together, which is the same but for rounding and dropout.

    Args:
        file: What a run left in its folder ``nonfinite/``.
        source: The run's data; without it, the paths that the run was started with.
        recipe: See :func:`twofold.recipes.saving.load`.
        encoder: See :func:`twofold.recipes.saving.load`.
        device: Where to compute.

    Raises:
        DataError: If the file is damaged, or the data is not that of the run.
        RunError: If ``recipe`` or ``encoder`` is needed.
    """
    held = nonfinite.read(file)
    config = held.facts["config"]
    made = saving.rebuild(config, held.state, origin=Path(file), recipe=recipe, encoder=encoder)
    dataset = made.modality.read(config["source"] if source is None else source, **config.get("reading", {}))
    _check_same_samples(held, dataset)
    options = TrainingOptions.checked(**config["training"])
    place = choose_device(device)
    maker = StepMaker(
        channels_last(made.to(place)).train(),
        made.make_views(),
        seed=options.seed,
        total_steps=held.facts["total_steps"],
        device=place,
        dtype=resolve_precision(options.precision, place),
        micro_batch=options.micro_batch,
        reduced_loss=options.loss_precision == "bf16",
    )
    return _computed(held, maker, dataset)


def _computed(held: nonfinite.Replay, maker: StepMaker, dataset: Dataset) -> Replayed:
    step, made = held.facts["step"], maker.recipe
    with forked_rng():
        shares = [maker.batch(step, rank, dataset.fetch(index)) for rank, index in enumerate(held.index)]
        batch = joined(shares)
        with nonfinite.first_bad_module(made) as noted:
            _, losses = maker.gradients(step, 0, batch)
    made.before_update(batch)
    norm = sharding.clip_gradients(made.parameters(), None)
    gradients = {name: p.grad for name, p in made.named_parameters() if p.grad is not None}
    finite = nonfinite.finite_rows(batch["views"], len(batch["index"]))
    repeated = {"loss": float(losses["total"])} | {k: float(v) for k, v in losses.items() if k != "total"}
    return Replayed(
        step=step + 1,
        recorded=held.facts["recorded"],
        repeated=repeated | {"gradient_norm": float(norm)},
        found=held.facts["found"],
        found_again=nonfinite.not_finite(losses, norm),
        spoilt=[name for name, good in zip(held.facts["ids"], finite, strict=True) if not good],
        first_module=noted[0] if noted else None,
        bad_gradients=[name for name, grad in gradients.items() if not bool(grad.isfinite().all())],
        parameters=len(gradients),
    )


def joined(shares: list[Batch]) -> Batch:
    """The batches of several processes as one: tensors put together, everything else that of the first."""
    if len(shares) == 1:
        return shares[0]

    def join(values: list[Any]) -> Any:
        if isinstance(values[0], Rows) or len({part.shape[1:] for part in values if isinstance(part, Tensor)}) > 1:
            raise RunError("A step of several processes cannot be repeated by one on this kind of data.")
        if isinstance(values[0], Tensor) and values[0].ndim:
            return torch.cat(values)
        if isinstance(values[0], list):
            return [join(list(parts)) for parts in zip(*values, strict=True)]
        if isinstance(values[0], dict):
            return {name: join([value[name] for value in values]) for name in values[0]}
        return values[0]

    return {name: join([share[name] for share in shares]) for name in shares[0]}


def _check_same_samples(held: nonfinite.Replay, dataset: Dataset) -> None:
    rows, then = held.index.flatten().tolist(), held.facts["ids"]
    if max(rows) >= len(dataset):
        raise DataError(f"The step was on sample {max(rows)}, the data has {len(dataset)}: it is not the run's data.")
    now = [str(dataset.ids[i]) for i in rows]
    if different := [f"{a} (now {b})" for a, b in zip(then, now, strict=True) if a != b]:
        raise DataError(
            f"The data is not the run's: {len(different)} of {len(then)} samples of the step have other names, such as "
            f"{different[0]}. Give the data that the run was trained on."
        )
