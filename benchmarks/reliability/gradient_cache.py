"""What the gradient cache costs and saves: time and memory of a training step in micro-batches and in one piece.

    python benchmarks/reliability/gradient_cache.py

A step of SimCLR: networks, loss over all samples of the batch, backward pass, optimizer. Time: all settings take turns
in one process with one thread, and ratios to the whole batch are taken within a turn, of processor time (which other
programs on the machine hardly change) and of the wall clock. Memory: one step in a fresh process for each setting; by
how much it raises the process's peak of resident memory. The views of the whole batch exist before and are not counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ENCODER, SIZE = "resnet18-w16", 32
MICRO_BATCHES = (None, 256, 128, 64, 32)
"""None is the whole batch at once."""


class Steps:
    """Training steps of a new SimCLR on one batch of random pictures, two views of each."""

    def __init__(self, batch_size: int) -> None:
        import torch

        import twofold

        torch.set_num_threads(1)
        torch.manual_seed(0)
        spec = {"modality": "image", "channels": 3, "size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}
        self.recipe = twofold.SimCLR(encoder=ENCODER).build(spec | {"samples": batch_size}).train()
        self.optimizer = torch.optim.AdamW(self.recipe.parameters())
        self.views = [torch.rand(batch_size, 3, SIZE, SIZE) for _ in range(2)]

    def chunks(self, micro_batch: int | None, count: int | None = None) -> list[dict[str, Any]]:
        """The first ``count`` samples (None: all) in micro-batches (None: in one)."""
        views = [view[:count] for view in self.views]
        parts = zip(*(view.split(micro_batch or len(view)) for view in views), strict=True)
        return [{"views": list(part)} for part in parts]

    def step(self, micro_batch: int | None, count: int | None = None) -> None:
        """Networks, loss, backward pass and optimizer."""
        from twofold.training import gradient_cache

        gradient_cache.backward(
            self.recipe,
            self.recipe.represent,
            self.chunks(micro_batch, count),
            lambda rows: self.recipe.losses(rows, {}),
            seed=lambda number: None,  # nothing is drawn at random
        )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def forward(self) -> None:
        """The networks alone, in pieces and without a graph: what the gradient cache does once more."""
        import torch

        with torch.no_grad():
            for chunk in self.chunks(128):
                self.recipe.represent(chunk)


Taken = tuple[float, float]
"""Processor time and wall-clock time, in seconds."""


def taken_by(action: Callable[[], None]) -> Taken:
    """What it takes."""
    processor, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - processor, time.perf_counter() - wall


def times(batch_size: int, rounds: int) -> dict[str, Any]:
    """Seconds and ratios of all micro-batches, in turns; and of a forward pass alone."""
    steps = Steps(batch_size)
    steps.step(16, count=32)
    turns: list[dict[str, Taken]] = []
    for number in range(rounds):
        turn = {"forward": taken_by(steps.forward)}
        turn |= {str(micro): taken_by(partial(steps.step, micro)) for micro in MICRO_BATCHES}
        turns.append(turn)
        shown = ", ".join(f"{name} {processor:.1f} s" for name, (processor, _) in turn.items())
        print(f"time, batch {batch_size}, round {number + 1} of {rounds}: {shown}", flush=True)
    share = compared(turns, "forward")["ratio"]
    return {
        "batch": batch_size,
        "rounds": rounds,
        "settings": [{"micro_batch": micro, **compared(turns, str(micro))} for micro in MICRO_BATCHES],
        "forward_share": share,
        "expected_ratio": 1 + share,
    }


def compared(turns: list[dict[str, Taken]], name: str) -> dict[str, Any]:
    """Medians over the turns: seconds, and ratios to the whole batch."""
    ratios = [turn[name][0] / turn["None"][0] for turn in turns]
    return {
        "seconds": statistics.median(turn[name][0] for turn in turns),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "wall_seconds": statistics.median(turn[name][1] for turn in turns),
        "wall_ratio": statistics.median(turn[name][1] / turn["None"][1] for turn in turns),
    }


def memory(batch_size: int, micro_batch: int | None) -> dict[str, Any]:
    """By how many bytes one step raises the peak of this process, which must be a fresh one."""
    steps = Steps(batch_size)
    steps.step(4, count=8)  # kernels and the optimizer's state are there afterwards
    before = peak_bytes()
    steps.step(micro_batch)
    growth = peak_bytes() - before
    print(f"memory, batch {batch_size}, micro-batch {micro_batch}: {growth / 1e6:.0f} MB", flush=True)
    return {"batch": batch_size, "micro_batch": micro_batch, "baseline_bytes": before, "growth_bytes": growth}


def peak_bytes() -> int:
    """The most resident memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(timed: int = 512, rounds: int = 3, batches: tuple[int, ...] = (512, 1024)) -> dict[str, Any]:
    """All figures.

    Args:
        timed: Batch size of the times.
        rounds: Turns of the times.
        batches: Batch sizes of the memory.
    """
    from importlib.metadata import version

    began = time.monotonic()
    # Not "spawn": on Linux a process that another one starts inherits its peak, and would hide its own below it.
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver"), max_tasks_per_child=1) as fresh:
        jobs = [fresh.submit(memory, batch, micro) for batch in batches for micro in MICRO_BATCHES]
        used = [job.result() for job in jobs]
        taken = fresh.submit(times, timed, rounds).result()  # after the others, alone
    for row in used:
        whole = next(r for r in used if r["batch"] == row["batch"] and r["micro_batch"] is None)
        row["ratio"] = row["growth_bytes"] / whole["growth_bytes"]
    return {
        "protocol": {
            "step": f"SimCLR, {ENCODER}, two views of {SIZE} x {SIZE} px, float32, AdamW",
            "time": "processor time of a whole step on one thread; settings take turns; medians over rounds, ratios "
            "within a round; wall clock beside it",
            "memory": "rise of the peak resident memory in one step; a fresh process for each setting",
            "expected_ratio": "1 + the share of a forward pass without a graph in a step with the whole batch",
        },
        "time": taken,
        "memory": used,
        "machine": {
            "platform": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "torch": version("torch"),
        },
        "seconds": time.monotonic() - began,
    }


def main() -> None:
    """Measure and write ``results/gradient_cache.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small batches, one round; writes nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gradient_cache.json")
    arguments = parser.parse_args()
    result = measure(timed=64, rounds=1, batches=(128,)) if arguments.quick else measure()
    for row in result["time"]["settings"]:
        ratios = f"{row['ratio']:.2f} of the whole batch's (wall clock {row['wall_ratio']:.2f})"
        print(f"time, micro-batch {row['micro_batch']}: {ratios}")
    print(f"expected with micro-batches: {result['time']['expected_ratio']:.2f}")
    for row in result["memory"]:
        print(
            f"memory, batch {row['batch']}, micro-batch {row['micro_batch']}: {row['ratio']:.3f} of the whole batch's"
        )
    if not arguments.quick:
        from twofold.training.files import write_json

        write_json(arguments.out, result)
        print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
