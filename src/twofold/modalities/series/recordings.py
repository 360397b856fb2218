"""Recordings as readers find them, mended and brought to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from torch import Tensor

from twofold.errors import DataError

Fit = Literal["resample", "crop"]


@dataclass
class Recordings:
    """What every reader returns.

    Attributes:
        series: Numbers, ``(steps, channels)`` each, of any lengths.
        ids: One readable name a recording.
        name: What was read, for messages.
        labels: int64 ``(n,)``, -1 = none; or None.
        class_names: Names of the classes, or None.
        groups: Who or what each recording is of (a subject, a session), or None.
        channels: Names of the channels, or None.
        step_labels: int64 ``(steps,)`` a recording, where the class changes on the way; or None.
        joints: Where each step was an array ``(joints, coordinates)``, how many.
        skipped: What of the source could not be used, name to reason.
        notes: What else a user should know.
    """

    series: Sequence[np.ndarray]
    ids: Sequence[str]
    name: str
    labels: Tensor | None = None
    class_names: list[str] | None = None
    groups: Sequence[str] | None = None
    channels: list[str] | None = None
    step_labels: Sequence[np.ndarray] | None = None
    joints: int | None = None
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def of_groups(recordings: Recordings, wanted: Sequence[str]) -> Recordings:
    """The recordings of some groups.

    Raises:
        DataError: If there are no groups, or none of one of these names.
    """
    if recordings.groups is None:
        raise DataError(
            f"{recordings.name} has no groups: give a column or array of subjects (group_column=, 'groups')"
        )
    if missing := sorted(set(wanted) - set(recordings.groups)):
        known = ", ".join(sorted(set(recordings.groups))[:20])
        raise DataError(f"{recordings.name} has no group {missing[0]!r}; it has: {known}")
    kept = [i for i, group in enumerate(recordings.groups) if group in wanted]
    return replace(
        recordings,
        series=[recordings.series[i] for i in kept],
        ids=[recordings.ids[i] for i in kept],
        groups=[recordings.groups[i] for i in kept],
        labels=None if recordings.labels is None else recordings.labels[kept],
        step_labels=None if recordings.step_labels is None else [recordings.step_labels[i] for i in kept],
    )


def mended(series: np.ndarray) -> tuple[np.ndarray, int]:
    """A recording as float32 ``(steps, channels)`` without gaps, and how many values were filled in.

    NaN is a gap. It is filled by the line between its neighbours in time, at the ends by the nearest value.

    Raises:
        DataError: If there are no steps, a value is infinite, or a channel has no values at all.
    """
    if series.ndim != 2 or 0 in series.shape:
        raise DataError(f"it has no values (its shape is {series.shape})")
    with np.errstate(over="ignore"):
        values = series.astype(np.float32)
    missing = np.isnan(values)
    if np.isinf(values).any():
        step, channel = np.argwhere(np.isinf(values))[0]
        raise DataError(f"step {step} of channel {channel} is infinite, or beyond 32-bit numbers")
    if empty := np.flatnonzero(missing.all(0)).tolist():
        raise DataError(f"channel {empty[0]} has no values (NaN everywhere)")
    steps = np.arange(len(values))
    for channel in np.flatnonzero(missing.any(0)):
        gap = missing[:, channel]
        values[gap, channel] = np.interp(steps[gap], steps[~gap], values[~gap, channel])
    return values, int(missing.sum())


def fitted(values: np.ndarray, length: int, fit: Fit) -> np.ndarray:
    """A recording ``(steps, channels)`` with ``length`` steps.

    Args:
        values: float32, without gaps.
        length: At least 1.
        fit: ``resample`` stretches time, by the line between neighbouring steps. ``crop`` keeps the sampling rate: of
            a longer recording the middle is taken, a shorter one stays at its last value.
    """
    steps = len(values)
    if steps == length:
        return values
    if fit == "crop":
        start = max(0, steps - length) // 2
        return values[np.minimum(np.arange(start, start + length), steps - 1)]
    place = np.linspace(0, steps - 1, length)
    before = np.minimum(place.astype(np.int64), max(0, steps - 2))
    share = (place - before).astype(np.float32)[:, None]
    after = np.minimum(before + 1, steps - 1)
    return values[before] * (1 - share) + values[after] * share


def window_starts(steps: int, window: int, stride: int) -> range:
    """Where the windows of a recording begin that lie in it as a whole."""
    return range(0, steps - window + 1, stride)


def most_frequent(labels: np.ndarray) -> int:
    """The class of most steps (the smaller of equally frequent ones); -1 where most have none."""
    values, counts = np.unique(labels, return_counts=True)
    return int(values[counts.argmax()])
