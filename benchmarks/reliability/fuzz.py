"""How many spoilt files the readers take without a fault.

    python benchmarks/reliability/fuzz.py --inputs 28000

Valid files of every format are spoilt (bytes flipped, overwritten, cut, repeated, spliced, numbers in headers replaced;
tables also made from odd parts) and read, all of their content included. Allowed is that a file is read, with what was
promised about the result, or refused with an error of ours that names it. Faults are: any other error or warning, more
than 30 seconds, more than 4 GiB of memory beyond what the process had, and the end of the process. Each format is
read in processes of its own, so that a crash is counted and the next inputs are tried. Writes
``results/fuzz_readers.json`` beside this file; with ``--keep`` also the inputs that made faults.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import resource
import sys
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "safety"))

BLOCK = 2000
"""Inputs that one process tries."""
SECONDS = 30
EXTRA_MEMORY = 4 * 1024**3


def measure(total: int, *, formats: Sequence[str] = (), keep: Path | None = None) -> dict[str, Any]:
    """Try about so many inputs, divided evenly among the formats.

    Args:
        total: How many.
        formats: Only these; default: all.
        keep: Where to write the inputs that make faults.

    Returns:
        The figures, for each format and in all.
    """
    from file_formats import FORMATS

    chosen = list(formats) or list(FORMATS)
    started = time.perf_counter()
    rows = {}
    for name in chosen:
        rows[name] = row = try_format(name, -(-total // len(chosen)), keep)
        print(f"{name:<14}" + "".join(f"  {key} {value}" for key, value in row.items() if key != "faults"), flush=True)
        for fault, count in row["faults"].items():
            print(f"    {count} x {fault}", flush=True)
    counts = {key: sum(row[key] for row in rows.values()) for key in ("inputs", "distinct", "read", "refused")}
    return {
        **counts,
        "faults": sum(sum(row["faults"].values()) for row in rows.values()),
        "seconds": round(time.perf_counter() - started, 1),
        "bounds": {"seconds": SECONDS, "extra_bytes": EXTRA_MEMORY},
        "formats": rows,
        "versions": versions(),
    }


def try_format(name: str, count: int, keep: Path | None) -> dict[str, Any]:
    """Try inputs of one format, a block in each process; a process that dies counts as one fault."""
    outcomes: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    seen: set[str] = set()
    slowest, memory = 0.0, 0
    for block in range(-(-count // BLOCK)):
        size = min(BLOCK, count - block * BLOCK)
        receiving, sending = get_context("spawn").Pipe(duplex=False)
        process = get_context("spawn").Process(target=try_block, args=(name, block, size, keep, sending))
        process.start()
        sending.close()
        try:
            while True:
                digest, outcome, fault, seconds, extra = receiving.recv()
                seen.add(digest)
                outcomes[outcome] += 1
                faults[fault] += fault != ""
                slowest, memory = max(slowest, seconds), max(memory, extra)
        except EOFError:
            process.join()
        if process.exitcode:
            outcomes["fault"] += 1
            faults[f"the process ended with {process.exitcode}"] += 1
    return {
        "inputs": outcomes.total(),
        "distinct": len(seen),
        "read": outcomes["read"],
        "refused": outcomes["refused"],
        "slowest_seconds": round(slowest, 2),
        "most_extra_memory_mb": round(memory / 1e6),
        "faults": dict(+faults),
    }


def try_block(name: str, block: int, count: int, keep: Path | None, results: Connection) -> None:
    """Try so many inputs, and send what came of each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    from file_formats import FORMATS
    from file_mutations import Input, address_space, attempt, inputs, temporary_folder, time_bound
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    torch.set_num_threads(1)
    kind = FORMATS[name]
    with temporary_folder() as folder:  # what a first reading imports and fills is not the input's
        attempt(Input(name, kind.spoilt[0], kind.files()[kind.spoilt[0]]), Path(folder))
    before = peak()

    @seed(zlib.crc32(f"{name}/{block}".encode()))
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def spoil(data: st.DataObject) -> None:
        tried = data.draw(inputs(name))
        digest = hashlib.sha256(tried.name.encode() + tried.content).hexdigest()
        fault, started = "", time.perf_counter()
        if keep is not None:  # before it is tried: it may end the process
            current = keep / f"{name}-{digest[:16]}"
            current.write_bytes(tried.content)
        try:
            with temporary_folder() as folder, time_bound(SECONDS), address_space(EXTRA_MEMORY):
                outcome = attempt(tried, Path(folder))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is a fault to be counted
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome = "fault"
            fault = f"{type(error).__name__}: {str(error)[:200]} ({Path(last.filename).name}:{last.lineno})"
        if keep is not None and outcome != "fault":
            current.unlink()
        results.send((digest, outcome, fault, time.perf_counter() - started, max(0, peak() - before)))

    spoil()
    results.close()


def peak() -> int:
    """The most memory that this process ever had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """Of everything that reads files here."""
    from importlib.metadata import version

    packages = ("twofold", "torch", "numpy", "pillow", "pyarrow", "safetensors", "hypothesis")
    return {name: version(name) for name in packages} | {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=28_000)
    parser.add_argument("--quick", action="store_true", help="50 inputs a format; nothing is written")
    parser.add_argument("--format", action="append", default=[], help="only this one (may be given several times)")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that make faults")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "fuzz_readers.json")
    arguments = parser.parse_args()
    from file_formats import FORMATS

    from twofold.training.files import write_json

    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    total = 50 * len(FORMATS) if arguments.quick else arguments.inputs
    result = measure(total, formats=arguments.format, keep=arguments.keep)
    print(f"{result['inputs']:,} inputs in {result['seconds']:.0f} s, faults: {result['faults']}")
    if not (arguments.quick or arguments.format):
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
