"""Encoders side by side: the standard evaluation of each, chance levels, and paired differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from twofold.errors import ConfigError, DataError
from twofold.evaluation.chance import chance_levels
from twofold.evaluation.diagnosis import diagnose
from twofold.evaluation.features import Features
from twofold.evaluation.intervals import bootstrap_difference
from twofold.evaluation.protocol import (
    METRIC_GROUPS,
    METRICS,
    NEIGHBOURS,
    PROTOCOL,
    RECALL_DEPTHS,
    evaluate_features,
)
from twofold.evaluation.result import Difference, Evaluation, MetricInfo, Row


@dataclass(frozen=True, eq=False)
class Encoded:
    """One encoder's features of a task, with the label people read, such as "SimCLR, trained"."""

    label: str
    bank: Features
    test: Features
    gallery: Features | None = None


def evaluate_encoders(
    encoders: Mapping[str, Encoded],
    *,
    metrics: Sequence[str] = METRIC_GROUPS,
    seed: int = 0,
    protocol: Mapping[str, str] | None = None,
) -> Evaluation:
    """Evaluate several encoders of the same items side by side.

    Args:
        encoders: By name ("trained", "untrained", "raw"); the first is the one in question, and its paired difference
            from every other is given for each metric that has a score for each item. All hold the same items in the
            same order.
        metrics: As in `evaluate_features`.
        seed: As in `evaluate_features`, the same for every encoder.
        protocol: What only the caller knows, such as {"split": "70/30, stratified, seed 0"}; it comes first.

    Raises:
        ConfigError: If there is no encoder or a metric group is unknown.
        DataError: If widths differ within an encoder, or items between encoders.
    """
    if not encoders:
        raise ConfigError("nothing to evaluate: give at least one encoder")
    _check_same_items(encoders)
    rows = []
    for name, e in encoders.items():
        measured = evaluate_features(e.bank, e.test, metrics=metrics, seed=seed, gallery=e.gallery)
        rows.append(Row(name, e.label, measured, diagnose(e.bank, e.test, e.gallery, k=NEIGHBOURS)))
    first = next(iter(encoders.values()))
    chance = chance_levels(
        first.bank, first.test, gallery=first.gallery, depths=RECALL_DEPTHS, generator=np.random.default_rng(seed)
    )
    occurring = [key for key in METRICS if any(key in row.metrics for row in rows)]
    return Evaluation(
        protocol=dict(protocol or {}) | _protocol_text(first, metrics, seed),
        chance={key: chance[key] for key in occurring if key in chance},
        rows=rows,
        metrics={key: _with_count(key, rows) for key in occurring},
        differences=[difference for row in rows[1:] for difference in differences(rows[0], row, seed=seed)],
    )


def differences(row: Row, baseline: Row, *, seed: int = 0) -> list[Difference]:
    """`row` minus `baseline` for each metric with per-item scores on both, over the items that both scored."""
    found = []
    for key, ours in row.metrics.items():
        theirs = baseline.metrics.get(key)
        if ours.per_item is None or theirs is None or theirs.per_item is None:
            continue
        both = ours.per_item.isfinite() & theirs.per_item.isfinite()
        if not both.any():
            continue
        a, b = ours.per_item[both].numpy(), theirs.per_item[both].numpy()
        found.append(Difference(key, baseline.name, *bootstrap_difference(a, b, generator=np.random.default_rng(seed))))
    return found


def _check_same_items(encoders: Mapping[str, Encoded]) -> None:
    names = list(encoders)
    first = encoders[names[0]]
    for name in names[1:]:
        for side in ("bank", "test", "gallery"):
            ours, theirs = getattr(first, side), getattr(encoders[name], side)
            if (ours is None) != (theirs is None) or (ours is not None and not _same_items(ours, theirs)):
                raise DataError(
                    f"{names[0]} and {name} differ in the items of their {side} (number, labels or keys); encoders are "
                    "compared on the same items in the same order"
                )


def _same_items(a: Features, b: Features) -> bool:
    same_labels = (a.labels is None) == (b.labels is None)
    if same_labels and a.labels is not None and b.labels is not None:
        same_labels = torch.equal(a.labels.cpu(), b.labels.cpu())
    same_keys = (None if a.keys is None else list(a.keys)) == (None if b.keys is None else list(b.keys))
    return len(a) == len(b) and same_labels and same_keys


def _protocol_text(first: Encoded, metrics: Sequence[str], seed: int) -> dict[str, str]:
    known = int(first.bank.labelled.sum())
    text = {
        "bank": f"{len(first.bank)} items, {known} labelled; neighbours, probes and supports come from it only",
        "test": f"{len(first.test)} items, {int(first.test.labelled.sum())} labelled; nothing is chosen on them",
        "seeds": f"one evaluation with seed {seed}; intervals do not cover the retraining of the encoder",
    }
    if first.gallery is not None:
        text["gallery"] = f"{len(first.gallery)} items; test items are ranked against it"
    return text | {group: PROTOCOL[group] for group in metrics}


def _with_count(key: str, rows: Sequence[Row]) -> MetricInfo:
    """The metric's description with the number of test items or queries put into its interval."""
    info = METRICS[key]
    n = next(row.metrics[key].n for row in rows if key in row.metrics)
    for word in ("test items", "queries"):
        info = replace(info, interval=info.interval.replace(f"over {word}", f"over {n} {word}"))
    return info
