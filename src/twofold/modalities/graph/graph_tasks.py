"""The usual evaluation of whole graphs: ten folds, and a support vector machine on the embeddings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Measurement, MetricInfo, Task
from twofold.evaluation.folds import C_GRID, Fold, fold_probe, stratified_folds
from twofold.limits import check_memory
from twofold.modalities.graph.data import GraphData

NAMES = ("folds",)
FOLDS = 10
GIVEN = "10fold_idx"
"""The folder beside a text file of graphs that holds its folds: test_idx-1.txt ..., and train_idx-1.txt ... maybe."""


def make_task(dataset: GraphData, source: Any, *, name: str | None = None, apart: bool = False) -> Task | None:
    """Classification of graphs in ten folds.

    Args:
        dataset: What is measured on.
        source: Where it was read from; a text file may have given folds beside it (see :data:`GIVEN`).
        name: "folds"; None takes it if every class has ten graphs, else the standard protocol on labels.
        apart: Whether test data is given apart, for which only the standard protocol makes sense.

    Raises:
        ConfigError: If there is no task of that name.
        DataError: If it is asked for, and there are no labels or too few; or if given folds are broken.
    """
    if name is not None and (name not in NAMES or apart):
        raise ConfigError(
            f"There is no task {name!r} for whole graphs{' with test data apart' if apart else ''}; there are: "
            f"{', '.join(NAMES)}."
        )
    if apart or (name is None and not _enough(dataset.labels)):
        return None
    if dataset.labels is None:
        raise DataError("the task folds needs labels, and the data has none")
    given = given_folds(source, dataset)
    return _task(dataset, dataset.labels, given or stratified_folds(dataset.labels, count=FOLDS), given is not None)


def given_folds(source: Any, dataset: GraphData) -> list[Fold] | None:
    """The folds that stand beside a text file of graphs, by numbers of graphs; None if there are none.

    Raises:
        DataError: If a file names graphs that there are not, or a graph is learned from and tested on in one fold.
    """
    if not isinstance(source, str | Path) or not (Path(source).parent / GIVEN).is_dir():
        return None
    files = sorted((Path(source).parent / GIVEN).glob("test_idx-*.txt"), key=_number)
    place = {name: i for i, name in enumerate(dataset.ids)}
    folds = []
    for file in files:
        test = _positions(file, place)
        learn = file.with_name(file.name.replace("test_", "train_"))
        train = _positions(learn, place) if learn.is_file() else _others(test, len(dataset))
        if torch.isin(test, train).any():
            raise DataError(f"{file}: some of its graphs stand in {learn.name} too")
        folds.append((train, test))
    return folds or None


def _enough(labels: Tensor | None) -> bool:
    if labels is None:
        return False
    sizes = labels[labels >= 0].bincount()
    return len(sizes) > 1 and int(sizes[sizes > 0].min()) >= FOLDS


def _task(dataset: GraphData, labels: Tensor, folds: Sequence[Fold], given: bool) -> Task:
    def measure(sides: Mapping[str, Tensor]) -> dict[str, Measurement]:
        found = fold_probe(sides["graphs"], labels, folds)
        mean = float(found.accuracy.mean())
        tested = len(found.tested)
        half = 1.96 * float(found.accuracy.std()) / len(folds) ** 0.5 if len(folds) > 1 else 0.0
        return {"accuracy": Measurement(mean, mean - half, mean + half, "accuracy", tested, per_item=found.correct)}

    known = labels[labels >= 0]
    return Task(
        name="folds",
        sides={"graphs": dataset},
        measure=measure,
        metrics={"accuracy": MetricInfo("accuracy of an SVM", interval=f"95 % over {len(folds)} folds")},
        protocol={
            "split": f"{len(folds)} folds " + ("that the data brings" if given else "stratified by class, seed 0"),
            "probe": f"SVM with an RBF kernel on standardized embeddings, C of {', '.join(f'{c:g}' for c in C_GRID)} "
            "by cross-validation inside of each training part",
            "training": "all graphs, without labels: those of the test part were seen (transductive)",
        },
        chance={"accuracy": float(known.bincount().max() / len(known))},
        held_out=True,
    )


def _number(file: Path) -> int:
    found = re.search(r"(\d+)", file.stem)
    return int(found[1]) if found else 0


def _positions(file: Path, place: Mapping[str, int]) -> Tensor:
    check_memory(64 * file.stat().st_size, f"{file}: its numbers")
    words = file.read_text(encoding="utf-8", errors="replace").split()
    unknown = [word for word in words if word not in place]
    if unknown:
        raise DataError(f"{file}: {len(unknown)} of its entries are no numbers of graphs, such as {unknown[0][:40]!r}")
    return torch.tensor([place[word] for word in words], dtype=torch.int64)


def _others(positions: Tensor, count: int) -> Tensor:
    return torch.ones(count, dtype=torch.bool).index_fill_(0, positions, False).nonzero().flatten()
