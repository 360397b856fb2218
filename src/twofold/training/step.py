"""One training step as a function of (weights, samples, seed, step, rank): trained on, and repeated in a replay."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from twofold.contrast import products
from twofold.contrast.gather import gather
from twofold.dataset import Views, take, to_device
from twofold.errors import RunError
from twofold.training import gradient_cache
from twofold.training.precision import autocast
from twofold.training.randomness import generator, seed_global

Batch = dict[str, Any]
Named = dict[str, Tensor]

_NOT_FOR_VIEWS = ("inputs", "index", "label", "target")
_FOR_RECIPES = ("label", "target")


@dataclass(frozen=True)
class StepMaker:
    """Makes batches and their gradients; holds what is the same for all steps.

    Args:
        recipe: A built recipe, on ``device``.
        views: Makes the views of a fetched batch.
        seed: Of the run.
        total_steps: Of the run, for the ``progress`` that recipes see.
        device: Where the networks are.
        dtype: What to autocast to; None computes in float32.
        micro_batch: Samples that go through the networks at once; None takes all.
        reduced_loss: Whether tiled losses may multiply in bfloat16.
    """

    recipe: Any
    views: Views
    seed: int
    total_steps: int
    device: torch.device
    dtype: torch.dtype | None = None
    micro_batch: int | None = None
    reduced_loss: bool = False

    def batch(self, step: int, rank: int, fetched: Batch) -> Batch:
        """Views and everything else a recipe may ask for; all that is drawn depends on (seed, step, rank) alone."""
        key = (self.seed, step, rank)
        seed_global("step", *key)
        fetched = to_device(fetched, self.device)
        extra = {name: value for name, value in fetched.items() if name not in _NOT_FOR_VIEWS}
        views = self.views(fetched["inputs"], generator=generator("views", *key), **extra)
        batch = {
            "views": views,
            "index": fetched["index"],
            "progress": step / self.total_steps,
            "generator": generator("recipe", *key),
        }
        return batch | {name: fetched[name] for name in _FOR_RECIPES if name in fetched}

    def gradients(self, step: int, rank: int, batch: Batch) -> tuple[Named, Named]:
        """Add this batch's gradients to ``.grad``; returns outputs and losses (means over processes), without graph.

        Raises:
            RunError: If the memory does not suffice.
        """
        try:
            with products.reduced() if self.reduced_loss else nullcontext():
                outputs, losses = self._gradients(step, rank, batch)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise RunError(out_of_memory(step, batch, self.micro_batch, error)) from error
        return detached(outputs), average(detached(losses))

    def _gradients(self, step: int, rank: int, batch: Batch) -> tuple[Named, Named]:
        def represent(chunk: Batch) -> Named:
            with autocast(self.device, self.dtype):
                outputs: Named = self.recipe.represent(chunk)
                return outputs

        micro = self.micro_batch
        if micro is None or micro >= len(batch["index"]):
            outputs = represent(batch)
            losses: Named = self.recipe.losses(outputs, batch)
            losses["total"].backward()
            return outputs, losses
        return gradient_cache.backward(
            self.recipe,
            represent,
            split_batch(batch, micro),
            lambda rows: self.recipe.losses(rows, batch),
            seed=lambda chunk: seed_global("chunk", self.seed, step, rank, chunk),
        )


def detached(tensors: Named) -> Named:
    """The same tensors without their graph."""
    return {name: tensor.detach() for name, tensor in tensors.items()}


def average(losses: Named) -> Named:
    """Their means over processes, each of which has those of its own anchors."""
    rows = gather(torch.stack([value.float() for value in losses.values()])[None])
    return dict(zip(losses, rows.mean(0), strict=True))


def split_batch(batch: Batch, size: int) -> list[Batch]:
    """A batch in pieces of at most ``size`` samples: rows of tensors, at any depth, are split, the rest is shared.

    The pieces are as equal as can be, so that no single sample is left for batch norm to stumble over.
    """
    count = len(batch["index"])
    pieces = math.ceil(count / size)
    bounds = [count * i // pieces for i in range(pieces + 1)]

    return [take(batch, slice(*span), count) for span in pairwise(bounds)]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python ran out of memory: torch has a class for accelerators, and only words for the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def out_of_memory(step: int, batch: Batch, micro_batch: int | None, error: BaseException) -> str:
    """What to say when a step does not fit."""
    rows = len(batch["index"])
    now = f"micro_batch is {micro_batch}" if micro_batch else "micro_batch is not set"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    smaller = max(2, (micro_batch or rows) // 4)
    return (
        f"Step {step + 1} does not fit into memory ({rows} samples a process, {now}): {reason}. A micro-batch gives "
        f"the gradient of the same batch in less memory: start again with --micro-batch {smaller}. Or free memory and "
        "give the same command: the run goes on from its last checkpoint."
    )
