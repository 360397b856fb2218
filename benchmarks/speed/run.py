"""Measures everything that docs/results/speed.md shows, and writes that page.

    python benchmarks/speed/run.py [--data DATA]           # about an hour on two cores that do nothing else
    python benchmarks/speed/run.py --only core views       # some of it
    python benchmarks/speed/run.py --quality               # what is learned from fused views and in bfloat16 as well

DATA may hold ``planetoid/Cora/raw``, ``ml-100k/ml-100k.inter`` and ``bsds``, a folder of photographs; without them,
graphs and pictures of the same size are generated. It runs in an environment with all peers: ``make speed`` makes that
first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PARTS = {
    "core": None,
    "views": None,
    "reading": "bsds",
    "simclr": None,
    "convolution": None,
    "text": None,
    "graph": "",
    "interactions": "",
    "knn": None,
    "embed": None,
    "imports": None,
    "cost": None,
}
"""Script → which part of DATA it takes with ``--data``: a folder of it, all of it (""), or nothing."""
WITH_QUALITY = ("views", "simclr")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--quality", action="store_true", help="also train with several seeds: half an hour more")
    arguments = parser.parse_args()
    failed = [name for name in arguments.only if not run(name, arguments.data)]
    if arguments.quality:
        failed += [f"{name} --quality" for name in WITH_QUALITY if not run(name, None, "--quality")]
    subprocess.run([sys.executable, str(HERE / "page.py")], check=True)
    if failed:
        sys.exit(f"These did not come to an end, and their results are as they were: {', '.join(failed)}.")


def run(name: str, data: Path | None, *options: str) -> bool:
    """Run one script; whether it came to an end."""
    print(f"== {name} {' '.join(options)}", flush=True)
    part = PARTS[name]
    folder = data / part if data is not None and part is not None else None
    given = ["--data", str(folder)] if folder is not None and folder.is_dir() else []
    return subprocess.run([sys.executable, str(HERE / f"{name}.py"), *given, *options]).returncode == 0


if __name__ == "__main__":
    main()
