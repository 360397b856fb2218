"""NaN and infinity in a step: where they are, and a file from which the step can be computed again.

A step is a function of weights, samples, seed, step number and rank (:mod:`twofold.training.step`), so these are all
that a replay file holds: the recipe's state as safetensors, with the indices of the batch; the rest as JSON in the
file's metadata. Nothing in it is code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from twofold.dataset import Rows
from twofold.errors import DataError
from twofold.training import files

FORMAT = 1
FOLDER = "nonfinite"
KEPT = 5
"""Replay files that a run keeps; later bad steps are only counted."""
MOST_IN_A_ROW = 10
"""After so many steps left out one after the other, a run that skips them stops all the same."""
_INDEX = "batch.index"
_STATE = "state."


@dataclass(frozen=True)
class Replay:
    """What a replay file holds."""

    path: Path
    state: dict[str, Tensor]
    """The recipe's state dict before the step."""
    index: Tensor
    """int64 ``(processes, n)``: the samples of each process."""
    facts: dict[str, Any]
    """``step`` (from 0), ``total_steps``, ``ids``, ``found``, ``spoilt``, ``recorded``, and the run's ``config``."""


def not_finite(losses: Mapping[str, Tensor], norm: Tensor) -> list[str]:
    """The names of the losses that are NaN or infinite, and ``gradient`` if its norm is."""
    found = [name for name, value in losses.items() if not math.isfinite(float(value))]
    return found + ([] if math.isfinite(float(norm)) else ["gradient"])


def finite_rows(views: Any, count: int) -> list[bool]:
    """Of each of ``count`` samples, whether all its values in ``views`` (nested) are finite."""
    finite = torch.ones(count, dtype=torch.bool)
    for part in _leaves(views):
        if isinstance(part, Rows):
            finite &= part.finite().cpu()
        elif part.is_floating_point() and part.ndim and len(part) == count:
            finite &= part.isfinite().reshape(count, -1).all(1).cpu()
    return finite.tolist()


def message(step: int, found: list[str], spoilt: list[str], names: list[str], replay: Path | None) -> str:
    """One paragraph on a step that came out not finite."""
    where = f"the views of {shortened(spoilt)} hold NaN or infinity" if spoilt else f"samples {shortened(names)}"
    again = f" Look into it with: twofold replay {replay}." if replay else ""
    return (
        f"Step {step + 1}: {' and '.join(found)} not finite ({where}).{again} Usual causes: too high a learning rate, "
        "too low a temperature, NaN in the data."
    )


def write(folder: Path, state: Mapping[str, Tensor], index: Tensor, facts: Mapping[str, Any]) -> Path | None:
    """Write a replay file into a run folder; None if the run has :data:`KEPT` of them already.

    Args:
        folder: The run's.
        state: See :class:`Replay`.
        index: See :class:`Replay`.
        facts: See :class:`Replay`; NaN and infinity are kept as text.

    Raises:
        OSError: If it cannot be written.
    """
    target = folder / FOLDER / f"step-{facts['step'] + 1:08d}.safetensors"
    if not target.exists() and len(list(target.parent.glob("step-*.safetensors"))) >= KEPT:
        return None
    tensors = {_STATE + name: value.detach().cpu().clone().contiguous() for name, value in state.items()}
    tensors[_INDEX] = index.cpu().contiguous()
    document = json.dumps(files.plain({"format": FORMAT, **_as_text(facts)}))
    files.write_bytes(target, safetensors.torch.save(tensors, metadata={"twofold_replay": document}))
    return target


def read(path: Path | str) -> Replay:
    """A replay file.

    Raises:
        DataError: If it is not one, or is damaged.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("twofold_replay")
            tensors = {name: file.get_tensor(name) for name in file.keys()} if text else {}  # noqa: SIM118
        facts = json.loads(text or "{}")
        if facts.get("format") != FORMAT:
            raise DataError(f"{path} is no replay file of this version of Twofold.")
        index = tensors.pop(_INDEX)
    except (OSError, SafetensorError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path} cannot be read as a replay file ({error}). A run writes them to its folder {FOLDER}/ when a step "
            "comes out NaN or infinite."
        ) from error
    state = {name.removeprefix(_STATE): value for name, value in tensors.items()}
    return Replay(path, state, index, facts)


@contextmanager
def first_bad_module(module: nn.Module) -> Iterator[list[str]]:
    """While inside, the first module without children whose output is not finite though its inputs are is noted."""
    noted: list[str] = []

    def look(name: str) -> Any:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            if not noted and not _all_finite(output) and _all_finite(inputs):
                noted.append(f"{name} ({type(part).__name__})")

        return hook

    leaves = [(name, part) for name, part in module.named_modules() if not any(True for _ in part.children())]
    handles = [part.register_forward_hook(look(name)) for name, part in leaves]
    try:
        yield noted
    finally:
        for handle in handles:
            handle.remove()


def norm_statistics(module: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """The running statistics of normalisation layers, each with a copy of what it is now.

    A forward pass on NaN writes NaN into them, from where evaluation would not recover: see :func:`restore`.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._NormBase)]
    return [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers(recurse=False)]


def restore(statistics: list[tuple[Tensor, Tensor]]) -> None:
    """Put back what :func:`norm_statistics` kept."""
    for buffer, copy in statistics:
        buffer.copy_(copy)


def shortened(names: list[str], shown: int = 4) -> str:
    """The first few names, and whether there are more."""
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")


def _leaves(value: Any) -> Iterator[Tensor | Rows]:
    if isinstance(value, Tensor | Rows):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)


def _all_finite(value: Any) -> bool:
    return all(_finite(part) for part in _leaves(value))


def _finite(part: Tensor | Rows) -> bool:
    if isinstance(part, Rows):
        return bool(part.finite().all())
    return not part.is_floating_point() or bool(part.isfinite().all())


def _as_text(value: Any) -> Any:
    """Numbers that JSON has not, as text: 'nan', 'inf'."""
    if isinstance(value, Mapping):
        return {name: _as_text(item) for name, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
