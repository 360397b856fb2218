"""The usual evaluations of nodes: classification on given splits or on random ones, and prediction of links."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.evaluation import Measurement, MetricInfo, Task
from twofold.evaluation.clustering import kmeans_agreement
from twofold.evaluation.links import LinkScores, common_neighbours, cosine_scores, link_scores
from twofold.evaluation.node_probe import (
    GRID,
    LAYER_DECAYS,
    LAYER_RATE,
    LAYER_STEPS,
    NodeProbe,
    layer_probe,
    node_probe,
)
from twofold.modalities.graph.data import NodeData
from twofold.modalities.graph.readers.facts import NodeSplit

NAMES = ("own-split", "random-splits", "links")
SHARES = (0.1, 0.1, 0.8)
"""Nodes to train, to choose by and to test on in random splits, as GCA has it (Zhu et al., WWW 2021)."""
RANDOM_SPLITS = 5
_CLUSTER_SEEDS = (0, 1, 2)


def make_task(dataset: Any, *, name: str | None = None, apart: bool = False) -> Task | None:
    """An evaluation of nodes.

    Args:
        dataset: What :func:`twofold.modalities.graph.data.read` gives.
        name: "own-split" (the source's own masks), "random-splits" (10 / 10 / 80 %, five of them) or "links" (edges
            that were held out on reading). None takes links if edges are held out, the own split if there is one, and
            otherwise the standard protocol on labels.
        apart: Whether test data is given apart, for which only the standard protocol makes sense.

    Returns:
        The task, or None for the standard protocol.

    Raises:
        ConfigError: If there is no task of that name.
        DataError: If the data lacks what the task needs.
    """
    if name is not None and name not in NAMES:
        raise ConfigError(f"There is no task {name!r} for graph; there are: {', '.join(NAMES)}.")
    if not isinstance(dataset, NodeData) or apart:
        if name is not None:
            raise ConfigError(f"The task {name!r} is about the nodes of one graph, without test data apart.")
        return None
    chosen = name or (
        "links" if dataset.held_out else "own-split" if dataset.splits and dataset.labels is not None else None
    )
    if chosen is None:
        return None
    return links(dataset) if chosen == "links" else classification(dataset, own=chosen == "own-split")


def classification(dataset: NodeData, *, own: bool) -> Task:
    """Classify nodes by two linear probes, on the source's own splits or on random ones; and cluster them.

    Raises:
        DataError: If there are no labels, or no own split.
    """
    if dataset.labels is None:
        raise DataError("classification of nodes needs labels, and the data has none")
    if own and not dataset.splits:
        raise DataError("the data brings no split of its own (train_mask, test_mask); take the task random-splits")
    labels = dataset.labels
    splits = dataset.splits if own else random_splits(labels, count=RANDOM_SPLITS)
    info = {
        "accuracy": MetricInfo("accuracy of the logistic probe", interval=_interval(splits)),
        "macro_f1": MetricInfo("macro-F1 of the logistic probe"),
        "layer_accuracy": MetricInfo("accuracy of a layer trained by Adam", interval=_interval(splits)),
        "nmi": MetricInfo("NMI of k-means"),
    }
    known = labels >= 0
    most = labels[known].bincount().max() / known.sum()
    return Task(
        name="own-split" if own else "random-splits",
        sides={"nodes": dataset},
        measure=lambda sides: _classified(sides["nodes"], labels, splits),
        metrics=info,
        protocol={
            "split": _split_words(splits, own=own),
            "probe": f"multinomial logistic regression on rows of unit length, C in 2^{GRID[0]} ... 2^{GRID[-1]} by "
            "accuracy on the validation nodes; test nodes are seen once",
            "layer": f"{LAYER_STEPS} steps of Adam (rate {LAYER_RATE}) on the rows as they are; step and weight decay ("
            f"{', '.join(f'{decay:g}' for decay in LAYER_DECAYS)}) by accuracy on the validation nodes, as in "
            "GraphMAE's code",
            "clustering": f"k-means on all labelled nodes, {len(_CLUSTER_SEEDS)} seeds, as many clusters as classes",
            "training": "the whole graph, without labels: test nodes and their edges were there (transductive)",
        },
        chance={"accuracy": float(most), "nmi": 0.0},
        held_out=True,
    )


def links(dataset: NodeData) -> Task:
    """Tell held-out edges from pairs without one by the cosine of their ends.

    Raises:
        DataError: If no edges were held out on reading.
    """
    held_out = dataset.held_out
    if held_out is None:
        raise DataError("the task links needs edges that were held out before training: read with held_out=0.1, say")
    pairs = torch.cat([held_out.positives, held_out.negatives], 1)
    truth = torch.arange(pairs.shape[1]) < held_out.positives.shape[1]
    graph, spec = dataset.graph, dataset.spec

    def measure(sides: Mapping[str, Tensor]) -> dict[str, Measurement]:
        return _linked(link_scores(cosine_scores(sides["nodes"], pairs), truth))

    def neighbours() -> dict[str, Measurement]:
        return _linked(link_scores(common_neighbours(graph.edge_index, graph.nodes, pairs), truth))

    return Task(
        name="links",
        sides={"nodes": dataset},
        measure=measure,
        metrics={
            "auc": MetricInfo("ROC AUC of held-out edges"),
            "ap": MetricInfo("average precision of held-out edges"),
        },
        protocol={
            "split": f"{spec['held_out']:.0%} of the edges were taken out on reading, seed {spec['held_out_seed']}; "
            f"{pairs.shape[1] // 2:,} of them against as many pairs without an edge",
            "score": "cosine of the two ends; nothing is fitted",
        },
        chance={"auc": 0.5, "ap": 0.5},
        baselines={"Adamic-Adar": neighbours},
        held_out=True,
    )


def random_splits(labels: Tensor, *, count: int, seed: int = 0) -> list[NodeSplit]:
    """Random splits of the labelled nodes in :data:`SHARES`; the same for every encoder."""
    known = (labels >= 0).nonzero().flatten()
    bounds = [round(SHARES[0] * len(known)), round((SHARES[0] + SHARES[1]) * len(known))]
    if not 0 < bounds[0] < bounds[1] < len(known):
        raise DataError(f"{len(known)} labelled nodes are too few for splits of 10 / 10 / 80 %")
    generator = torch.Generator().manual_seed(seed)
    splits = []
    for _ in range(count):
        order = known[torch.randperm(len(known), generator=generator)]
        parts = order[: bounds[0]], order[bounds[0] : bounds[1]], order[bounds[1] :]
        splits.append(NodeSplit(*(torch.zeros(len(labels), dtype=torch.bool).index_fill_(0, p, True) for p in parts)))
    return splits


def _classified(rows: Tensor, labels: Tensor, splits: list[NodeSplit]) -> dict[str, Measurement]:
    found, layers = (
        [probe(rows, labels, split.train, split.val, split.test) for split in splits]
        for probe in (node_probe, layer_probe)
    )
    known = labels >= 0
    nmi = kmeans_agreement(rows[known], labels[known], seeds=_CLUSTER_SEEDS).nmi
    return {
        "accuracy": _accuracy(found),
        "macro_f1": Measurement(_mean(found, lambda probe: probe.macro_f1), unit="F1", n=found[0].tested),
        "layer_accuracy": _accuracy(layers),
        "nmi": Measurement(float(nmi.mean()), unit="NMI", n=int(known.sum())),
    }


def _accuracy(found: list[NodeProbe]) -> Measurement:
    values = torch.tensor([probe.accuracy for probe in found], dtype=torch.float64)
    if len(found) == 1:
        half = 1.96 * float((values[0] * (1 - values[0]) / found[0].tested).sqrt())
        per_item = found[0].correct.float()
    else:
        half = 1.96 * float(values.std()) / len(found) ** 0.5
        per_item = None
    mean = float(values.mean())
    return Measurement(mean, mean - half, mean + half, "accuracy", found[0].tested, per_item=per_item)


def _interval(splits: list[NodeSplit]) -> str:
    if len(splits) == 1:
        return f"95 % binomial over {int(splits[0].test.sum()):,} test nodes"
    return f"95 % over {len(splits)} splits"


def _mean(found: list[NodeProbe], value: Callable[[NodeProbe], float]) -> float:
    return sum(map(value, found)) / len(found)


def _split_words(splits: list[NodeSplit], *, own: bool) -> str:
    sizes = " / ".join(f"{int(part.sum()):,}" for part in (splits[0].train, splits[0].val, splits[0].test))
    if own:
        return f"the data's own: {sizes} nodes to train the probe, choose and test" + (
            f", mean of {len(splits)} splits" if len(splits) > 1 else ""
        )
    return f"random, {sizes} nodes to train the probe, choose and test; mean of {len(splits)} splits, seed 0"


def _linked(scores: LinkScores) -> dict[str, Measurement]:
    return {
        "auc": Measurement(scores.auc, unit="AUC", n=scores.pairs),
        "ap": Measurement(scores.ap, unit="AP", n=scores.pairs),
    }
