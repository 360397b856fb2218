"""Write docs/results/speed.md and its pictures from the result files beside this script.

    python benchmarks/speed/page.py

Pictures need matplotlib; without it the page is written and the pictures stay as they are.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[2] / "docs" / "results" / "speed.md"
PICTURES = PAGE.parent / "speed"
ORDER = (
    "core",
    "core_memory",
    "views",
    "views_quality",
    "reading",
    "simclr",
    "simclr_quality",
    "convolution",
    "text",
    "graph",
    "interactions",
    "knn",
    "embed",
    "imports",
    "cost",
)
CURVES = {
    "core-time": ("core", {"loss": "nt_xent", "d": 128}, "s", "NT-Xent forward and backward, d = 128"),
    "core-clip": ("core", {"loss": "clip", "d": 128}, "s", "CLIP's loss forward and backward, d = 128"),
    "core-memory": ("core_memory", {"loss": "nt_xent", "d": 128}, "MB", "Memory of NT-Xent, d = 128"),
}
"""Name of a picture → result file, which cases, unit and title; the horizontal axis is n."""

FACTS = {
    "exponents": "exponent of cost over size",
    "summary": "over all seeds",
    "within": "bfloat16 within the spread of float32's seeds",
}
"""Entries of a result file that are shown as tables of their own, and what stands above them."""

HEAD = """<!-- Written by `python benchmarks/speed/page.py` from benchmarks/speed/results/. -->

# Speed

What Twofold's parts and whole runs cost, side by side with what people would use instead. All contestants of a row ran
in turns in one process on the same threads; a number behind a name is **its time (or memory) divided by ours**, the
median over rounds with the lowest and highest in brackets: above 1 we are faster. Losses stay in.

Everything was measured on CPUs. On a GPU the same code runs, and nothing is claimed. Seconds differ between machines
and from hour to hour; ratios hold better, mostly to about 15 %.

`make speed DATA=folder` makes an environment with the peers and measures everything again in about an hour on a
machine that does nothing else; each section names its own command. `python benchmarks/speed/guard.py` compares ratios
before and after a change.
"""
MISSED = """## What is missed, and why

- **Losses at d = 512** are products of matrices and little else, for everybody: two for NT-Xent (by symmetry), three
  for InfoNCE, four for CLIP. The targets against peers ask for these at 477, 323 and 420 GFLOP/s, with all exponentials
  thrown in; MKL reaches 180 to 188 on this processor, ours 258 to 277 with all exponentials. With reduced products,
  which one has to ask for, all three are passed: the column of others has both ratios, of which one divided by the
  other is 10.1, 4.9 and 5.9. Their memory is a thirtieth of the peers' or less.
- **Embedding small JPEGs** with a tiny network: of 0.33 ms a picture the network alone takes 0.24, and the rest goes
  into reading, on the same cores. With an ordinary ResNet-18 it does not show: two cores with a part of the pictures
  each are faster than two cores with the same pictures.

**Between rounds** the same ratio differs on this machine, which other guests share: lowest and highest stand in
brackets, and some targets are met by medians that are near them: fused views of 32 px, the smallest network's share,
and CLIP at 8,192 rows against open_clip, which missed 4 with 3.7 in a run half an hour before the one shown.

## Another processor

Ratios depend on the machine. On this one, float32 products of large matrices go through convolutions, which take half
the time of MKL's products there (`twofold.contrast.convolved`); "three products" are MKL's. On Intel processors nothing
is gained by that, and nothing changes. On two cores of an Intel Xeon (with units for bfloat16) that other guests
shared, an earlier state of the code had met 15 for fused views at 32 px and missed what it meets here: reduced products
for CLIP (0.84 of the bound) and at 2,048 rows (0.8 to 0.9), pair rules and weights (1.8 of the plain form), NT-Xent
against lightly at 8,192 rows (7.7), SimCLR of width 64 in float32 (1.47), GRACE with reduced products (2.6),
propagation of the large set (8.2 of COO, 17.6 of LGConv) and LightGCL on ml-100k (2.95).
"""


def main() -> None:
    """Write the page."""
    found = {name: json.loads(path.read_text()) for name in ORDER if (path := RESULTS / f"{name}.json").is_file()}
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(found))
    if importlib.util.find_spec("matplotlib"):
        for name, (source, case, unit, title) in CURVES.items():
            if source in found and (rows := _rows(found[source], case, unit)):
                draw(PICTURES / f"{name}.svg", rows, unit, title)
    print(PAGE)


def page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of the page."""
    parts = [HEAD, _summary(found), MISSED]
    for name, result in found.items():
        parts += [f"## {result['title']}", f"`{result['command']}`, {_conditions(result)}."]
        for picture, (source, case, unit, title) in CURVES.items():
            if source == name and _rows(result, case, unit):
                parts.append(f"![{title}](speed/{picture}.svg)")
        parts += [_table(rows) for rows in _alike(result["rows"])]
        parts += [_facts(result[key], head) for key, head in FACTS.items() if result.get(key)]
        if result.get("notes"):
            parts.append("\n".join(f"- {note}" for note in result["notes"]))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _facts(facts: Mapping[str, Any], head: str) -> str:
    """A table of named facts, each a value or several with names of their own."""
    lines = [f"| {head} | |", "| --- | --- |"]
    for what, known in facts.items():
        named = known if isinstance(known, Mapping) else {"": known}
        lines.append(f"| {what} | {', '.join(f'{name} {_fact(value)}'.strip() for name, value in named.items())} |")
    return "\n".join(lines)


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _summary(found: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| measured | targets met | missed | not measured |", "| --- | --- | --- | --- |"]
    for result in found.values():
        verdicts = [target["met"] for row in result["rows"] for target in row["targets"]]
        counts = [verdicts.count(verdict) for verdict in (True, False, None)]
        anchor = result["title"].lower().replace(" ", "-").replace(",", "")
        lines.append(f"| [{result['title']}](#{anchor}) | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def _conditions(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items() if name != "twofold")
    disturbed = sum(arm.get("disturbed", 0) for row in result["rows"] for arm in row["arms"].values())
    busy = f"; {disturbed} rounds disturbed by other processes" if disturbed else ""
    return f"{machine['threads']} threads on {machine['processor']}; {versions}{busy}"


def _alike(rows: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Rows with the same keys and unit, together in the order in which they first appear."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["unit"], *row["case"]), []).append(row)
    return list(groups.values())


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = list(rows[0]["case"])
    lines = [f"| {' | '.join(keys)} | {rows[0]['ours']} | others | targets |", "| --- " * (len(keys) + 3) + "|"]
    for row in rows:
        cells = [str(row["case"][key]) for key in keys]
        ratios = [f"{name} {_ratio(ratio)}" for name, ratio in row["ratios"].items()]
        ratios += [f"{name}: {reason}" for name, reason in row["absent"].items()]
        targets = [_target(target) for target in row["targets"]]
        ours = row["arms"][row["ours"]]["median"]
        lines.append(
            f"| {' | '.join(cells)} | {_figure(ours, row['unit'])} | {'; '.join(ratios)} | {'; '.join(targets)} |"
        )
    return "\n".join(lines)


def _ratio(ratio: Mapping[str, float]) -> str:
    spread = "" if ratio["low"] == ratio["high"] else f" [{ratio['low']:.3g} - {ratio['high']:.3g}]"
    return f"**{ratio['median']:.3g}**{spread}"


def _figure(number: float, unit: str) -> str:
    if unit == "s":
        return f"{1000 * number:.3g} ms" if number < 1 else f"{number:.3g} s"
    return f"{number:.4g} {unit}".strip()


def _target(target: Mapping[str, Any]) -> str:
    verdict = {True: "met", False: "**missed**", None: "not measured"}[target["met"]]
    bound = f"≥ {target['at_least']:g}" if "at_least" in target else f"≤ {target['at_most']:g}"
    against = f"{target['against']} " if "against" in target else ""
    got = "" if target["got"] is None else f" ({target['got']:.3g})"
    return f"{against}{bound}: {verdict}{got}"


def _rows(result: Mapping[str, Any], case: Mapping[str, Any], unit: str) -> list[Mapping[str, Any]]:
    """Rows of one unit whose case has these values, by growing n."""
    chosen = [row for row in result["rows"] if row["unit"] == unit and "n" in row["case"]]
    fitting = [row for row in chosen if all(row["case"].get(key) == value for key, value in case.items())]
    return sorted(fitting, key=lambda row: row["case"]["n"]) if len({row["case"]["n"] for row in fitting}) > 2 else []


def draw(path: Path, rows: Sequence[Mapping[str, Any]], unit: str, title: str) -> None:
    """Every contestant's cost over n, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = path.stem
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4))
    for name in dict.fromkeys(name for row in rows for name in row["arms"]):
        points = [(row["case"]["n"], row["arms"][name]["median"]) for row in rows if name in row["arms"]]
        style = {"linewidth": 2.5} if name == rows[0]["ours"] else {"linewidth": 1.2, "linestyle": "--"}
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=name, **style)
    axes.set(xscale="log", yscale="log", xlabel="rows n", ylabel={"s": "seconds", "MB": "MB"}[unit], title=title)
    axes.set_xscale("log", base=2)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    main()
