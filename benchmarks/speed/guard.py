"""Whether Twofold has become slower: the quick form of each benchmark, by ratio, against a run that was kept.

    python benchmarks/speed/guard.py --keep             # before a change: the ratios of now
    python benchmarks/speed/guard.py [core views ...]   # after it: fails if a ratio has fallen by a quarter

Ratios to the contestants of the same run are compared, never seconds, so it may run on any machine; but both runs must
be on the same one. It is run by hand, since a busy machine can spoil it. About ten minutes for all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEPT = Path("runs") / "speed-guard"
PARTS = ("core", "views", "reading", "simclr", "convolution", "text", "graph", "interactions", "knn", "embed")
FALL = 0.75
"""A ratio below this share of the kept one is a regression; noise alone takes a tenth or two."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"some of: {', '.join(PARTS)}")
    parser.add_argument("--keep", action="store_true", help="keep these ratios for later comparison")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.parts if name not in PARTS]:
        parser.error(f"there is no {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    fallen: list[str] = []
    for name in arguments.parts:
        found, kept = measured(name), KEPT / f"{name}.json"
        if arguments.keep:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found))
        elif not kept.is_file():
            sys.exit(f"Nothing is kept to compare {name} with: run with --keep on the state before the change.")
        else:
            fallen += [f"{name}: {text}" for text in regressions(json.loads(kept.read_text()), found)]
    if fallen:
        sys.exit("\n".join(["Slower than before, by ratio:", *fallen]))


def measured(name: str) -> dict[str, Any]:
    """The result of a script's quick form."""
    out = KEPT / "last" / f"{name}.json"
    subprocess.run([sys.executable, str(HERE / f"{name}.py"), "--quick", "--out", str(out)], check=True)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def regressions(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What has fallen, in words, of two results of the same script; cases that only one of them has are left aside."""
    earlier = {json.dumps(row["case"], sort_keys=True): row for row in before["rows"]}
    found = []
    for row in now["rows"]:
        known = earlier.get(json.dumps(row["case"], sort_keys=True))
        for name, ratio in row["ratios"].items():
            was = known["ratios"].get(name) if known else None
            if was and ratio["high"] < FALL * was["low"]:
                found.append(f"{row['case']}: {name} {was['median']:.2f}x → {ratio['median']:.2f}x")
    return found


if __name__ == "__main__":
    main()
