"""Puts the figures of results/*.json into docs/reliability.md and docs/scaling.md, between their markers.

python benchmarks/reliability/page.py           # write
python benchmarks/reliability/page.py --check   # only tell whether the pages are up to date
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DOCS = HERE.parents[1] / "docs"
PAGES = ("reliability.md", "scaling.md")

Result = dict[str, Any]


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def kills(result: Result) -> str:
    """The soak."""
    outcome = "every bit equal" if not result["lost"] else "NOT all equal: " + "; ".join(result["faults"])
    return (
        f"Runs of `{result['recipe']}` ({result['steps']} steps, a checkpoint every {result['checkpoint_steps']}, "
        f"{result['workers']} reading threads) were killed {result['kills']} times with SIGKILL, {result['aimed']} of "
        f"these aimed at a checkpoint being written; {result['torn_checkpoints']} tore one. When a run had reached its "
        f"end another one was begun: {result['runs']} in all, {result['survived']} survived, {result['lost']} lost, "
        f"{outcome}. Work done twice: {result['steps_repeated']} steps in all, at most "
        f"{result['steps_repeated_at_most']} after one kill."
    )


def gradients(result: Result) -> str:
    """Each way of gathering: the worst over all objectives."""
    names = ("loss ratio", "encoder norm ratio", "encoder cosine", "temperature ratio")
    rows = []
    for entry in result["worst"]:
        if entry["processes"] == 1:
            continue
        cells = [_near_one(entry[name]["value"]) for name in names]
        rows.append([entry["way"], str(entry["processes"]), *cells])
    rows.sort(key=lambda row: list(result["ways"]).index(row[0]))
    ours = [entry for entry in result["worst"] if not result["ways"][entry["way"]].startswith("wrong")]
    furthest = max(entry[name]["off_by"] for entry in ours for name in names if entry[name]["off_by"] is not None)
    head = ["way", "W", "loss", "norm of the encoder's gradient", "cosine", "temperature's gradient"]
    return (
        f"{len(result['objectives'])} objectives and variants, float64, gloo; ratios to one process with the whole "
        f"batch, for each way the objective that is furthest off. Ours are never further off than {furthest:.0e}.\n\n"
        + table(head, rows)
    )


def _near_one(value: float | None) -> str:
    if value is None:
        return "no gradient"
    return "1" if abs(value - 1) < 1e-9 else f"**{value:.2f}**"


def gradient_cache(result: Result) -> str:
    """Time and memory of micro-batches."""
    ratios = {row["micro_batch"]: row for row in result["time"]["settings"]}
    batches = sorted({row["batch"] for row in result["memory"]})
    sizes = list(ratios)
    growth = {(row["batch"], row["micro_batch"]): row["growth_bytes"] for row in result["memory"]}
    rows = [
        [str(size or "whole batch"), f"{ratios[size]['ratio']:.2f}"]
        + [f"{growth[batch, size] / 2**20:.0f}" if (batch, size) in growth else "" for batch in batches]
        for size in sizes
    ]
    head = ["micro-batch", f"processor time (batch {result['time']['batch']})", *(f"MiB (batch {b})" for b in batches)]
    return (
        f"{result['protocol']['step']}; processor time as a ratio to the whole batch (medians of "
        f"{result['time']['rounds']} rounds in turn), memory as the rise of the resident peak. One more forward "
        f"pass would be {result['time']['expected_ratio']:.2f}; that it costs less may be because smaller "
        "pieces suit the caches better, which was not measured.\n\n" + table(head, rows)
    )


def fuzz_readers(result: Result) -> str:
    """Inputs tried on the readers."""
    rows = [
        [name, *(f"{row[key]:,}" for key in ("inputs", "read", "refused")), str(sum(row["faults"].values()))]
        for name, row in result["formats"].items()
    ]
    total = [f"**{result[key]:,}**" for key in ("inputs", "read", "refused")]
    rows.append(["**all**", *total, f"**{result['faults']}**"])
    return table(["format", "inputs", "read", "refused with a message", "faults"], rows)


def fuzz_configuration(result: Result) -> str:
    """Configurations tried."""
    rows = [[name, f"{row['inputs']:,}", str(row["faults"])] for name, row in result["kinds"].items()]
    rows.append(["**all**", f"**{result['inputs']:,}**", f"**{result['faults']}**"])
    return table(["what", "inputs", "faults"], rows)


def scaling(result: Result) -> str:
    """Weak scaling, traffic against the formulas, memory against the formulas."""
    rows = []
    for record in result["records"]:
        expected = record.get("expected bytes a step")
        told = sum(record["bytes a step"].values())
        predicted = "" if expected is None else f"{sum(expected.values()) / 1e6:.3f}"
        rows.append(
            [
                f"{record['processes']}{', split' if record['shard'] else ''}",
                f"{1000 * record['step seconds']:.0f}",
                f"{record['share in collectives']:.1%}",
                f"{told / 1e6:.3f}",
                predicted,
                f"{record['state bytes'] / 1e6:.2f}",
                f"{record['expected state bytes'] / 1e6:.2f}",
            ]
        )
    head = ["W", "ms a step", "in collectives", "MB handed over", "formula", "MB of state", "formula"]
    facts = result["records"][0]["facts"]
    return (
        f"SimCLR, {result['encoder']} ({facts['parameters'] / 1e6:.2f} M parameters with the head), 32 px, "
        f"{result['records'][0]['samples a process']} samples a process, one thread a process, "
        f"{result['machine']['cores']} cores; whole runs were made twice, in turn.\n\n" + table(head, rows)
    )


FIGURES: dict[str, Callable[[Result], str]] = {
    "kills": kills,
    "gradients": gradients,
    "gradient_cache": gradient_cache,
    "fuzz_readers": fuzz_readers,
    "fuzz_configuration": fuzz_configuration,
    "scaling": scaling,
}
"""Name of a result file and of its marker → text."""


def with_figures(page: str) -> str:
    """A page with the figures that its markers name."""

    def put(match: re.Match[str]) -> str:
        name = match[1]
        text = FIGURES[name](json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))
        return f"<!-- figures: {name} -->\n{text}\n<!-- end -->"

    return re.sub(r"<!-- figures: (\w+) -->\n.*?<!-- end -->", put, page, flags=re.DOTALL)


def main() -> None:
    """The command line."""
    stale = []
    for name in PAGES:
        path = DOCS / name
        page = path.read_text(encoding="utf-8")
        if (new := with_figures(page)) != page:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"Not up to date: {', '.join(stale)}. Run: python benchmarks/reliability/page.py")


if __name__ == "__main__":
    main()
