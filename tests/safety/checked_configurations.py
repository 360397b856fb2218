"""What must hold for any configuration; each check raises AssertionError where it does not. For tests and fuzzing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from odd_configurations import Faulty, known

from twofold.apps.options import from_toml
from twofold.apps.runs import merged_options
from twofold.errors import ConfigError
from twofold.options import options_of
from twofold.recipes import catalogue, running
from twofold.training.options import TrainingOptions


def outcome(function: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, list[str]]:
    """What a call gives, and the problems that it reports instead; any other error passes."""
    try:
        return function(*args, **options), []
    except ConfigError as error:
        text, problems = str(error), error.problems
    assert text.count("\n  - ") == (0 if len(problems) == 1 else len(problems)), "one message, a line a fault"
    return None, problems


def check_faulty(case: Faulty) -> None:
    """All faults of an owner stand in one message, each is named, and nothing else does."""
    recipe = catalogue.get(case.recipe)
    own = options_of(recipe)
    mine = {name: value for name, value in case.values.items() if name in own}
    others = {name: value for name, value in case.values.items() if name not in own}
    _, problems = outcome(recipe, **mine)
    if not case.faults & set(own):  # right one by one, they may still not go together
        problems = [problem for problem in problems if sum(name in problem for name in own) < 2]
    assert_named(problems, case.faults & set(own), case)
    _, problems = outcome(running.split_options, recipe(), others)
    assert_named(problems, case.faults - set(own), case)


def assert_named(problems: list[str], faults: frozenset[str] | set[str], case: Faulty) -> None:
    """As many problems as faults, and each fault is named by one."""
    assert len(problems) == len(faults), (problems, case)
    for fault in faults:
        assert any(problem.startswith(f"{fault} ") or repr(fault) in problem for problem in problems), (fault, problems)


def check_typed(recipe: str, given: dict[str, str]) -> None:
    """Values that fit their options come out, or one message."""
    options = known(recipe)
    values, problems = outcome(merged_options, recipe, given, None)
    assert len(problems) <= len(given) + 1, "those of each option, and of options together"
    if values is None:
        assert problems
        return
    assert all(options[name].problem(value) is None for name, value in values.items())
    training = {name: value for name, value in values.items() if name in options_of(TrainingOptions)}
    TrainingOptions.checked(**training).resolved(catalogue.get(recipe).training_defaults)


def check_toml(content: bytes, folder: Path) -> None:
    """A file gives values that fit, or a message that names it."""
    path = folder / "run.toml"
    path.write_bytes(content)
    options = known("mochi")
    values, problems = outcome(from_toml, path, options)
    assert all(str(path) in problem for problem in problems), problems
    assert all(options[name].problem(value) is None for name, value in (values or {}).items())
