"""How speed is measured here: side by side, in turns, in one process, on a machine that is watched.

Machines are noisy and drift, so seconds mean little and ratios of neighbours mean more. :func:`race` runs all
contestants one after the other, round by round in a changing order, and takes the ratio within each round; a round in
which other processes took much of the processor is run again, and told if it stays so. :func:`weigh` gives the memory
that a call needed beyond what was held before. :func:`write` keeps everything with the machine, the versions and the
command.

A measured case is a *row*::

    {"case": {"n": 8192, "d": 128}, "unit": "s", "ours": "twofold",
     "arms": {"twofold": {"median": .., "low": .., "high": .., "rounds": 5, "disturbed": 0}, "lightly": {..}},
     "ratios": {"lightly": {"median": 9.8, "low": 9.1, "high": 10.4}},      # lightly's seconds / ours
     "absent": {"another": "needs 13 GB"},
     "targets": [{"against": "lightly", "at_least": 8.0, "got": 9.8, "met": true}]}
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
OTHERS = 0.15
"""Cores that other processes, or other machines of the same host, may take before a round counts as disturbed."""

Call = Callable[[], object]
Row = dict[str, Any]


_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of glibc's malloc.h."""


@dataclass(frozen=True)
class Target:
    """What a row must reach.

    Args:
        against: The contestant that ours is compared with; None compares ours with a plain number.
        at_least: How many times longer (or more memory) the other one must take.
        at_most: How many times the other's figure ours may take at most, or the number itself without ``against``.
    """

    against: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def judged(self, row: Row) -> dict[str, Any]:
        """The target with what was got, and whether that suffices; of an absent contestant, nothing was."""
        told = {name: value for name, value in vars(self).items() if value is not None}
        if self.against is None:
            got = row["arms"][row["ours"]]["median"]
            return told | {"got": got, "met": got <= (self.at_most or 0.0)}
        if self.against not in row["ratios"]:
            return told | {"got": None, "met": None}
        ratio = row["ratios"][self.against]["median"]
        if self.at_least is not None:
            return told | {"got": ratio, "met": ratio >= self.at_least}
        return told | {"got": 1 / ratio, "met": 1 / ratio <= (self.at_most or 0.0)}


def race(
    case: Mapping[str, Any],
    arms: Mapping[str, Call],
    *,
    ours: str = "twofold",
    rounds: int = 5,
    least_seconds: float = 0.1,
    patience: int = 2,
    absent: Mapping[str, str] | None = None,
    targets: Sequence[Target] = (),
) -> Row:
    """Time contestants side by side and print the row.

    Args:
        case: What is done, such as sizes.
        arms: Name → one call of the work. Each is called once beforehand, unmeasured.
        ours: The contestant that ratios are taken to.
        rounds: How often each is timed.
        least_seconds: A call shorter than this is repeated within a round.
        patience: How often a disturbed round is run again.
        absent: Contestants that cannot run this case, and why.
        targets: What the row should reach.
    """
    inner = {name: _calls(call, least_seconds) for name, call in arms.items()}
    names, disturbed = list(arms), dict.fromkeys(arms, 0)
    times: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            seconds, others = _timed(arms[name], inner[name], patience)
            times[name].append(seconds)
            disturbed[name] += others > OTHERS
    row = _row(case, "s", ours, times, absent, targets)
    for name, count in disturbed.items():
        row["arms"][name]["disturbed"] = count
    return row


def weigh(
    case: Mapping[str, Any],
    arms: Mapping[str, Call],
    *,
    ours: str = "twofold",
    absent: Mapping[str, str] | None = None,
    targets: Sequence[Target] = (),
) -> Row:
    """Peak memory of each call beyond what was held before it, in MB, and print the row.

    Args:
        case: As in :func:`race`.
        arms: As in :func:`race`; each is run once beforehand at the same size.
        ours: As in :func:`race`.
        absent: As in :func:`race`.
        targets: As in :func:`race`.
    """
    found = {}
    for name, call in arms.items():
        call()
        found[name] = [max(peak_of(call), 0.1)]
    return _row(case, "MB", ours, found, absent, targets)


def peak_of(call: Call) -> float:
    """Peak resident memory of one call over what is resident before it, MB. Linux only."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status("VmRSS")
    kept = call()
    peak = _status("VmHWM")
    del kept
    return (peak - before) / 1024


def return_freed_memory() -> None:
    """From now on large blocks come from the system one by one and go back when freed: peaks are then of what is held.

    By itself glibc stops doing so once large blocks were freed, such as those of a dense peer. For scripts that time
    nothing afterwards.
    """
    ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, 128 * 1024)


def value(case: Mapping[str, Any], unit: str, arms: Mapping[str, float], **options: Any) -> Row:
    """A row of figures that were measured in another way (throughput, accuracy)."""
    found = {name: [figure] for name, figure in arms.items()}
    ours, absent, targets = options.get("ours", "twofold"), options.get("absent"), options.get("targets", ())
    return _row(case, unit, ours, found, absent, targets)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log cost over log size, by least squares: 1 is linear, 2 quadratic."""
    x = torch.tensor(sizes, dtype=torch.float64).log()
    y = torch.tensor(costs, dtype=torch.float64).log()
    return round(float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum()), 3)


def parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """The options that all these scripts have: ``--quick``, ``--threads``, ``--out``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="fewer cases and rounds: for the guard")
    made.add_argument("--threads", type=int, default=0, help="of torch; 0 takes as many as there are cores")
    made.add_argument("--out", type=Path, default=RESULTS / f"{name}.json")
    return made


def start(arguments: argparse.Namespace) -> None:
    """Set the number of threads."""
    torch.set_num_threads(arguments.threads or len(os.sched_getaffinity(0)))


def write(
    arguments: argparse.Namespace,
    *,
    title: str,
    numbers: Sequence[int],
    rows: Sequence[Row],
    peers: Sequence[str] = (),
    notes: Sequence[str] = (),
    **more: Any,
) -> None:
    """Write a result file.

    Args:
        arguments: Of the command line, with ``out``.
        title: What was measured.
        numbers: Which rows of the table of targets these are.
        rows: As :func:`race`, :func:`weigh` and :func:`value` make them.
        peers: Distributions whose versions matter.
        notes: What a reader must know to read the figures rightly.
        more: Anything else worth keeping, such as fitted exponents.
    """
    given = ["DATA" if before == "--data" else word for before, word in itertools.pairwise(sys.argv)]
    command = " ".join(["python", f"benchmarks/speed/{Path(sys.argv[0]).name}", *given])
    found = {"title": title, "numbers": list(numbers), "command": command, "machine": machine()}
    found |= {"versions": versions(peers), "rows": list(rows), "notes": list(notes)} | more
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    missed = [target for row in rows for target in row["targets"] if target["met"] is False]
    print(f"{arguments.out}: {len(rows)} rows, {len(missed)} targets missed")


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def versions(peers: Sequence[str]) -> dict[str, str]:
    """Installed versions of torch, this library and its peers."""
    return {name: importlib.metadata.version(name) for name in ("torch", "numpy", "twofold", *peers)}


def _calls(call: Call, least_seconds: float) -> int:
    for _ in range(2):  # the first call may load or build something
        began = time.perf_counter()
        call()
        elapsed = time.perf_counter() - began
        if elapsed > 20 * least_seconds:
            return 1
    return max(1, round(least_seconds / max(elapsed, 1e-9)))


def _timed(call: Call, count: int, patience: int) -> tuple[float, float]:
    """Seconds a call and the cores that others took meanwhile; of several tries, the least disturbed one."""
    tries = []
    for _ in range(patience + 1):
        gc.collect()
        busy, own, began = _busy(), _own(), time.perf_counter()
        for _ in range(count):
            call()
        elapsed = time.perf_counter() - began
        others = max(0.0, (_busy() - busy) - (_own() - own)) / elapsed
        tries.append((others, elapsed / count))
        if others <= OTHERS or elapsed < 0.2:  # the system counts hundredths of seconds: no use for short calls
            break
    others, seconds = min(tries)
    return seconds, others


def _row(
    case: Mapping[str, Any],
    unit: str,
    ours: str,
    found: Mapping[str, Sequence[float]],
    absent: Mapping[str, str] | None,
    targets: Sequence[Target],
) -> Row:
    row: Row = {"case": dict(case), "unit": unit, "ours": ours}
    row["arms"] = {name: {**_spread(figures), "rounds": len(figures)} for name, figures in found.items()}
    others = [name for name in found if name != ours]
    row["ratios"] = {
        name: _spread([theirs / mine for theirs, mine in zip(found[name], found[ours], strict=True)]) for name in others
    }
    row["absent"] = dict(absent or {})
    row["targets"] = [target.judged(row) for target in targets]
    told = " ".join(f"{name} {ratio['median']:.2f}x" for name, ratio in row["ratios"].items())
    verdicts = " ".join("met" if target["met"] else "MISSED" for target in row["targets"] if target["met"] is not None)
    print(f"{row['case']} {ours} {row['arms'][ours]['median']:.4g} {unit} | {told} | {verdicts}", flush=True)
    return row


def _spread(figures: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(figures), "low": min(figures), "high": max(figures)}


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def _busy() -> float:
    """Processor seconds that the whole machine has spent, and its host has taken from it; 0 where nothing tells."""
    path = Path("/proc/stat")
    if not path.is_file():
        return 0.0
    user, nice, system, _, _, irq, softirq, stolen = (int(field) for field in path.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + stolen) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
