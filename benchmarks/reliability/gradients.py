"""Is the gradient of several processes that of one? Every objective, every rule of the gather, DDP and FSDP2.

    python benchmarks/reliability/gradients.py

Starts 1, 2 and 4 processes on this machine (gloo, float64), each with its share of one small batch, and compares loss
and gradients, averaged over the processes, with those of one process that has the whole batch. The processes and the
objectives are those of the tests: ``tests/contrast/gather_worker.py``. Takes a minute or two.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "contrast"))

WORLDS = (1, 2, 4)
WAYS = {
    "ours": "backward pass of the gather: the sum of what all processes ask of a row; gradients are then averaged",
    "own part only": "wrong: a process keeps the gradient that its own loss gives to its own rows, no exchange",
    "mean": "wrong: the mean over processes instead of the sum",
    "no gradient": "wrong: gathered candidates are constants",
    "no gather": "wrong: a process sees its own rows only",
    "DistributedDataParallel": "ours, the encoder wrapped by torch's DistributedDataParallel",
    "fully_shard": "ours, the encoder split over the processes by torch's fully_shard (FSDP2)",
    "gradient cache": "ours, in micro-batches of 3 samples a process",
    "gradient cache, DistributedDataParallel": "both",
    "gradient cache, fully_shard": "both",
}
MEASURES = ("loss ratio", "encoder norm ratio", "encoder cosine", "temperature ratio")
"""Each is 1 where the processes together equal one."""


def measure(worlds: tuple[int, ...] = WORLDS) -> dict[str, Any]:
    """All figures: ``rows`` (one for each number of processes, way and objective) and ``worst`` of all objectives.

    Args:
        worlds: Numbers of processes to try.
    """
    import gather_worker  # type: ignore[import-not-found]
    import torch

    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    worst: list[dict[str, Any]] = []
    for world in worlds:
        with tempfile.TemporaryDirectory() as folder:
            results = gather_worker.start(Path(folder), {world: list(WAYS)})[world]
        for way in WAYS:
            found = [
                {"processes": world, "way": way, "objective": case.name}
                | gather_worker.compare(results[way][case.name], case)
                for case in gather_worker.ALL_CASES
            ]
            rows += found
            worst.append(summarised(found))
            print(line(worst[-1]), flush=True)
    return {
        "protocol": {
            "processes": list(worlds),
            "backend": "gloo",
            "dtype": "float64",
            "samples": gather_worker.SAMPLES,
            "encoder": str(gather_worker.make_encoder()).replace("\n", " "),
            "reference": "one process, the whole batch, no gather",
            "ratio": "of the mean over processes to the reference; 1 is exact",
        },
        "ways": WAYS,
        "objectives": [case.name for case in gather_worker.ALL_CASES],
        "worst": worst,
        "rows": rows,
        "machine": {
            "platform": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "torch": str(torch.__version__),
        },
        "seconds": time.monotonic() - began,
    }


def summarised(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one number of processes and one way: each measure's value farthest from 1, whose it is, and the median."""
    summary: dict[str, Any] = {"processes": rows[0]["processes"], "way": rows[0]["way"]}
    for name in MEASURES:
        having = [row for row in rows if name in row]
        row = max(having, key=lambda row: abs(row[name] - 1))
        summary[name] = {
            "value": row[name],
            "off_by": abs(row[name] - 1),
            "objective": row["objective"],
            "median": statistics.median(row[name] for row in having),
        }
    return summary


def line(summary: dict[str, Any]) -> str:
    """One row of the short table, as text."""
    found = {name: summary[name] for name in MEASURES}
    cells = [
        f"{name} {x['value']:.3f} (off by {x['off_by']:.0e}; median {x['median']:.3f})" for name, x in found.items()
    ]
    return f"W = {summary['processes']}, {summary['way']}: {', '.join(cells)}"


def main() -> None:
    """Measure and write ``results/gradients.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one and two processes only; writes nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gradients.json")
    arguments = parser.parse_args()
    if arguments.quick:
        measure((1, 2))
        return
    result = measure()
    from twofold.training.files import write_json

    write_json(arguments.out, result)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
