"""A trained encoder as two files: ``model.safetensors`` and ``config.json``. Loading runs no code from them.

Either may come from somebody else. So nothing that the configuration names is imported or fetched, and before networks
are built for real, they are built without memory and compared with the weights.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from twofold.errors import DataError, MissingExtraError, RunError
from twofold.limits import check_memory
from twofold.recipes import catalogue
from twofold.recipes.base import Recipe
from twofold.training.files import read_json, write_bytes, write_json
from twofold.version import __version__

FORMAT = 1
_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "recipe": str,
    "own_recipe": (str, NoneType),
    "own_encoder": bool,
    "options": dict,
    "spec": dict,
    "rebuild": dict,
    "versions": dict,
}
"""Entries of every configuration, and their types."""
_MAYBE: dict[str, type] = {
    "training": dict,
    "reading": dict,
    "result": dict,
    "source": list,
    "command": str,
    "started": str,
    "samples": int,
}
"""Those that a training run adds."""


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
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise DataError(
            f"{folder} has no model.safetensors: its training has not finished. Resume it with its command."
        )
    check_memory(2 * weights.stat().st_size, str(weights))
    try:
        state = safetensors.torch.load_file(weights)
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{weights} does not hold this recipe's weights: {error}. Only safetensors files are read, since a pickle "
            "can run any code."
        ) from error
    return rebuild(config, state, origin=folder, recipe=recipe, encoder=encoder).eval()


def rebuild(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    *,
    origin: Path,
    recipe: type[Recipe] | None = None,
    encoder: nn.Module | None = None,
) -> Recipe:
    """A recipe from its configuration and its state dict, on the CPU; arguments and errors are those of :func:`load`.

    Args:
        config: As of :func:`configuration`.
        state: The state dict.
        origin: Where both come from, for messages.
        recipe: See :func:`load`.
        encoder: See :func:`load`.
    """
    _check_contents(config, origin)
    own, name = config["own_recipe"], config["options"].get("encoder")
    if recipe is None and (own or config["recipe"] not in catalogue.RECIPES):
        raise RunError(
            f"{origin} was made with a recipe that the catalogue does not hold, {own or config['recipe']!r}, and names "
            f"in files are not imported: pass its class, recipe={own or '...'}."
        )
    if encoder is None and config["own_encoder"]:
        raise RunError(f"{origin} was made with an encoder of your own: pass its module, encoder=...")
    if encoder is None and isinstance(name, str) and ":" in name and not config["rebuild"]:
        raise RunError(
            f"{origin} names the encoder {name!r} without the facts that it is built from again, and loading fetches "
            "nothing: make that encoder yourself, and pass it, encoder=..."
        )
    options = config["options"] | ({"encoder": encoder} if encoder is not None else {})
    cls = recipe or catalogue.named(config["recipe"])
    if recipe is None and encoder is None:  # modules of one's own need not work without memory
        _check_fits(cls, config, state, origin)
    made = cls(**options)
    made.build(config["spec"], rebuild=config["rebuild"])
    _take(made, state, origin)
    return made


def _take(recipe: Recipe, state: Mapping[str, Tensor], origin: Path, *, assign: bool = False) -> None:
    try:
        recipe.load_state_dict(dict(state), assign=assign)
    except RuntimeError as error:
        raise DataError(f"{origin} does not hold this recipe's weights: {_beginning(error)}") from error


def _check_fits(cls: type[Recipe], config: Mapping[str, Any], state: Mapping[str, Tensor], origin: Path) -> None:
    """Build the recipe on torch's device without memory, and see whether it is the one whose weights these are.

    Raises:
        DataError: If it cannot be built, or is larger than, or other than, the weights.
    """
    try:
        with torch.device("meta"), _Undrawn(), _at_most(state, origin):
            made = cls(**config["options"]).build(config["spec"], rebuild=config["rebuild"])
    except (DataError, RunError, MissingExtraError):
        raise
    except Exception as error:  # whatever a builder raises for facts that are none
        raise DataError(f"{origin} has a configuration from which nothing can be built: {_beginning(error)}") from error
    _take(made, state, origin, assign=True)


class _Undrawn(TorchFunctionMode):
    """Leaves out draws from a normal distribution on the device without memory.

    There is nothing to be drawn, and torch imports some 800 modules to find that out: seconds, every time.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.Tensor.normal_, nn.init.normal_):
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


def _beginning(error: BaseException) -> str:
    """The first 1000 characters of a message: torch lists every tensor that does not fit."""
    text = str(error)
    return text if len(text) <= 1000 else f"{text[:1000]} ..."


@contextlib.contextmanager
def _at_most(state: Mapping[str, Tensor], origin: Path) -> Iterator[None]:
    """Stop networks that are being built from becoming much larger than the weights that are there for them."""
    # Twice and a bit: a classifier may be made and dropped again, tied weights are stored once.
    numbers = 2 * sum(tensor.numel() for tensor in state.values()) + 2**24
    tensors = 4 * len(state) + 2**12

    def count(module: nn.Module, name: str, value: Tensor | None) -> None:
        nonlocal numbers, tensors
        numbers -= 0 if value is None else value.numel()
        tensors -= 1
        if min(numbers, tensors) < 0:
            raise DataError(
                f"{origin} has a configuration that asks for networks much larger than its weights, which have "
                f"{sum(tensor.numel() for tensor in state.values()):,} numbers: it is damaged, or was made to mislead."
            )

    hooks = [register_module_parameter_registration_hook(count), register_module_buffer_registration_hook(count)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def saved_configuration(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a folder.

    Raises:
        DataError: If there is none, it is of another format, or an entry is missing or of the wrong type.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise DataError(
            f"{folder} is no run folder: it has no config.json. Give the folder that `twofold train --out` made."
        )
    check_memory(16 * path.stat().st_size, str(path))
    try:
        config = read_json(path)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits; nested too deeply
        raise DataError(f"{path} is damaged, or was made to mislead: {error}.") from error
    if not isinstance(config, dict) or "format" not in config or "recipe" not in config:
        raise DataError(f"{path} is another program's: {folder} is no run folder of Twofold.")
    if config["format"] != FORMAT:
        raise DataError(f"{path} has format {config['format']!r}; this version reads format {FORMAT}.")
    _check_contents(config, folder)
    return config


def _check_contents(config: Mapping[str, Any], origin: Path) -> None:
    """Raise a DataError that names every entry of a configuration that is missing or of the wrong type."""
    problems = [name for name, kinds in _ENTRIES.items() if name not in config or not isinstance(config[name], kinds)]
    problems += [name for name, kind in _MAYBE.items() if name in config and not isinstance(config[name], kind)]
    if problems:
        raise DataError(
            f"{origin} has a configuration that is damaged, or was made to mislead: {', '.join(problems)} "
            f"{'is' if len(problems) == 1 else 'are'} missing or of the wrong type."
        )
