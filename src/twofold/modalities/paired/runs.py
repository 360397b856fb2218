"""Towers from trained runs: ``run:FOLDER`` is the encoder that a recipe left in a folder, with its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities import Modality

RUN = "run:"
"""Of names of towers that come from a run folder."""
_PREFIX = "encoder."


@dataclass(frozen=True)
class Run:
    """What is needed of a run to build its encoder again.

    Attributes:
        encoder: Its name.
        spec: The facts of the data that it was trained on.
        rebuild: Its own rebuild facts.
    """

    encoder: str
    spec: dict[str, Any]
    rebuild: dict[str, Any]


def read_run(folder: str, modality: Modality) -> Run:
    """The facts of a finished run.

    Raises:
        DataError: If it is none, is damaged, or of another modality.
    """
    path = Path(folder).expanduser() / "config.json"
    try:
        check_memory(16 * path.stat().st_size, str(path))
        config = json.loads(path.read_text(encoding="utf-8"))
        options, spec, rebuild = (config[name] for name in ("options", "spec", "rebuild"))
        name = options["encoder"] or modality.default_encoder
        if config["own_encoder"] or not isinstance(name, str) or not isinstance(spec, dict):
            raise DataError(f"{folder}: its encoder is a module of one's own; pass the module itself as a tower")
        run = Run(name, spec, dict(rebuild))
    except DataError:
        raise
    except (OSError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{folder} is no folder of a finished run: its config.json cannot be read ({error})") from error
    if spec.get("modality") != modality.name:
        raise DataError(f"{folder} was trained on {spec.get('modality')!r}, and this side is {modality.name}")
    return run


def tower_of_run(folder: str, modality: Modality, spec: dict[str, Any], facts: Mapping[str, Any] | None) -> nn.Module:
    """The encoder of a run.

    Args:
        folder: The run's.
        modality: The side's.
        spec: Of the side's data, which must fit the run's.
        facts: None to read the run, weights too; else its facts, from which it is built without files.

    Raises:
        DataError: If the run cannot be read, or does not fit.
    """
    run = read_run(folder, modality) if facts is None else _from_facts(facts)
    tower = modality.make_encoder(run.encoder, dict(run.spec), rebuild=run.rebuild)
    if facts is None:
        _load(tower, Path(folder).expanduser() / "model.safetensors")
    tower.rebuild = {"run": {"encoder": run.encoder, "spec": run.spec, "rebuild": run.rebuild}}  # type: ignore[assignment]
    return tower


def _from_facts(facts: Mapping[str, Any]) -> Run:
    try:
        run = Run(**facts["run"])
    except (LookupError, TypeError) as error:
        raise DataError(f"the facts of a tower from a run are damaged ({error})") from error
    if ":" in run.encoder and not run.rebuild:
        raise DataError(f"the encoder {run.encoder!r} is named without the facts that it is built from again")
    return run


def _load(tower: nn.Module, path: Path) -> None:
    import safetensors.torch
    from safetensors import SafetensorError

    try:
        check_memory(2 * path.stat().st_size, str(path))
        state = safetensors.torch.load_file(path)
        tower.load_state_dict({k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)})
    except DataError:
        raise
    except (OSError, SafetensorError, RuntimeError) as error:
        text = " ".join(str(error).split())[:300]
        raise DataError(f"{path} does not hold the weights of the run's encoder ({text})") from error
