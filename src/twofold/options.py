"""A signature is a configuration: keyword arguments, their types, ranges, defaults and help, for every front door.

The command line, the saved configuration, the docs and the checks all read the same thing: the keyword arguments of
a constructor (or the fields of a dataclass) and the ``Args:`` section of its docstring.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from twofold.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Bounds of a number, for use in ``Annotated``: ``Annotated[float, Range(above=0)]``."""

    above: float = -math.inf
    at_least: float = -math.inf
    below: float = math.inf
    at_most: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.above < value < self.below and self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        words = {"above": self.above, "at least": self.at_least, "below": self.below, "at most": self.at_most}
        return " and ".join(f"{word} {bound:g}" for word, bound in words.items() if math.isfinite(bound))


Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(at_least=0)]
Fraction = Annotated[float, Range(at_least=0, at_most=1)]
PositiveInt = Annotated[int, Range(at_least=1)]
Count = Annotated[int, Range(at_least=0)]
ViewCount = Annotated[int, Range(at_least=2)]


@dataclass(frozen=True)
class Option:
    """One keyword argument."""

    name: str
    kinds: tuple[type, ...]
    """Accepted Python types; ``type(None)`` among them when None is allowed."""
    default: Any
    range: Range
    choices: tuple[str, ...]
    help: str

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, or None."""
        if value is None and type(None) in self.kinds:
            return None
        if self.choices:
            known = ", ".join(map(repr, self.choices))
            return None if value in self.choices else f"{self.name} must be one of {known}, got {value!r}."
        allowed = (*self.kinds, int) if float in self.kinds else self.kinds
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in self.kinds)
            return f"{self.name} must be {names}, got {value!r}."
        if isinstance(value, float) and not math.isfinite(value):
            return f"{self.name} must be a finite number, got {value!r}."
        if isinstance(value, int | float) and not isinstance(value, bool) and value not in self.range:
            return f"{self.name} must be {self.range}, got {value!r}."
        return None


def options_of(target: Callable[..., Any]) -> dict[str, Option]:
    """The keyword options of a function, a dataclass or a class.

    A class whose constructor takes ``**keywords`` adds the options of the next class in its resolution order, so a
    subclass states only what is new or has another default.
    """
    sources = [c for c in target.__mro__ if "__init__" in vars(c)] if inspect.isclass(target) else [target]
    found: dict[str, Option] = {}
    for source in sources:
        function = source.__init__ if inspect.isclass(source) else source
        hints = typing.get_type_hints(function, include_extras=True)
        if inspect.isclass(source) and hasattr(source, "__dataclass_fields__"):
            hints = typing.get_type_hints(source, include_extras=True)
        help_texts = argument_help(source)
        parameters = inspect.signature(function).parameters.values()
        own = {p.name: p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        for name, parameter in own.items():
            if name != "self" and name not in found:
                found[name] = _option(parameter, hints.get(name, Any), help_texts.get(name, ""))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _option(parameter: inspect.Parameter, hint: Any, help_text: str) -> Option:
    bounds, choices = Range(), ()
    kinds: list[Any] = []
    pending = [hint]
    while pending:
        part = pending.pop(0)
        origin = get_origin(part)
        if origin is Annotated:
            inner, *notes = get_args(part)
            bounds = next((note for note in notes if isinstance(note, Range)), bounds)
            pending.append(inner)
        elif origin in (typing.Union, types.UnionType):
            pending.extend(get_args(part))
        elif origin is Literal:
            choices = get_args(part)
            kinds.append(str)
        elif origin is not None:
            kinds.append(origin)
        else:
            kinds.append(object if part is Any else part)
    return Option(parameter.name, tuple(kinds), parameter.default, bounds, choices, help_text)


_ARGUMENT = re.compile(r"^(\w+): (.*)$")


def argument_help(target: Callable[..., Any]) -> dict[str, str]:
    """The texts of a docstring's ``Args:`` section by argument, on one line each."""
    texts: dict[str, str] = {}
    name, inside = "", False
    for line in inspect.cleandoc(target.__doc__ or "").splitlines():
        if not line.startswith(" "):
            if line.strip():
                inside = line.strip() == "Args:"
            continue
        if not inside:
            continue
        match = _ARGUMENT.match(line[4:]) if not line.startswith(" " * 5) else None
        if match:
            name = match[1]
            texts[name] = match[2]
        elif name:
            texts[name] += " " + line.strip()
    return texts


def check(values: Mapping[str, Any], options: Mapping[str, Option], *, owner: str) -> None:
    """Check values against options and report everything that is wrong at once.

    Args:
        values: What was given.
        options: What there is.
        owner: Whose options they are, for the message ("SimCLR", "training").

    Raises:
        ConfigError: Naming each unknown option (with the nearest known one), wrong type and value out of range.
    """
    if problems := problems_of(values, options, owner=owner):
        raise ConfigError(problems)


def problems_of(values: Mapping[str, Any], options: Mapping[str, Option], *, owner: str) -> list[str]:
    """All that is wrong with ``values``, one sentence each; see :func:`check`."""
    problems = []
    for name, value in values.items():
        if name not in options:
            problems.append(f"{owner} has no option {name!r}{did_you_mean(name, options)}")
        elif problem := options[name].problem(value):
            problems.append(problem)
    return problems


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` when something is near, else the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; there are: {', '.join(known)}."


def parse(option: Option, text: str) -> Any:
    """A value from text, as the command line and ``--config`` files give it.

    Raises:
        ConfigError: If the text is no value of the option's type.
    """
    if text.lower() in ("none", "") and type(None) in option.kinds:
        return None
    for kind in (bool, int, float):
        if kind in option.kinds and (value := _number(kind, text)) is not None:
            return value
    if str in option.kinds or object in option.kinds:
        return text
    names = " or ".join("none" if kind is type(None) else kind.__name__ for kind in option.kinds)
    raise ConfigError(f"{option.name} must be {names}, got {text!r}.")


def _number(kind: type, text: str) -> bool | int | float | None:
    if kind is bool:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(text.lower())
    try:
        return kind(text)
    except ValueError:
        return None


def defaults(options: Mapping[str, Option]) -> dict[str, Any]:
    """The default of every option that has one."""
    return {name: o.default for name, o in options.items() if o.default is not inspect.Parameter.empty}
