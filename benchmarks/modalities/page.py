"""The table modality x data x recipe x metric, from the result files of the scripts beside this one.

    python benchmarks/modalities/page.py

Writes ``docs/results/modalities.md``. Rows in which contrast does not beat a baseline stay, and say so.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
EMOJI = Path(__file__).parents[1] / "replication" / "results" / "simclr-emoji.json"
PAGE = Path(__file__).parents[2] / "docs" / "results" / "modalities.md"
INTRODUCTION = """\
<!-- Written by `python benchmarks/modalities/page.py` from benchmarks/modalities/results/. -->

# Every modality

One table: what each recipe reached on real data, beside the same encoder untrained, the raw features, and the baseline
that is honest for that kind of data (BM25, popularity, ...). Numbers are means ± standard deviations over seeds (or
folds, where the note says so). Times are those of one training run on two CPU cores that were busy with other work too:
do not compare them. How settings were chosen, on validation data or not at all, stands in the docstring of each script;
so does where the test was seen before (the number of steps on Cora and CiteSeer, the captions of NegCLIP's task). The
networks are small and the runs short: this shows that everything works, and how much it gives at that size, not what a
method can reach.

**verdict**: *gains* if the mean lies above every baseline of the row by more than the standard deviation of either;
*no gain* if it lies below one of them; *within spread* otherwise. A baseline that needs no learning often wins on small
data, and then that is the result.

`make modalities DATA=folder` measures everything again; the rows of one modality need its script alone,
such as `python benchmarks/modalities/text.py --data DATA`."""


def rows() -> list[dict[str, Any]]:
    """The rows of all result files, in the order of their names.

    Raises:
        ValueError: If a result file has no table.
    """
    found: list[dict[str, Any]] = []
    for path in sorted(RESULTS.glob("*.json")):
        if path.stem.endswith("-selection"):
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        if "table" not in content:
            raise ValueError(f"{path} has no table")
        found += content["table"]
    found += emoji_rows()
    return sorted(found, key=lambda row: (row["modality"], row["data"]))


def emoji_rows() -> list[dict[str, Any]]:
    """The image rows, from the replication of SimCLR on the built-in emoji."""
    runs = json.loads(EMOJI.read_text(encoding="utf-8"))["runs"]
    titles = {"knn": "20-NN accuracy", "linear": "linear probe accuracy", "recall_at_1": "R@1 across vendors"}
    plain = {"modality": "image", "data": "emoji, held-out families", "recipe": "simclr", "raw_name": "pixels"}
    return [
        plain
        | {name: _over([run[name][metric] for run in runs]) for name in ("trained", "untrained", "raw")}
        | {"metric": title, "seeds": len(runs), "seconds": statistics.mean(run["seconds"] for run in runs)}
        for metric, title in titles.items()
    ]


def _over(values: list[float]) -> dict[str, float]:
    return {"mean": statistics.mean(values), "deviation": statistics.stdev(values)}


def verdict(row: Mapping[str, Any]) -> str:
    """Whether the trained encoder beats every baseline of its row."""
    sign = 1 if row.get("higher_is_better", True) else -1
    ours = row["trained"]
    gaps = [sign * (ours["mean"] - base["mean"]) for base in baselines(row)]
    spreads = [max(ours["deviation"], base.get("deviation") or 0.0) for base in baselines(row)]
    if not gaps:
        return "no baseline"
    if min(gaps) < 0:
        return "no gain"
    return "gains" if all(gap > spread for gap, spread in zip(gaps, spreads, strict=True)) else "within spread"


def baselines(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All that a row's recipe is compared with."""
    plain = [row[name] for name in ("untrained", "raw") if row.get(name)]
    return plain + list((row.get("other") or {}).values())


def page(table: Iterable[Mapping[str, Any]]) -> str:
    """The page, with a table for each modality."""
    by_modality: dict[str, list[Mapping[str, Any]]] = {}
    for row in table:
        by_modality.setdefault(row["modality"], []).append(row)
    parts = [INTRODUCTION, _summary(by_modality)]
    for modality, own in by_modality.items():
        parts += [f"## {modality}", _table(own), *_notes(own)]
    return "\n\n".join(parts) + "\n"


def _summary(by_modality: Mapping[str, list[Mapping[str, Any]]]) -> str:
    lines = ["| modality | rows | gains | within spread | no gain |", "| --- | --- | --- | --- | --- |"]
    for modality, own in by_modality.items():
        said = [verdict(row) for row in own]
        counts = " | ".join(str(said.count(word)) for word in ("gains", "within spread", "no gain"))
        lines.append(f"| [{modality}](#{modality}) | {len(own)} | {counts} |")
    return "\n".join(lines)


def _table(own: list[Mapping[str, Any]]) -> str:
    head = ("data", "recipe", "metric", "trained", "untrained", "raw features", "others", "seeds", "seconds", "verdict")
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in own:
        others = ", ".join(f"{name} {_spread(value)}" for name, value in (row.get("other") or {}).items())
        raw = f"{_spread(row['raw'])} ({row['raw_name']})" if row.get("raw") else "-"
        metric = row["metric"] if row.get("higher_is_better", True) else f"{row['metric']} (lower is better)"
        cells = [
            row["data"],
            f"`{row['recipe']}`",
            metric,
            f"**{_spread(row['trained'])}**",
            _spread(row.get("untrained")),
            raw,
            others or "-",
            str(row["seeds"]),
            "-" if row.get("seconds") is None else f"{row['seconds']:.0f}",
            verdict(row),
        ]
        lines.append(f"| {' | '.join(cell.replace('|', ' ') for cell in cells)} |")
    return "\n".join(lines)


def _notes(own: list[Mapping[str, Any]]) -> list[str]:
    """What is to be known of single rows, each text once."""
    notes: dict[str, list[str]] = {}
    for row in own:
        if row.get("note"):
            notes.setdefault(row["note"].rstrip("."), []).append(f"{row['data']}, `{row['recipe']}`, {row['metric']}")
    told = []
    for note, where in notes.items():
        named = "; ".join(where) if len(where) <= 3 else f"{where[0]} and {len(where) - 1} other rows"
        told.append(f"- {named}: {note}.")
    return ["\n".join(told)] if told else []


def _spread(value: Mapping[str, Any] | None) -> str:
    if not value:
        return "-"
    deviation = value.get("deviation")
    digits = 3 if abs(value["mean"]) < 2 else 1
    mean = f"{value['mean']:.{digits}f}"
    return f"{mean} ± {deviation:.{digits}f}" if deviation else mean


if __name__ == "__main__":
    PAGE.write_text(page(rows()), encoding="utf-8")
    print(f"{PAGE}: {len(rows())} rows")
