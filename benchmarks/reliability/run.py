"""Measures everything that docs/reliability.md and docs/scaling.md claim, and writes the figures into both.

python benchmarks/reliability/run.py            # about an hour on two cores
python benchmarks/reliability/run.py kills fuzz # some of it
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARTS = ("gradients", "gradient_cache", "kills", "fuzz", "fuzz_configuration", "scaling")


def main() -> None:
    """The command line."""
    here = Path(__file__).parent
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := [name for name in wanted if name not in PARTS]:
        sys.exit(f"There is no {', '.join(unknown)}; there are: {', '.join(PARTS)}.")
    for name in wanted:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, str(here / f"{name}.py")], check=True)
    subprocess.run([sys.executable, str(here / "page.py")], check=True)


if __name__ == "__main__":
    main()
