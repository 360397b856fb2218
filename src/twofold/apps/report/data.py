"""What the pages are made from: plain Python fields, so that a run folder, a test or a notebook can fill them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from twofold.errors import DataError


class Neighbourhood(TypedDict):
    """One query and what lies nearest to it; every number is an index into the items of the report."""

    query: int
    neighbours: Sequence[int]
    similarities: Sequence[float]
    raw_neighbours: NotRequired[Sequence[int]]
    raw_similarities: NotRequired[Sequence[float]]


@dataclass
class ReportData:
    """Everything a report page shows. Only ``title`` is needed; a part that is missing leaves its section out.

    The *items* are the samples on the page: ``ids``, ``labels`` and ``thumbnails`` (or ``snippets``) run parallel.
    The first ``len(points)`` of them are on the map; further ones appear only among the neighbours.

    Args:
        title: Name of the recipe.
        paper: Its source, as in ``"Chen et al., ICML 2020"``.
        idea: What it does, in one sentence.
        config: The run's configuration, shown folded away.
        dataset: Label -> value, such as ``{"Pictures": 1797, "Classes": 10}``.
        started: When the run began, already readable.
        seconds: How long it took.
        command: The exact command that repeats the run.
        versions: Name -> version of whatever matters (twofold, python, torch, machine).
        seed: The seed of the run.
        warnings: Plain sentences, shown prominently.
        metrics: The lines of ``metrics.jsonl``; any key may be missing on any line.
        loss_chance: The loss of a network that tells nothing apart, drawn as a dashed line.
        evaluation: The content of ``evaluation.json``.
        points: ``(n, 2)`` map coordinates, from :func:`twofold.apps.report.layout`.
        labels: One class number an item, -1 = no label.
        class_names: Name of class 0, 1, ...; without it the numbers are shown.
        ids: One readable name an item.
        thumbnails: One encoded picture an item, from :func:`twofold.apps.report.thumbnails`.
        snippets: One short text an item, for samples that are no pictures.
        neighbours: Queries with their nearest items.
        raw_name: What the raw neighbours were found by, such as ``"raw pixels"``.
        python_usage: A few lines of Python that load the encoder.
        cli_usage: Commands that use this very run folder.
    """

    title: str
    paper: str = ""
    idea: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: float | None = None
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    warnings: Sequence[str] = ()
    metrics: Sequence[Mapping[str, Any]] = ()
    loss_chance: float | None = None
    evaluation: Mapping[str, Any] | None = None
    points: ArrayLike | None = None
    labels: ArrayLike | None = None
    class_names: Sequence[str] | None = None
    ids: Sequence[str] = ()
    thumbnails: Sequence[bytes] = ()
    snippets: Sequence[str] = ()
    neighbours: Sequence[Neighbourhood] = ()
    raw_name: str = "raw features"
    python_usage: str = ""
    cli_usage: Sequence[str] = ()

    def items(self) -> Items:
        """The items of the page, checked.

        Raises:
            DataError: If the parallel lists do not fit together; the message names every misfit.
        """
        lengths = {"ids": len(self.ids), "thumbnails": len(self.thumbnails), "snippets": len(self.snippets)}
        labels = None if self.labels is None else np.asarray(self.labels).reshape(-1).astype(np.int64)
        if labels is not None:
            lengths["labels"] = len(labels)
        points = None if self.points is None else np.asarray(self.points, dtype=np.float64)
        count = max([*lengths.values(), 0 if points is None else len(points)])
        problems = [
            f"{name} has {size} entries, not {count}" for name, size in lengths.items() if size not in (0, count)
        ]
        if points is not None and (points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all()):
            problems.append(f"points must be finite numbers of shape (n, 2), not {points.shape}")
        for row in self.neighbours:
            shown = [row["query"], *row["neighbours"], *row.get("raw_neighbours", ())]
            if not all(0 <= int(index) < count for index in shown):
                problems.append(f"the neighbours of query {row['query']} point outside the {count} items")
        if problems:
            raise DataError("The parts of the report do not fit together: " + "; ".join(problems) + ".")
        if labels is not None and not len(labels):
            labels = None
        return Items(count, points, labels, self._names(labels), [str(name) for name in self.ids])

    def _names(self, labels: NDArray[np.int64] | None) -> list[str]:
        if labels is None:
            return []
        names = [str(name) for name in self.class_names or ()]
        return names + [str(number) for number in range(len(names), int(labels.max(initial=-1)) + 1)]


@dataclass(frozen=True)
class Items:
    """The checked samples of a page: how many, where on the map, which class, what name."""

    count: int
    points: NDArray[np.float64] | None
    labels: NDArray[np.int64] | None
    class_names: list[str]
    ids: list[str]

    def label(self, index: int) -> int:
        """Class number of an item, -1 without one."""
        return -1 if self.labels is None else int(self.labels[index])

    def label_name(self, index: int) -> str:
        """Class name of an item, empty without one."""
        return self.class_names[self.label(index)] if self.label(index) >= 0 else ""

    def name(self, index: int) -> str:
        """Readable name of an item: its id, or its number."""
        return self.ids[index] if self.ids else f"item {index}"


class Difference(TypedDict):
    """A paired difference and its interval, in the metric's own unit."""

    value: float
    low: float
    high: float


@dataclass
class MethodRuns:
    """One method of a comparison, over its seeds.

    Args:
        name: How it is called in tables and legends.
        values: Metric -> seed -> value. Seeds pair the methods.
        curves: Seed -> lines of that run's ``metrics.jsonl``.
        differences: Metric -> paired difference against the first method; worked out from the seeds where missing.
    """

    name: str
    values: Mapping[str, Mapping[int, float]]
    curves: Mapping[int, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    differences: Mapping[str, Difference] = field(default_factory=dict)


@dataclass
class ComparisonData:
    """Everything a comparison page shows. The first method is the one that the others are measured against.

    Args:
        title: Heading of the page.
        methods: At least one.
        metrics: Metric -> ``{"title", "higher_is_better", "unit"}``; the order is that of the page.
        idea: One sentence under the heading.
        chance: Metric -> value of guessing.
        protocol: Label -> text, printed word for word.
        dataset: Label -> value.
        started: When the first run began, already readable.
        seconds: How long all runs took.
        command: The exact command.
        versions: Name -> version.
        warnings: Plain sentences, shown prominently.
        difference_interval: What the intervals of given ``differences`` are; by default that of the seeds is described.
    """

    title: str
    methods: Sequence[MethodRuns]
    metrics: Mapping[str, Mapping[str, Any]]
    idea: str = ""
    chance: Mapping[str, float] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    dataset: Mapping[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: float | None = None
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    difference_interval: str = ""
