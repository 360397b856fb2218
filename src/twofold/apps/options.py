"""The command line's options, derived from a recipe's signature, its modality's reader and the training options."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from torch import nn

from twofold import modalities
from twofold.errors import ConfigError
from twofold.options import Option, did_you_mean, options_of, parse
from twofold.recipes import catalogue
from twofold.recipes.base import Recipe
from twofold.training.options import TrainingOptions


def chosen_modality(recipe: type[Recipe], given: Mapping[str, Any], config: Path | None) -> str:
    """The modality of a training command: that of the command line, of the file, or the recipe's own.

    A name that does not exist gives the recipe's own: it is reported with all other faults.
    """
    name = given.get("modality")
    if name is None and config is not None and config.is_file():
        try:
            content = tomllib.loads(config.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            content = {}  # reported where the options are read
        parts = [content, *(part for part in content.values() if isinstance(part, dict))]
        name = next((part["modality"] for part in parts if "modality" in part), None)
    return name if isinstance(name, str) and name in modalities.MODALITIES else recipe.home()


def all_options(recipe: type[Recipe], modality: str = modalities.DEFAULT) -> dict[str, dict[str, Option]]:
    """Every option of a training command, by whom it belongs to: ``recipe``, ``data``, ``training``."""
    reading = options_of(modalities.get(modality).read)
    return {
        "recipe": options_of(recipe),
        "data": {name: option for name, option in reading.items() if name not in ("self", "source")},
        "training": options_of(TrainingOptions),
    }


class DerivedOption(click.Option):
    """A click option made from an :class:`Option`; values stay text, so that all faults are
    reported together by :func:`twofold.apps.runs.merged_options`, and an option that is not given has none."""

    derived = True

    def __init__(self, option: Option, owner: str) -> None:
        default = None if option.default is inspect.Parameter.empty else option.default
        words = [option.help.rstrip("."), f"({owner}; default {'none' if default is None else default})"]
        flag = option.name.replace("_", "-")
        super().__init__(
            [f"--{flag}", option.name],
            help=" ".join(word for word in words if word),
            metavar="|".join(option.choices) or _metavar(option),
            default=None,
        )


def _metavar(option: Option) -> str:
    kinds = [kind.__name__ for kind in option.kinds if kind not in (type(None), nn.Module)]
    return "|".join(kinds).upper()


def command_options(recipe: str, modality: str = modalities.DEFAULT) -> list[click.Parameter]:
    """The click options of ``twofold train RECIPE --modality MODALITY``."""
    return [
        DerivedOption(option, owner)
        for owner, options in all_options(catalogue.get(recipe), modality).items()
        for option in options.values()
    ]


def from_toml(path: Path, known: Mapping[str, Option]) -> dict[str, Any]:
    """Options from a TOML file; tables group them freely, names may be written with dashes.

    Raises:
        ConfigError: If the file is no TOML, or names options that do not exist.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from error
    values: dict[str, Any] = {}
    for name, value in content.items():
        values |= value if isinstance(value, dict) else {name: value}
    values = {name.replace("-", "_"): value for name, value in values.items()}
    problems = [
        f"{path}: there is no option {name!r}{did_you_mean(name, known)}" for name in values if name not in known
    ]
    problems += [f"{path}: {p}" for n, v in values.items() if n in known and (p := known[n].problem(v))]
    if problems:
        raise ConfigError(problems)
    return values


def words_and_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words of a command line that are no options, and its ``--name value`` and ``--name=value`` options."""
    names, extra, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            names.append(word)
            continue
        extra += [word] if "=" in word or not rest else [word, rest.pop(0)]
    return names, extra


def pairs_of(words: Sequence[str], problems: list[str]) -> Iterable[tuple[str, str]]:
    """Name and text of each option; what is none goes to ``problems``."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or (not equals and not rest):
            problems.append(f"{word!r} is no option with a value; write --name value.")
            continue
        yield flag.replace("-", "_") if "." not in flag else _after_dot(flag), text if equals else rest.pop(0)


def _after_dot(flag: str) -> str:
    """Recipe names keep their dashes; option names have underscores."""
    name, _, option = flag.partition(".")
    return f"{name}.{option.replace('-', '_')}"


def put(
    values: dict[str, Any], key: str, text: str, known: Mapping[str, Option], problems: list[str], *, owner: str
) -> None:
    """Parse an option into ``values``; what is wrong with it goes to ``problems``."""
    if key not in known:
        problems.append(f"{owner} has no option {key!r}{did_you_mean(key, known)}")
        return
    try:
        values[key] = parse(known[key], text)
    except ConfigError as error:
        problems.extend(error.problems)
        return
    if problem := known[key].problem(values[key]):
        problems.append(problem)


def reading_options(modality: str, words: Sequence[str], *, beside: Sequence[str] = ()) -> dict[str, Any]:
    """Reading options of a modality from ``--name value`` words.

    Args:
        modality: Its name.
        words: Of the command line.
        beside: The command's own options, which may have been meant.

    Raises:
        ConfigError: Naming all unknown or wrong options.
    """
    known = {name: o for name, o in options_of(modalities.get(modality).read).items() if name not in ("self", "source")}
    problems: list[str] = []
    values: dict[str, Any] = {}
    for name, text in pairs_of(words, problems):
        if name in known:
            put(values, name, text, known, problems, owner=f"reading {modality}")
        else:
            flags = [f"--{option.replace('_', '-')}" for option in (*known, *beside)]
            problems.append(f"There is no option --{name.replace('_', '-')}{did_you_mean(f'--{name}', flags)}")
    if problems:
        raise ConfigError(problems)
    return values
