"""The evaluation of tables that have a number to predict."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from twofold.dataset import Dataset, Subset
from twofold.errors import ConfigError, DataError
from twofold.evaluation import Measurement, Task, stratified_split
from twofold.evaluation.regression import METRICS, PROTOCOL, errors, measure_regression
from twofold.modalities.table.data import targets_of

NAME = "regression"
_TEST_FRACTION = 0.3


def regression_task(dataset: Dataset, test: Dataset | None = None) -> Task:
    """Probes that learn the target from the rows of one part and are scored on the other.

    Args:
        dataset: Rows with a target; without ``test`` 30 % of them, drawn once for all, are the test.
        test: Rows with a target.

    Raises:
        DataError: If one of them has none.
    """
    if test is None:
        split = stratified_split(
            torch.full((len(dataset),), -1),
            generator=torch.Generator().manual_seed(0),
            test_fraction=_TEST_FRACTION,
        )
        words = f"{1 - _TEST_FRACTION:.0%} / {_TEST_FRACTION:.0%} at random, seed 0"
        dataset, test = Subset(dataset, split.train), Subset(dataset, split.test)
    else:
        words = "training and test given apart"
    known, asked = _targets(dataset, "training"), _targets(test, "test")

    def measure(rows: Mapping[str, Tensor]) -> dict[str, Measurement]:
        return measure_regression(rows["train"], known, rows["test"], asked)

    def constant() -> dict[str, Measurement]:
        scored = asked[asked.isfinite()]
        guess = known[known.isfinite()].mean().expand(len(scored))
        return errors(guess, scored, prefix="ridge_") | errors(guess, scored, prefix="knn_")

    return Task(
        name=NAME,
        sides={"train": dataset, "test": test},
        measure=measure,
        metrics=METRICS,
        protocol={"split": words} | PROTOCOL,
        chance={"ridge_r2": 0.0, "knn_r2": 0.0},
        baselines={"training mean": constant},
    )


def check_task(name: str | None) -> None:
    """Raise a ConfigError if there is no task of that name."""
    if name not in (None, NAME):
        raise ConfigError(f"There is no task {name!r} for table: there is {NAME!r}, or without task the labels.")


def _targets(dataset: Dataset, part: str) -> Tensor:
    targets = targets_of(dataset)
    if targets is None:
        raise DataError(f"the {part} part has no numbers to predict: name their column with target_column")
    return targets
