"""The usual evaluation on heterogeneous graphs: a probe with few labels a class, on the data's own splits."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Measurement, MetricInfo, Task
from twofold.evaluation.clustering import kmeans_agreement
from twofold.evaluation.node_probe import GRID, node_probe
from twofold.modalities.graph.hetero.data import HeteroNodes
from twofold.modalities.graph.readers.facts import NodeSplit

NAMES = ("own-split",)
_CLUSTER_SEEDS = (0, 1, 2)


def make_task(dataset: HeteroNodes, *, name: str | None = None, apart: bool = False) -> Task | None:
    """Macro- and micro-F1 of a probe on each of the data's own splits, and k-means.

    Args:
        dataset: What is measured on.
        name: "own-split"; None takes it if the data has splits and labels, else the standard protocol on labels.
        apart: Whether test data is given apart, for which only the standard protocol makes sense.

    Raises:
        ConfigError: If there is no task of that name.
        DataError: If it is asked for, and the data has no splits or no labels.
    """
    if name is not None and (name not in NAMES or apart):
        raise ConfigError(
            f"There is no task {name!r} for a heterogeneous graph{' with test data apart' if apart else ''}; there "
            f"are: {', '.join(NAMES)}."
        )
    if dataset.labels is None or not dataset.splits:
        if name is not None:
            raise DataError(
                f"{dataset.name}: the task {name} needs labels and splits (train_mask, test_mask) of the target"
            )
        return None
    return None if apart else _few_labels(dataset, dataset.labels)


def _few_labels(dataset: HeteroNodes, labels: Tensor) -> Task:
    known = labels >= 0
    most = float(labels[known].bincount().max() / known.sum())
    metrics = {}
    for name, split in dataset.splits.items():
        words = f", {int(split.train.sum())} labels ({name})" if name else ""
        metrics[_key("macro_f1", name)] = MetricInfo(f"macro-F1 of the logistic probe{words}")
        metrics[_key("micro_f1", name)] = MetricInfo(
            f"micro-F1 of the logistic probe{words}", interval=_interval(split)
        )
    first = next(iter(dataset.splits.values()))
    return Task(
        name="own-split",
        sides={"nodes": dataset},
        measure=lambda sides: _measure(sides, labels, dataset.splits),
        metrics=metrics | {"nmi": MetricInfo("NMI of k-means"), "ari": MetricInfo("ARI of k-means")},
        protocol={
            "split": f"the data's own, by labels in training: {', '.join(dataset.splits) or 'one'}; "
            f"{int(first.val.sum()):,} nodes to choose by and {int(first.test.sum()):,} to test on",
            "probe": "multinomial logistic regression on rows of unit length, C in "
            f"2^{GRID[0]:g} ... 2^{GRID[-1]:g} by accuracy on the validation nodes; test nodes are seen once",
            "clustering": f"k-means on all labelled nodes, {len(_CLUSTER_SEEDS)} seeds, as many clusters as classes",
            "training": "the whole graph, without labels: test nodes and their links were there (transductive)",
        },
        chance={_key("micro_f1", name): most for name in dataset.splits} | {"nmi": 0.0, "ari": 0.0},
        held_out=True,
    )


def _measure(sides: Mapping[str, Tensor], labels: Tensor, splits: Mapping[str, NodeSplit]) -> dict[str, Measurement]:
    rows, found = sides["nodes"], {}
    for name, split in splits.items():
        probe = node_probe(rows, labels, split.train, split.val, split.test)
        half = 1.96 * (probe.accuracy * (1 - probe.accuracy) / probe.tested) ** 0.5
        found[_key("macro_f1", name)] = Measurement(probe.macro_f1, unit="F1", n=probe.tested)
        found[_key("micro_f1", name)] = Measurement(
            probe.accuracy,
            probe.accuracy - half,
            probe.accuracy + half,
            "F1",
            probe.tested,
            per_item=probe.correct.float(),
        )
    known = labels >= 0
    agreement = kmeans_agreement(rows[known], labels[known], seeds=_CLUSTER_SEEDS)
    for name, values in (("nmi", agreement.nmi), ("ari", agreement.ari)):
        found[name] = Measurement(float(values.mean()), unit=name.upper(), n=int(known.sum()))
    return found


def _key(metric: str, split: str) -> str:
    return f"{metric}_{split}" if split else metric


def _interval(split: NodeSplit) -> str:
    return f"95 % binomial over {int(split.test.sum()):,} test nodes"
