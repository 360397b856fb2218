"""Configurations that are right, wrong in known ways, and wild: hypothesis strategies for tests and fuzzing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from twofold.apps.options import all_options
from twofold.options import Option
from twofold.recipes import catalogue

NAMES = sorted(name for name in catalogue.RECIPES if "any" in catalogue.get(name).card.modalities)
NOT_OPTIONS = ("learning_rate", "batchsize", "temprature", "Epochs", "xyz", "view-count", "__class__", "")
FREE_TEXT = {"encoder", "modality", "views", "device", "column", "label_column", "split"}
"""Options that any text is a value for, until there is data."""


@dataclass(frozen=True)
class Faulty:
    """A configuration and the names of its faults."""

    recipe: str
    values: dict[str, Any]
    faults: frozenset[str]


def known(recipe: str) -> dict[str, Option]:
    """All options of training a recipe, by name."""
    return {name: o for group in all_options(catalogue.get(recipe)).values() for name, o in group.items()}


def right(option: Option) -> st.SearchStrategy[Any]:
    """Values that an option takes."""
    choices: list[st.SearchStrategy[Any]] = []
    if option.choices:
        choices.append(st.sampled_from(option.choices))
    elif bool in option.kinds:
        choices.append(st.booleans())
    elif int in option.kinds:
        low = max(option.range.at_least, option.range.above + 1, -1000)
        choices.append(st.integers(int(low), int(min(option.range.at_most, low + 1000))))
    elif float in option.kinds:
        choices.append(st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda value: value in option.range))
    if type(None) in option.kinds:
        choices.append(st.none())
    return st.one_of(choices) if choices else st.just(option.default)


def wrong(option: Option) -> st.SearchStrategy[Any]:
    """Values that an option must refuse."""
    odd: list[Any] = [[1], {"a": 1}, b"x", object(), complex(1, 2), math.nan, math.inf, -math.inf]
    if not ({str, object} & set(option.kinds)) or option.choices:
        odd += ["text", "", "1e", "∞"]
    if type(None) not in option.kinds:
        odd.append(None)
    if bool not in option.kinds:
        odd.append(True)
    if int in option.kinds and float not in option.kinds:
        odd += [0.5, 1e300]
    for bound in (option.range.at_least - 1, option.range.above, option.range.at_most + 1, option.range.below):
        if math.isfinite(bound) and (int in option.kinds or float in option.kinds):
            odd.append(int(bound) if float not in option.kinds else float(bound))
    return st.sampled_from(odd)


@st.composite
def faulty(draw: st.DrawFn, recipe: st.SearchStrategy[str] | None = None) -> Faulty:
    """A configuration with one to six known faults, among options that are right."""
    name = draw(st.sampled_from(NAMES) if recipe is None else recipe)
    options = {n: o for n, o in known(name).items() if n not in FREE_TEXT}
    chosen = draw(st.lists(st.sampled_from(sorted(options)), min_size=1, max_size=8, unique=True))
    spoilt = draw(st.lists(st.sampled_from(chosen), max_size=5, unique=True))
    strangers = draw(st.lists(st.sampled_from(NOT_OPTIONS), min_size=0 if spoilt else 1, max_size=2, unique=True))
    values = {n: draw(wrong(options[n]) if n in spoilt else right(options[n])) for n in chosen}
    values |= dict.fromkeys(strangers, 1)
    return Faulty(name, values, frozenset(spoilt) | frozenset(strangers))


def texts() -> st.SearchStrategy[str]:
    """What may be typed behind an option."""
    numbers = st.one_of(st.integers().map(str), st.floats().map(str))
    odd = st.sampled_from(["", "none", "None", "true", "-1", "1e400", "0x10", "1_000", "٣", "nan", "[1]", "\x00", "--"])
    return st.one_of(numbers, odd, st.text(max_size=12))


@st.composite
def typed(draw: st.DrawFn) -> tuple[str, dict[str, str]]:
    """A recipe, and anything typed behind some of its options."""
    name = draw(st.sampled_from(NAMES))
    options = draw(st.lists(st.sampled_from(sorted(known(name))), min_size=1, max_size=6, unique=True))
    return name, {option: draw(texts()) for option in options}


@st.composite
def toml(draw: st.DrawFn) -> bytes:
    """A configuration file: right, then spoilt; or anything."""
    name = draw(st.sampled_from(NAMES))
    options = {n: o for n, o in known(name).items() if n not in FREE_TEXT}
    chosen = draw(st.lists(st.sampled_from(sorted(options)), max_size=6, unique=True))
    lines = []
    for option in chosen:
        value = draw(st.one_of(right(options[option]), st.sampled_from([[1], {"x": 1}, "text", -1, 1e9])))
        lines.append(f"{option} = {_toml(value)}")
    if draw(st.booleans()):
        lines.insert(len(lines) // 2, draw(st.sampled_from(["[training]", "[a.b]", "[[x]]", "= 3", "é = 'x'", "a = "])))
    content = "\n".join(lines).encode()
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(content)))
        content = content[:place] + draw(st.binary(max_size=3)) + content[place + draw(st.integers(0, 3)) :]
    return content


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return str(value)
