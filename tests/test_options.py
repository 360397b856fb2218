"""Signatures as configuration: derivation, checks, text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from twofold import modalities
from twofold.apps.options import all_options, from_toml
from twofold.errors import ConfigError
from twofold.options import (
    Count,
    Fraction,
    Option,
    Positive,
    PositiveInt,
    Range,
    ViewCount,
    argument_help,
    check,
    defaults,
    did_you_mean,
    options_of,
    parse,
)
from twofold.recipes import catalogue
from twofold.training.options import TrainingOptions


class Base:
    """A base.

    Args:
        size: How large
            it is.
        name: What it is called: a colon inside is no new argument.
    """

    def __init__(self, *, size: PositiveInt = 3, name: str | None = None) -> None: ...


class Middle(Base):
    """No constructor of its own.

    Args:
        size: Not this one.
    """


class Derived(Middle):
    """A subclass.

    Args:
        size: Larger.
        rate: How quick.
        kind: Which one.

    Raises:
        ConfigError: never.
    """

    def __init__(
        self, *, size: PositiveInt = 9, rate: Positive, kind: Literal["a", "b"] | None = None, **common: Any
    ) -> None: ...


class Closed(Base):
    """Takes nothing of its base."""

    def __init__(self, *, only: bool = False) -> None: ...


@dataclass
class Fields:
    """A dataclass.

    Args:
        share: Part of it.
        module: A network.
    """

    share: Annotated[float, Range(at_least=0, below=1)] = 0.5
    module: nn.Module | str | None = None


def test_a_subclass_states_only_what_is_new():
    options = options_of(Derived)
    assert list(options) == ["size", "rate", "kind", "name"]
    assert options["size"].default == 9
    assert options["size"].help == "Larger."
    assert options["name"].help == "What it is called: a colon inside is no new argument."
    assert set(options["name"].kinds) == {str, type(None)}
    assert options["kind"].choices == ("a", "b")
    assert options["rate"].range == Range(above=0)
    assert defaults(options) == {"size": 9, "kind": None, "name": None}  # rate has no default


def test_without_keywords_the_base_adds_nothing():
    assert list(options_of(Closed)) == ["only"]
    assert options_of(Middle) == options_of(Base)
    assert options_of(Base)["size"].help == "How large it is."


def test_dataclasses_and_functions():
    options = options_of(Fields)
    assert options["share"].range == Range(at_least=0, below=1)
    assert set(options["module"].kinds) == {nn.Module, str, type(None)}
    assert options["module"].problem(nn.Identity()) is None

    def function(plain, *rest, count: int = 2, free=None): ...

    found = options_of(function)
    assert set(found) == {"plain", "count", "free"}
    assert found["free"].problem(object()) is None  # what has no type hint takes anything
    assert parse(found["free"], "text") == "text"


def test_help_comes_from_the_args_section_alone():
    assert argument_help(Derived) == {"size": "Larger.", "rate": "How quick.", "kind": "Which one."}
    assert argument_help(lambda: None) == {}


PROBLEMS = [
    (Positive, 0.0, "must be above 0, got 0.0"),
    (Positive, "1", "must be float, got '1'"),
    (Positive, True, "must be float, got True"),
    (Positive, math.nan, "must be a finite number, got nan"),
    (Positive, math.inf, "must be a finite number, got inf"),
    (float, math.nan, "must be a finite number"),
    (Fraction, 1.5, "must be at least 0 and at most 1, got 1.5"),
    (PositiveInt, 2.0, "must be int, got 2.0"),
    (PositiveInt | None, 0, "must be at least 1, got 0"),
    (PositiveInt | None, "x", "must be int or None|must be None or int"),
    (ViewCount, 1, "must be at least 2, got 1"),
    (bool, 1, "must be bool, got 1"),
    (Literal["a", "b"], "c", "must be one of 'a', 'b', got 'c'"),
    (Literal["a", "b"], None, "must be one of 'a', 'b', got None"),
    (str, None, "must be str, got None"),
]
FINE = [
    (Positive, 1),
    (Positive, 1e-30),
    (Fraction, 0),
    (Fraction, 1.0),
    (PositiveInt | None, None),
    (Literal["a", "b"] | None, None),
    (Literal["a", "b"] | None, "b"),
    (Count, 0),
    (bool, False),
]


def option(hint):
    def function(*, thing): ...

    function.__annotations__["thing"] = hint
    return options_of(function)["thing"]


@pytest.mark.parametrize(("hint", "value", "message"), PROBLEMS)
def test_wrong_values_are_told_apart(hint, value, message):
    problem = option(hint).problem(value)
    assert problem is not None
    assert problem.startswith("thing must be")
    assert any(part in problem for part in message.split("|"))


@pytest.mark.parametrize(("hint", "value"), FINE)
def test_right_values_pass(hint, value):
    assert option(hint).problem(value) is None


def test_all_faults_come_in_one_message():
    with pytest.raises(ConfigError) as caught:
        check({"sise": 3, "rate": -1.0, "kind": "c", "zzz": 1}, options_of(Derived), owner="Derived")
    assert len(caught.value.problems) == 4
    text = str(caught.value)
    assert text.startswith("4 problems:")
    assert "Derived has no option 'sise'; did you mean 'size'?" in text
    assert "Derived has no option 'zzz'; there are: kind, name, rate, size." in text
    assert "rate must be above 0" in text
    with pytest.raises(ConfigError, match=r"^rate must be above 0, got 0"):
        check({"rate": 0}, options_of(Derived), owner="Derived")


def test_near_misses():
    assert did_you_mean("temprature", ["temperature", "seed"]) == "; did you mean 'temperature'?"
    assert did_you_mean("q", ["b", "a"]) == "; there are: a, b."


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()))
def test_numbers_survive_text(value):
    kind = type(value)
    hint = {int: int | None, float: float | None, bool: bool | None, type(None): float | None}[kind]
    parsed = parse(option(hint), str(value))
    assert type(parsed) is kind
    assert parsed == value


@given(st.text())
def test_text_stays_text_or_becomes_none(text):
    parsed = parse(option(str | None), text)
    assert parsed == (None if text.lower() in ("none", "") else text)
    assert parse(option(str), text) == text


def test_text_that_is_no_value():
    with pytest.raises(ConfigError, match="thing must be int, got 'many'"):
        parse(option(int), "many")
    with pytest.raises(ConfigError, match=r"got '0\.5'"):
        parse(option(PositiveInt | None), "0.5")
    with pytest.raises(ConfigError, match="got 'maybe'"):
        parse(option(bool), "maybe")
    assert parse(option(Literal["a", "b"] | None), "None") is None
    assert [parse(option(bool), word) for word in ("yes", "0", "True", "no")] == [True, False, True, False]


@pytest.mark.parametrize("name", sorted(catalogue.RECIPES))
def test_every_option_of_every_recipe_has_help_and_a_sound_default(name):
    groups = all_options(catalogue.get(name))
    everything = [(owner, o) for owner, options in groups.items() for o in options.values()]
    assert [f"{owner}.{o.name}" for owner, o in everything if not o.help] == []
    assert [o.problem(o.default) for _, o in everything if o.problem(o.default)] == []
    assert len({o.name for _, o in everything}) == len(everything), "a name must not belong to two groups"
    taken = {"out", "config", "quiet", "recipe", "source", "help"}
    assert taken & {o.name for _, o in everything} == set()
    undocumented = set(argument_help(catalogue.get(name))) - set(groups["recipe"])
    assert undocumented == set(), "documented, but no option"


def test_what_training_and_the_reader_document_is_what_they_take():
    assert set(argument_help(TrainingOptions)) == set(options_of(TrainingOptions))
    read = modalities.get("image").read
    assert set(argument_help(read)) == set(options_of(read))


def test_none_may_be_given_where_it_is_the_default():
    assert TrainingOptions.checked(optimizer=None, lr=None).optimizer is None
    with pytest.raises(ConfigError, match="optimizer must be one of 'adamw', 'adam', 'sgd', 'lars', got 'adma'"):
        TrainingOptions.checked(optimizer="adma")


def test_resolved_takes_the_recipes_wishes_unless_told_otherwise():
    wishes = {"lr": 5e-4, "weight_decay": 0.04, "grad_clip": 3.0}
    resolved = TrainingOptions().resolved(wishes)
    assert (resolved.optimizer, resolved.lr, resolved.weight_decay, resolved.grad_clip) == ("adamw", 5e-4, 0.04, 3.0)
    assert TrainingOptions(lr=1.0).resolved(wishes).lr == 1.0
    other = TrainingOptions(optimizer="sgd").resolved(wishes)
    assert (other.lr, other.weight_decay, other.grad_clip) == (0.06, 5e-4, 3.0), "rates are meant for one optimizer"
    assert TrainingOptions().resolved({"optimizer": "lars", "lr": 0.2}).lr == 0.2
    assert TrainingOptions().resolved({"optimizer": "lars"}).lr == 0.3
    assert resolved.resolved({}) == resolved


def test_epochs_and_batch_size_may_be_wished_too():
    assert (TrainingOptions().resolved({}).epochs, TrainingOptions().resolved({}).batch_size) == (100, 256)
    wished = {"epochs": 7, "batch_size": 2708}
    assert TrainingOptions(epochs=3).resolved(wished) == TrainingOptions(epochs=3, batch_size=2708).resolved({})


def known():
    return {name: o for options in all_options(catalogue.get("simclr")).values() for name, o in options.items()}


def test_toml_groups_freely(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('epochs = 3\n[model]\nprojection-dim = 16\nencoder = "mlp"\n[training]\nlr = 1\n')
    assert from_toml(path, known()) == {"epochs": 3, "projection_dim": 16, "encoder": "mlp", "lr": 1}


def test_toml_faults_are_named_with_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("epohcs = 3\ntemperature = 0\n")
    with pytest.raises(ConfigError) as caught:
        from_toml(path, known())
    assert len(caught.value.problems) == 2
    assert all(str(path) in problem for problem in caught.value.problems)
    assert "did you mean 'epochs'?" in str(caught.value)
    path.write_text("epochs = = 3")
    with pytest.raises(ConfigError, match="is no TOML file"):
        from_toml(path, known())


def test_ranges_read_well():
    assert str(Range(above=0, at_most=1)) == "above 0 and at most 1"
    assert 1 in Range(above=0, at_most=1)
    assert 0 not in Range(above=0, at_most=1)
    assert isinstance(options_of(Fields)["share"], Option)
