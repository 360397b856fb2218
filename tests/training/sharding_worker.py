"""Runs of two processes, split and not: torchrun --nproc-per-node 2 sharding_worker.py FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

import twofold
from twofold.recipes import catalogue, running
from twofold.training import distributed, sharding
from twofold.training.options import TrainingOptions

HEADS = {
    "simclr": {},
    "moco-v2": {"queue_size": 64, "hidden_dim": 32, "projection_dim": 16},
    "byol": {"hidden_dim": 32, "projection_dim": 16},
    "dino": {"prototypes": 32, "hidden_dim": 32, "bottleneck_dim": 16},
}
COMMON = {
    "epochs": 2,
    "batch_size": 48,
    "precision": "float32",
    "workers": 0,
    "seed": 3,
    "optimizer": "sgd",
    "lr": 0.02,
}
CASES = {
    **{name: (name, {"grad_clip": 1.0}) for name in HEADS},
    "adamw": ("simclr", {"optimizer": "adamw", "lr": 1e-3, "checkpoint_steps": 3}),
    "lars": ("byol", {"optimizer": "lars"}),
    "micro-batches": ("simclr", {"micro_batch": 8}),
}


class Cut(BaseException):
    """Ends a run in the middle, on all processes at the same step."""


def fit(name: str, out: Path, *, stop_after: int | None = None, **options):
    recipe = catalogue.get(name)(encoder="convnet-w16", **HEADS[name])
    if stop_after:
        original, steps = recipe.after_step, []

        def after_step(outputs, batch):
            original(outputs, batch)
            steps.append(batch)
            if len(steps) > stop_after:
                raise Cut

        recipe.after_step = after_step
    dataset = twofold.data.digits("train").subset(torch.arange(96))
    settings = TrainingOptions.checked(**(COMMON | options)).resolved({})
    result = running.fit_dataset(recipe, dataset, settings, out=out)
    return recipe, result


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    sharding.SMALLEST_UNIT = 100  # so that the parts of a small encoder are units of their own
    dataset = twofold.data.digits("test").subset(torch.arange(50))
    with distributed.processes("cpu") as process:
        report = {}
        for case, (name, options) in CASES.items():
            for shard in (False, True):
                recipe, result = fit(name, folder / f"{case}-{shard}", shard=shard, **options)
                kinds = {type(value).__name__ for value in recipe.state_dict().values()}
                report[f"{case}-{shard}"] = {"kinds": sorted(kinds), "steps": result.steps}
        try:
            fit("moco-v2", folder / "cut", stop_after=2, shard=True, grad_clip=1.0, checkpoint_steps=1)
        except Cut:
            report["cut"] = True
        recipe, _ = fit("moco-v2", folder / "cut", shard=True, grad_clip=1.0, checkpoint_steps=1)
        vectors = running.embed(recipe, dataset, batch_size=7)
        if process.is_main:
            torch.save({"rows": vectors.rows, "index": vectors.index}, folder / "vectors.pt")
            (folder / "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    distributed.leave(0)
