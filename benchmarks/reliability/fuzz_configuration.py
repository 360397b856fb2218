"""How many odd configurations give nothing but values that fit, or one message with all faults.

    python benchmarks/reliability/fuzz_configuration.py --inputs 12000

Three kinds: options of every recipe with known faults among them, anything typed behind options, and configuration
files that are spoilt. Writes ``results/fuzz_configuration.json``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "safety"))

from checked_configurations import check_faulty, check_toml, check_typed  # noqa: E402
from hypothesis import HealthCheck, Phase, given, settings  # noqa: E402
from hypothesis.strategies import SearchStrategy  # noqa: E402
from odd_configurations import faulty, toml, typed  # noqa: E402

from twofold.recipes.saving import versions  # noqa: E402
from twofold.training.files import write_json  # noqa: E402


def tried(strategy: SearchStrategy[Any], check: Callable[[Any], None], inputs: int) -> dict[str, Any]:
    """Check so many inputs; all faults are counted, the first is kept."""
    counts = {"inputs": 0, "faults": 0}
    first: list[str] = []

    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(case: Any) -> None:
        counts["inputs"] += 1
        try:
            check(case)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
            counts["faults"] += 1
            first.append(f"{type(error).__name__}: {error} for {case!r}"[:500])

    run()
    return {**counts, "first fault": first[0] if first else None}


def measure(inputs: int) -> dict[str, Any]:
    """Try ``inputs`` configurations, a third of each kind."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        kinds: dict[str, tuple[SearchStrategy[Any], Callable[[Any], None]]] = {
            "options with known faults": (faulty(), check_faulty),
            "anything typed": (typed(), lambda case: check_typed(*case)),
            "files, spoilt": (toml(), lambda content: check_toml(content, Path(folder))),
        }
        results = {}
        for name, (strategy, check) in kinds.items():
            results[name] = tried(strategy, check, inputs // len(kinds))
            print(f"{name}: {results[name]}", flush=True)
    return {
        "inputs": sum(row["inputs"] for row in results.values()),
        "faults": sum(row["faults"] for row in results.values()),
        "kinds": results,
        "seconds": round(time.perf_counter() - began, 1),
        "versions": versions(),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=12_000)
    parser.add_argument("--quick", action="store_true", help="300 inputs, for a look; writes nothing")
    options = parser.parse_args()
    result = measure(300 if options.quick else options.inputs)
    if not options.quick:
        write_json(HERE / "results" / "fuzz_configuration.json", result)


if __name__ == "__main__":
    main()
