"""SimCLR on the built-in emoji: how much better than the untrained encoder and the raw pixels, over several seeds.

    python benchmarks/replication/simclr_emoji.py --out runs/simclr-emoji --jobs 2

Settings are chosen on families of emoji held out from the training split (``--select``; seed 0, mean of kNN accuracy
and retrieval mAP); the test split is read only for the settings chosen, which are those of ``twofold demo``.
Finished runs are kept in ``--out``. Writes ``results.json`` and ``table.md`` there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

CANDIDATES: tuple[dict[str, Any], ...] = (
    {"encoder": "patchnet", "temperature": 0.1, "epochs": 40},
    {"encoder": "patchnet", "temperature": 0.2, "epochs": 40},
    {"encoder": "patchnet", "temperature": 0.5, "epochs": 40},
    {"encoder": "patchnet", "temperature": 0.2, "epochs": 40, "views": "simclr-strong"},
    {"encoder": "convnet-w16", "temperature": 0.2, "epochs": 40},
    {"encoder": "resnet18-w16", "temperature": 0.2, "epochs": 10},
)
"""About the same computing time each."""
SHOWN = ("knn", "linear", "recall_at_1", "recall_at_5", "map")


def run(out: Path, name: str, settings: dict[str, Any], seed: int, part: str) -> dict[str, Any]:
    """Train and measure once; the values by row and metric. Kept in ``out``."""
    import torch

    import twofold
    from twofold.recipes import measuring, running
    from twofold.training.options import TrainingOptions
    from twofold.training.progress import NullProgress

    path = out / f"{name}.json"
    if path.is_file():
        return dict(json.loads(path.read_text()))
    torch.set_num_threads(1)
    train, test = splits(part)
    own = {key: value for key, value in settings.items() if key != "epochs"}
    model = twofold.SimCLR(**own)
    options = TrainingOptions(epochs=settings["epochs"], batch_size=256, lr=2e-3, seed=seed, precision="bf16")
    result = running.fit_dataset(model, train, options.resolved({}), progress=NullProgress())
    report = measuring.evaluate(model, train, test=test, keys="code", metrics=("knn", "linear", "retrieval"), seed=seed)
    values = {row.name: {key: m.value for key, m in row.metrics.items()} for row in report.rows}
    path.write_text(json.dumps(values | {"seconds": result.seconds}))
    return values | {"seconds": result.seconds}


def splits(part: str) -> tuple[Any, Any]:
    """Training and test split; or for ``validation`` the training split, divided by families."""
    import torch

    import twofold
    from twofold.evaluation import stratified_split

    train = twofold.data.emoji("train")
    if part == "test":
        return train, twofold.data.emoji("test")
    split = stratified_split(train.labels, generator=torch.Generator().manual_seed(0), groups=train.family)
    return train.subset(split.train), train.subset(split.test)


def table(runs: list[dict[str, Any]]) -> str:
    """Mean ± standard deviation over seeds, as Markdown."""
    from twofold.evaluation import METRICS

    lines = ["| | " + " | ".join(METRICS[key].title for key in SHOWN) + " |", "| --- |" + " ---: |" * len(SHOWN)]
    names = {"trained": "SimCLR, trained", "untrained": "same encoder, untrained", "raw": "raw pixels, standardized"}
    for row, name in names.items():
        cells = []
        for key in SHOWN:
            values = [100 * one[row][key] for one in runs]
            cells.append(f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/simclr-emoji"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--select", action="store_true", help="only compare the candidates on validation families")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        if arguments.select:
            jobs = [pool.submit(run, out, f"select-{i}", c, 0, "validation") for i, c in enumerate(CANDIDATES)]
            for candidate, job in zip(CANDIDATES, jobs, strict=True):
                trained = job.result()["trained"]
                score = (trained["knn"] + trained["map"]) / 2
                print(f"{score:.3f}  knn {trained['knn']:.3f}  map {trained['map']:.3f}  {candidate}", flush=True)
            return
        from twofold.apps.demo import EPOCHS, RECIPE

        settings = RECIPE | {"epochs": EPOCHS}
        jobs = [pool.submit(run, out, f"seed-{s}", settings, s, "test") for s in range(arguments.seeds)]
        runs = [job.result() for job in jobs]
    text = table(runs)
    (out / "table.md").write_text(text + "\n")
    (out / "results.json").write_text(json.dumps({"settings": settings, "runs": runs}, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
