"""Checkpoints that are whole or not there, and that nothing unsafe is loaded from.

A checkpoint is a folder ``checkpoints/step-00001234/`` of a run: ``model.safetensors``, ``optimizer.pt`` (read with
``weights_only=True``) and ``meta.json`` with the SHA-256 of all of them and of itself. It is written under a temporary
name, flushed to the disk and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from twofold.errors import DataError, RunError
from twofold.training import files

_FORMAT = 1
_NAME = re.compile(r"step-(\d+)(\.replaced)?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose checksums are right; its tensors are read when asked for."""

    path: Path
    step: int
    meta: dict[str, Any]

    def model(self) -> dict[str, Tensor]:
        """The model's state dict, on the CPU; a module's ``load_state_dict`` moves it to its parameters."""
        try:
            return safetensors.torch.load_file(self.path / "model.safetensors")
        except (OSError, SafetensorError) as error:
            raise RunError(f"{self.path / 'model.safetensors'} cannot be read: {error}") from error

    def optimizer(self) -> dict[str, Any]:
        """The optimiser's state dict, on the CPU; an optimiser's ``load_state_dict`` moves it to its parameters."""
        try:
            return torch.load(self.path / "optimizer.pt", map_location="cpu", weights_only=True)
        except Exception as error:
            raise RunError(f"{self.path / 'optimizer.pt'} cannot be read safely: {error}") from error


def save(
    folder: Path | str,
    step: int,
    *,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Any],
    meta: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Write a checkpoint of a run and remove what it makes obsolete; returns its folder.

    Removed are all but the ``keep`` latest up to ``step``, those of later steps (the run went back before them) and
    leftovers of writers that were killed. A checkpoint of the same step is replaced.

    Args:
        folder: The run's folder.
        step: Steps taken.
        model: The model's state dict, tensors only. Tied weights may share memory.
        optimizer: The optimiser's state dict.
        meta: Anything JSON can hold; NaN and infinity become None.
        keep: How many to keep, at least 1.

    Raises:
        RunError: If it cannot be written; earlier checkpoints are then as they were.
        TypeError: If the model's state holds something other than tensors.
        ValueError: If ``keep`` or ``step`` is out of range.
    """
    if keep < 1 or step < 0:
        raise ValueError(f"keep must be at least 1 and step at least 0, not keep={keep}, step={step}")
    checkpoints = Path(folder) / "checkpoints"
    final = checkpoints / f"step-{step:08d}"
    temporary = _temporary(checkpoints)
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(checkpoints)
        _write(temporary, step, model, optimizer, meta)
        _publish(temporary, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunError(
            f"The checkpoint {final} cannot be written: {error}. Check the free space and the permissions there."
        ) from error
    _prune(checkpoints, step, keep)
    return final


def load(path: Path | str) -> Checkpoint:
    """A checkpoint by its own folder, all checksums verified.

    Raises:
        RunError: If it is damaged or incomplete; the message says which file.
    """
    path = Path(path)
    try:
        document = files.read_json(path / "meta.json")
    except DataError as error:
        raise RunError(f"The checkpoint {path} is damaged: {error}") from error
    body = {key: value for key, value in document.items() if key != "sha256"} if isinstance(document, dict) else {}
    if not body or document.get("sha256") != _digest(body):
        raise RunError(f"The checkpoint {path} is damaged: meta.json does not have the content that was written.")
    if lacking := {"format", "step", "files", "meta"} - body.keys():
        raise RunError(f"The checkpoint {path} is damaged: meta.json lacks {', '.join(sorted(lacking))}.")
    if body["format"] != _FORMAT:
        raise RunError(f"The checkpoint {path} has format {body['format']}; this version of twofold reads {_FORMAT}.")
    for name, expected in body["files"].items():
        outside = Path(name).name != name  # a checkpoint that somebody else made must not lead to other files
        if outside or _content(path / name) != expected:
            raise RunError(f"The checkpoint {path} is damaged: {name} does not have the content that was written.")
    return Checkpoint(path=path, step=body["step"], meta=body["meta"])


def latest(folder: Path | str) -> Checkpoint | None:
    """A run's latest checkpoint that is whole; damaged ones on the way are named in a warning. None if it has none yet.

    Args:
        folder: The run's folder.

    Raises:
        RunError: If there are checkpoints and all are damaged: to start the run anew is the user's decision.
    """
    checkpoints = Path(folder) / "checkpoints"
    paths = _existing(checkpoints)
    for path in reversed(paths):
        try:
            return load(path)
        except RunError as error:
            if path == paths[0]:
                raise RunError(
                    f"{error} There is no other one to go back to. Restore it, or remove the folder {checkpoints} to "
                    "start the run from its beginning."
                ) from error
            warnings.warn(f"{error} Trying the one before.", stacklevel=2)
    return None


def _write(
    folder: Path,
    step: int,
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Any],
    meta: Mapping[str, Any],
) -> None:
    folder.mkdir()
    safetensors.torch.save_file(_separate(model), folder / "model.safetensors")
    torch.save(dict(optimizer), folder / "optimizer.pt")
    digests = {}
    for path in sorted(folder.iterdir()):
        files.sync_file(path)
        digests[path.name] = files.sha256(path)
    body = files.plain({"format": _FORMAT, "step": step, "files": digests, "meta": meta})
    files.write_json(folder / "meta.json", {**body, "sha256": _digest(body)})


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, contiguous, each with memory of its own, as safetensors wants them."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"'{name}' is a {type(tensor).__name__}, not a tensor; keep such state in meta")
        copy = tensor.detach().cpu().contiguous()
        storage = copy.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != copy.nbytes:  # tied weights; views of something larger
            copy = copy.clone()
        seen.add(storage.data_ptr())
        separate[name] = copy
    return separate


def _publish(temporary: Path, final: Path) -> None:
    """Rename into place. As a folder cannot replace another, the old one stays, under a name that is still read."""
    if final.exists():
        replaced = final.with_name(f"{final.name}.replaced")
        _discard(replaced)
        final.rename(replaced)
    temporary.rename(final)
    files.sync_folder(final.parent)


def _prune(checkpoints: Path, step: int, keep: int) -> None:
    paths = _existing(checkpoints)
    current = [path for path in paths if _step(path) <= step and not path.name.endswith(".replaced")]
    for path in paths:
        if path not in current[-keep:]:
            _discard(path)


def _discard(path: Path) -> None:
    """Remove a checkpoint; renamed first, so that a half-removed one is never looked at. A failure costs only space."""
    temporary = _temporary(path.parent)
    with contextlib.suppress(OSError):
        path.rename(temporary)
        shutil.rmtree(temporary)


def _temporary(checkpoints: Path) -> Path:
    return checkpoints / f".tmp-{os.getpid()}-{secrets.token_hex(4)}"


def _remove_leftovers(checkpoints: Path) -> None:
    for path in checkpoints.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def _existing(checkpoints: Path) -> list[Path]:
    """Checkpoint folders, earliest step first; one being replaced stands before its replacement."""
    if not checkpoints.is_dir():
        return []
    found = [path for path in checkpoints.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: (_step(path), not path.name.endswith(".replaced")))


def _step(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])


def _content(path: Path) -> str | None:
    """The SHA-256 of a file; None if it is not there or the disk does not give it back."""
    try:
        return files.sha256(path)
    except OSError:
        return None


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
