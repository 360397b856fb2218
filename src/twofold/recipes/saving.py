"""A trained encoder as two files: ``model.safetensors`` and ``config.json``. Loading runs no code from them."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from twofold.errors import DataError, RunError
from twofold.recipes import catalogue
from twofold.recipes.base import Recipe
from twofold.training.files import read_json, write_bytes, write_json
from twofold.version import __version__

FORMAT = 1


def configuration(recipe: Recipe) -> dict[str, Any]:
    """What is needed to build the recipe again, as plain values."""
    options = dict(recipe.options)
    for name in ("encoder", "views"):
        if options[name] is not None and not isinstance(options[name], str):
            options[name] = None
    return {
        "format": FORMAT,
        "recipe": recipe.card.name,
        "own_recipe": None if catalogue.holds(type(recipe)) else type(recipe).__qualname__,
        "options": options,
        "own_encoder": isinstance(recipe.options["encoder"], nn.Module),
        "spec": recipe.built_spec,
        "rebuild": dict(recipe.encoder.rebuild),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The versions and the machine that made a result."""
    return {
        "twofold": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def save(recipe: Recipe, folder: Path, *, extra: Mapping[str, Any] | None = None) -> Path:
    """Write the recipe's networks and configuration into a folder, each file whole or not at all.

    Args:
        recipe: A built recipe.
        folder: Made if it does not exist.
        extra: Further entries of ``config.json``, such as how it was trained.

    Returns:
        The folder.

    Raises:
        RunError: If the recipe has no networks yet.
    """
    import safetensors.torch

    config = configuration(recipe) | dict(extra or {})
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().clone().contiguous() for name, value in recipe.state_dict().items()}
    write_bytes(folder / "model.safetensors", safetensors.torch.save(state))
    write_json(folder / "config.json", config)
    return folder


def load(folder: str | Path, *, recipe: type[Recipe] | None = None, encoder: nn.Module | None = None) -> Recipe:
    """A recipe from a saved folder, ready to embed; in evaluation mode, on the CPU.

    Args:
        folder: What :func:`save` or a training run wrote.
        recipe: The recipe's class, when it is one of your own that the catalogue does not hold.
        encoder: The encoder's module, when the saved recipe was made with a module of your own.

    Raises:
        DataError: If the folder or a file of it is missing or damaged.
        RunError: If the saved recipe needs ``recipe`` or ``encoder``.
    """
    import safetensors.torch
    from safetensors import SafetensorError

    folder = Path(folder)
    config = saved_configuration(folder)
    if config["own_recipe"] and recipe is None:
        raise RunError(
            f"{folder} was made with a recipe of your own: pass its class, "
            f"load({str(folder)!r}, recipe={config['own_recipe']})."
        )
    if config["own_encoder"] and encoder is None:
        raise RunError(
            f"{folder} was made with an encoder of your own: pass its module, load({str(folder)!r}, encoder=...)."
        )
    options = config["options"] | ({"encoder": encoder} if encoder is not None else {})
    made = (recipe or catalogue.get(config["recipe"]))(**options)
    made.build(config["spec"], rebuild=config["rebuild"])
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise DataError(
            f"{folder} has no model.safetensors: its training has not finished. Resume it with its command."
        )
    try:
        made.load_state_dict(safetensors.torch.load_file(weights))
    except (SafetensorError, RuntimeError) as error:
        raise DataError(f"{weights} does not hold this recipe's weights: {error}") from error
    return made.eval()


def saved_configuration(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a folder.

    Raises:
        DataError: If there is none, or it is of another format.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise DataError(
            f"{folder} is no run folder: it has no config.json. Give the folder that `twofold train --out` made."
        )
    config = read_json(path)
    if not isinstance(config, dict) or "format" not in config or "recipe" not in config:
        raise DataError(f"{path} is another program's: {folder} is no run folder of Twofold.")
    if config["format"] != FORMAT:
        raise DataError(f"{path} has format {config['format']!r}; this version reads format {FORMAT}.")
    return config
