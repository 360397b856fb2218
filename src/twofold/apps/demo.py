"""The main job on the built-in pictures: learn from them without labels, measure on held-out ones, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from twofold.apps import runs
from twofold.recipes.views.simclr import SimCLR
from twofold.training.options import TrainingOptions

SIZE = 32
RECIPE: dict[str, Any] = {"encoder": "patchnet", "temperature": 0.1}
EPOCHS = 60
"""Chosen on families held out from the training split: benchmarks/replication/simclr_emoji.py --select."""


def run(out: Path, *, command: str) -> None:
    """Train, evaluate and report in ``out``; resumes like any run."""
    click.echo("Drawings of emoji by two vendors. Whole families of similar emoji are held out for the evaluation.")
    runs.train_dataset(
        SimCLR(**RECIPE),
        ["emoji"],
        TrainingOptions(epochs=EPOCHS, batch_size=256, lr=2e-3),
        reading={"size": SIZE},
        out=out,
        quiet=False,
        command=command,
    )
