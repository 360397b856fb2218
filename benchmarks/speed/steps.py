"""The first steps of a run as a user would start it, with everything that a run does, ended after so many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twofold.recipes import catalogue, running
from twofold.training.options import TrainingOptions
from twofold.training.progress import NullProgress


class _EnoughError(Exception):
    """Raised when the steps that are measured are done."""


class _First(NullProgress):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def update(self, record: Mapping[str, Any], *, total_steps: int, chance: float | None = None) -> None:
        if record["step"] >= self.steps:
            raise _EnoughError


def first_steps(
    recipe: str, dataset: Any, steps: int, *, options: Mapping[str, Any], training: Mapping[str, Any]
) -> Callable[[], None]:
    """A call that trains ``recipe`` for the first ``steps`` of a run with these options, networks built anew.

    Args:
        recipe: Its name.
        dataset: What it learns from.
        steps: Less than the run has.
        options: Of the recipe.
        training: Of :class:`TrainingOptions`; they say how long the whole run would be.
    """
    fixed = {"seed": 0, "precision": "float32", "workers": 0, "device": "cpu"}
    settings = TrainingOptions.checked(**fixed | dict(training))

    def call() -> None:
        model = catalogue.get(recipe)(**options)
        try:
            running.fit_dataset(model, dataset, settings, progress=_First(steps))
        except _EnoughError:
            return
        raise ValueError(f"the run has no more than {steps} steps")

    return call
