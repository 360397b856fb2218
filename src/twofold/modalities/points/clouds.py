"""The data set of clouds: read when fetched, brought to one form, kept in memory where they fit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import check_memory
from twofold.modalities.labels import checked_index
from twofold.modalities.points.readers.shapes import (
    Cloud,
    Mesh,
    Up,
    check_places,
    in_unit_ball,
    resample,
    sample_surface,
    turned,
)

Features = Literal["none", "normals", "all"]

DEFAULT_POINTS = 1024
"""As PointNet and most after it (Qi et al., CVPR 2017)."""
CACHE_BYTES = 2 * 1024**3
"""Sets whose clouds fit in this are kept in memory."""
SAMPLE = 256
"""How many clouds, evenly spread over the set, decide its columns and its moments."""

_MAJORITY_AFTER = 32  # so many clouds must have been tried before "more than half fail" stops a run


@dataclass(frozen=True)
class CloudSource:
    """Where clouds lie, and what is known of them; every reader returns this.

    Attributes:
        load: Position to a cloud or mesh; called from several threads. May raise DataError.
        ids: One readable name a cloud.
        name: What was read, in words, for messages.
        labels: int64 (n,), -1 = none; or None.
        class_names: Names of the classes, or None.
        notes: What else a user should know.
    """

    load: Callable[[int], Cloud | Mesh]
    ids: Sequence[str]
    name: str
    labels: Tensor | None = None
    class_names: list[str] | None = None
    notes: list[str] = field(default_factory=list)


class PointClouds:
    """Clouds of one size, read on fetch and then kept in memory if all fit into 2 GiB. Safe to fetch from threads.

    A cloud that cannot be used is left out of the batch and recorded in `skipped` with its reason. Up to 256 clouds,
    evenly spread, are read at once, for the columns and the moments in `spec`.

    Args:
        source: Where they lie.
        points: Points a cloud; None: 1024, or as many as the largest of the sample has if that is fewer.
        features: What is kept of a point beside its place; see :func:`twofold.modalities.points.data.read`.
        normalize: Centre each cloud and scale it into the unit ball.
        up: The axis of the source that points up; it becomes z.

    Raises:
        DataError: If there are no clouds, more than half of the sample cannot be read, or it lacks the features.
    """

    def __init__(
        self,
        source: CloudSource,
        *,
        points: int | None = None,
        features: Features = "none",
        normalize: bool = True,
        up: Up = "z",
    ) -> None:
        if len(source.ids) == 0:
            raise DataError(f"{source.name}: no clouds")
        self.source, self.normalize, self.up = source, normalize, up
        self.labels, self.class_names, self.ids = source.labels, source.class_names, source.ids
        self.skipped: dict[str, str] = {}
        self.notes = list(source.notes)
        self.repeated = 0
        self._lock = threading.Lock()
        self._tried = torch.zeros(len(self), dtype=torch.bool)
        self._failed: set[int] = set()
        self.points = points or DEFAULT_POINTS
        sample = self._sample()
        self.points = points or max(len(cloud) for cloud in sample.values())
        self.normals, self.extras = self._columns(list(sample.values()), features)
        form = (self.points, 3 + 3 * self.normals + self.extras)
        fits = 4 * len(self) * form[0] * form[1] <= CACHE_BYTES
        self._stored = torch.zeros(len(self), dtype=torch.bool)
        self._clouds = torch.empty((len(self) if fits else 0, *form))
        self.spec = self._spec([row for i, cloud in sample.items() if (row := self._formed(i, cloud)) is not None])

    def __len__(self) -> int:
        return len(self.ids)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The readable clouds of `index` (int64, (b,)).

        Returns:
            "inputs" float32 (kept, points, channels): place, normal if there are normals, other columns; "index" int64
            (kept,), and "label" if there are labels. kept <= b: unreadable ones are left out.

        Raises:
            DataError: If more than half of all clouds tried so far (32 or more of them) could not be read.
        """
        index = checked_index(index, len(self))
        kept = {i: row for i in index.tolist() if (row := self._read(i)) is not None}
        self._stop_if_mostly_broken(_MAJORITY_AFTER)
        rows = torch.tensor([i for i in index.tolist() if i in kept], dtype=torch.int64)
        channels = int(self.spec["channels"])
        inputs = torch.stack([kept[i] for i in rows.tolist()]) if len(rows) else torch.empty(0, self.points, channels)
        batch: dict[str, Any] = {"inputs": inputs, "index": rows}
        if self.labels is not None:
            batch["label"] = self.labels[rows]
        return batch

    def _read(self, i: int) -> Tensor | None:
        if bool(self._stored[i]):
            return self._clouds[i]
        if i in self._failed:
            return None
        cloud = self._load(i)
        return None if cloud is None else self._formed(i, cloud)

    def _load(self, i: int) -> Cloud | None:
        """The cloud at i, of at most `points` points; None, and a reason in `skipped`, if there is none."""
        try:
            shape = self.source.load(i)
            if isinstance(shape, Mesh):
                return sample_surface(shape, self.points)
            check_places(shape.places, "points")
            return resample(shape, min(self.points, max(1, len(shape))))
        except DataError as error:
            self._skip(i, error)
            return None

    def _formed(self, i: int, cloud: Cloud) -> Tensor | None:
        """A cloud in the form of this data set, (points, channels) float32; None if it cannot be brought to it."""
        try:
            row = torch.from_numpy(self._table(cloud))
        except DataError as error:
            self._skip(i, error)
            return None
        with self._lock:
            self.repeated += len(cloud) < self.points and not bool(self._tried[i])
            self._tried[i] = True
        if len(self._clouds):
            self._clouds[i] = row
            self._stored[i] = True  # last: another thread may look at any moment
        return row

    def _table(self, cloud: Cloud) -> np.ndarray:
        cloud = turned(resample(cloud, self.points), self.up)
        parts = [in_unit_ball(cloud.places) if self.normalize else cloud.places]
        if self.normals:
            if cloud.normals is None:
                raise DataError("it has no normals, other clouds of this data do; or read with features='none'")
            parts.append(cloud.normals)
        if self.extras:
            have = 0 if cloud.extras is None else cloud.extras.shape[1]
            if cloud.extras is None or have != self.extras:
                raise DataError(f"it has {have} columns beside place and normal, other clouds have {self.extras}")
            parts.append(cloud.extras)
        with np.errstate(over="ignore"):
            table = np.concatenate(parts, axis=1).astype(np.float32)
        check_places(table, "points")
        return table

    def _sample(self) -> dict[int, Cloud]:
        rows = spread(len(self), SAMPLE).tolist()
        sample = {i: cloud for i in rows if (cloud := self._load(i)) is not None}
        self._tried[list(self._failed)] = True
        if 2 * len(self._failed) > len(rows):
            raise self._mostly_broken(len(rows))
        return sample

    def _columns(self, sample: Sequence[Cloud], features: Features) -> tuple[bool, int]:
        """Whether normals are kept, and how many other columns."""
        if features == "none":
            return False, 0
        lacking = sum(cloud.normals is None for cloud in sample)
        if features == "normals":
            if lacking:
                raise DataError(
                    f"{self.source.name}: {lacking} of {len(sample)} clouds looked at have no normals (columns of unit "
                    "length after the place; nx, ny, nz in PLY): read with features='none'"
                )
            return True, 0
        widths = {0 if cloud.extras is None else cloud.extras.shape[1] for cloud in sample}
        extras = widths.pop() if len(widths) == 1 else 0
        if 0 < lacking < len(sample) or widths:
            self.notes.append("columns that not all clouds have are left out")
        return not lacking, extras

    def _spec(self, rows: list[Tensor]) -> dict[str, Any]:
        self._stop_if_mostly_broken(min(SAMPLE, len(self)))
        if not rows:
            raise self._mostly_broken(int(self._tried.sum()))
        check_memory(8 * sum(row.numel() for row in rows), f"{self.source.name}: a sample of {len(rows)} clouds")
        mean, std = moments(torch.stack(rows), normals=self.normals)
        return {
            "modality": "points",
            "points": self.points,
            "channels": len(mean),
            "normals": self.normals,
            "extras": self.extras,
            "normalize": self.normalize,
            "up": self.up,
            "mean": mean,
            "std": std,
            "samples": len(self),
        }

    def _skip(self, i: int, error: DataError) -> None:
        with self._lock:
            self._tried[i] = True
            self._failed.add(i)
            self.skipped[self.ids[i]] = str(error)

    def _stop_if_mostly_broken(self, at_least: int) -> None:
        tried = int(self._tried.sum())
        if tried >= min(at_least, len(self)) and 2 * len(self._failed) > tried:
            raise self._mostly_broken(tried)

    def _mostly_broken(self, tried: int) -> DataError:
        with self._lock:
            first = "\n".join(f"  {name}: {reason}" for name, reason in list(self.skipped.items())[:5])
            count, reasons = len(self._failed), list(self.skipped.values())
        if len(self) == 1:
            return DataError(f"{self.source.name}: {reasons[0]}")
        return DataError(
            f"{self.source.name}: {count} of the {tried} clouds tried could not be read. The first:\n{first}"
        )


def spread(count: int, wanted: int) -> Tensor:
    """At most `wanted` positions, evenly spread over range(count) so that sorted classes are all met."""
    if count <= wanted:
        return torch.arange(count)
    return torch.arange(wanted) * count // wanted


def moments(clouds: Tensor, *, normals: bool) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel of clouds (n, p, channels); each deviation at least 1e-6.

    The three axes share one deviation, so that dividing by it keeps shapes; normals keep mean 0 and deviation 1.
    """
    rows = clouds.double().flatten(0, 1)
    mean, std = rows.mean(0), rows.std(0, correction=0)
    std[:3] = std[:3].square().mean().sqrt()
    if normals:
        mean[3:6], std[3:6] = 0, 1
    return [round(v, 6) for v in mean.tolist()], [round(max(v, 1e-6), 6) for v in std.tolist()]
