"""Everything behind docs/results/modalities.md, and the page itself.

    python benchmarks/modalities/run.py --data DATA

DATA is the folder that the scripts beside this one ask for; each says in its docstring what must lie there and where it
comes from. Finished runs are kept, so an interrupted call goes on where it stopped. One to two hours on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Run each script after the other, then write the page; exit 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    scripts = [HERE.parent / "replication" / "simclr_emoji.py"]
    scripts += sorted(path for path in HERE.glob("*.py") if path.stem not in ("run", "page"))
    failed = []
    for number, script in enumerate(scripts, start=1):
        print(f"[{number}/{len(scripts)}] {script.stem}", flush=True)
        data = ["--data", str(arguments.data)] if script.parent == HERE else []
        if subprocess.run([sys.executable, str(script), *data], check=False).returncode:
            failed.append(script.stem)
    if failed:
        sys.exit(f"Failed: {', '.join(failed)}; the page was not written.")
    subprocess.run([sys.executable, str(HERE / "page.py")], check=True)


if __name__ == "__main__":
    main()
