"""The data set of series: recordings mended, brought to one length or cut into windows, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from twofold.dataset import Dataset, Subset
from twofold.errors import ConfigError, DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities.labels import checked_index, label_sentence
from twofold.modalities.series import skeletons
from twofold.modalities.series.recordings import Fit, Recordings, fitted, mended, most_frequent, window_starts

Normalize = Literal["none", "each", "body"]
Layout = Literal["time-first", "channels-first"]

LONGEST = 512
"""Steps that recordings of different lengths are brought to at most, where no length is asked for."""
_MOMENT_SAMPLES = 4096
_COPIES = 3
"""Of all values in 32 bits, at most so many while reading: mended, of one length, in one piece."""
_SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Form:
    """What recordings are brought to; see :func:`twofold.modalities.series.reading.read`."""

    length: int | None = None
    fit: Fit = "resample"
    window: int | None = None
    stride: int | None = None
    skeleton: str | None = None
    parts: str | None = None
    normalize: Normalize | None = None

    def __post_init__(self) -> None:
        counts = {"length": self.length, "window": self.window, "stride": self.stride}
        problems = [
            f"{name} must be at least {least} steps, not {counts[name]}"
            for name, least in (("length", 2), ("window", 2), ("stride", 1))
            if (value := counts[name]) is not None and value < least
        ]
        if self.window is not None and self.length not in (None, self.window):
            problems.append(f"window={self.window} is the length of what is cut; leave length={self.length} out")
        if self.stride is not None and self.window is None:
            problems.append("stride is the distance of windows: give window= too")
        if problems:
            raise ConfigError(problems)


class SeriesData:
    """Series of one length, held in memory. Safe to fetch from threads.

    Args:
        recordings: What was read.
        form: What it is brought to.

    Attributes:
        groups: Who or what each sample is of: as the source says, else the recording that a window was cut from.
        filled: How many missing values were filled in.

    Raises:
        DataError: If there is nothing, more than half of the recordings cannot be used, or they do not go together.
        ConfigError: If skeleton or parts do not fit the channels.
    """

    def __init__(self, recordings: Recordings, form: Form) -> None:
        self.name, self.notes = recordings.name, list(recordings.notes)
        self.skipped = dict(recordings.skipped)
        self.class_names = recordings.class_names
        self.filled = 0
        kept = self._mended(recordings)
        kept, self.length = self._of_one_length(kept, recordings, form)
        starts, owners, total = [], [], 0
        for i, values in kept.items():
            cut = window_starts(len(values), self.length, form.stride or self.length)
            starts += [total + start for start in cut]
            owners += [(i, start) for start in cut]
            total += len(values)
        check_memory(len(starts) * SAMPLE_BYTES, self.name)
        self.steps = torch.from_numpy(np.concatenate(list(kept.values())))
        self.starts = torch.tensor(starts, dtype=torch.int64)
        windows = form.window is not None
        self.ids: Sequence[str] = [f"{recordings.ids[i]} @ {at}" if windows else recordings.ids[i] for i, at in owners]
        self.labels = self._labels(recordings, owners, windows=windows)
        groups = recordings.groups or (recordings.ids if windows else None)
        self.groups = None if groups is None else [str(groups[i]) for i, _ in owners]
        self.spec = self._facts(recordings, form)
        self.spec |= self._moments()
        if self.filled:
            self.notes.append(f"{self.filled:,} missing values were filled in by the line between their neighbours")

    def __len__(self) -> int:
        return len(self.starts)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The series of ``index``: "inputs" float32 ``(b, length, channels)``, "index", and "label" if any."""
        index = checked_index(index, len(self))
        inputs = self.steps[self.starts[index][:, None] + torch.arange(self.length)]
        batch = {"inputs": normalized(inputs, self.spec["normalize"], self.spec["joints"]), "index": index}
        return batch if self.labels is None else batch | {"label": self.labels[index]}

    def leave_out(self, *groups: str | int) -> tuple[Dataset, Dataset]:
        """Two parts: the samples of all other groups, and those of these groups (subjects, say).

        Raises:
            DataError: If the data has no groups, or not these, or no others.
        """
        wanted = {str(group) for group in groups}
        if self.groups is None:
            raise DataError(f"{self.name} has no groups: give a column or array of subjects (group_column=, 'groups')")
        known = set(self.groups)
        if missing := sorted(wanted - known):
            raise DataError(f"{self.name} has no group {missing[0]!r}; it has: {', '.join(sorted(known)[:20])}")
        if not wanted or wanted == known:
            raise DataError(f"leave out some of the groups {', '.join(sorted(known)[:20])}, not none and not all")
        out = torch.tensor([group in wanted for group in self.groups])
        return Subset(self, (~out).nonzero().flatten()), Subset(self, out.nonzero().flatten())

    def _mended(self, recordings: Recordings) -> dict[int, np.ndarray]:
        """The usable recordings by their position."""
        check_memory(_COPIES * 4 * sum(one.size for one in recordings.series), self.name)
        kept: dict[int, np.ndarray] = {}
        for i, series in enumerate(recordings.series):
            try:
                kept[i], filled = mended(series)
            except DataError as error:
                self.skipped[recordings.ids[i]] = str(error)
                continue
            self.filled += filled
        tried = len(kept) + len(self.skipped)
        if 2 * len(kept) < tried or not kept:
            raise DataError(f"{self.name}: {len(self.skipped)} of {tried} recordings cannot be used{self._first()}")
        widths = {values.shape[1] for values in kept.values()}
        if len(widths) > 1:
            firsts = sorted({values.shape[1]: i for i, values in reversed(kept.items())}.values())
            told = [f"{recordings.ids[i]} has {kept[i].shape[1]}" for i in firsts[:3]]
            raise DataError(f"{self.name}: recordings have different numbers of channels: {', '.join(told)}")
        return kept

    def _first(self) -> str:
        if not self.skipped:
            return ": there are none"
        name, reason = next(iter(self.skipped.items()))
        return f". The first: {name}: {reason}"

    def _of_one_length(
        self, kept: dict[int, np.ndarray], recordings: Recordings, form: Form
    ) -> tuple[dict[int, np.ndarray], int]:
        """Recordings of the length that samples have; whole ones where windows are cut."""
        lengths = {i: len(values) for i, values in kept.items()}
        if form.window is not None:
            for i, steps in lengths.items():
                if steps < form.window:
                    self.skipped[recordings.ids[i]] = f"it has {steps} steps, a window has {form.window}"
            kept = {i: values for i, values in kept.items() if len(values) >= form.window}
            if not kept:
                longest = max(lengths.values())
                raise DataError(f"{self.name}: no recording has {form.window} steps (window=), the longest {longest}")
            return kept, form.window
        longest = max(lengths.values())
        length = form.length or (longest if len(set(lengths.values())) == 1 else min(longest, LONGEST))
        check_memory(len(kept) * (4 * length * next(iter(kept.values())).shape[1] + SAMPLE_BYTES), self.name)
        changed = sum(steps != length for steps in lengths.values())
        if changed:
            how = "resampled" if form.fit == "resample" else "cropped or extended"
            self.notes.append(
                f"{changed:,} recordings of {min(lengths.values())} to {longest} steps were {how} to {length}"
            )
        return {i: fitted(values, length, form.fit) for i, values in kept.items()}, length

    def _labels(self, recordings: Recordings, owners: list[tuple[int, int]], *, windows: bool) -> Tensor | None:
        if recordings.step_labels is None:
            return None if recordings.labels is None else recordings.labels[[i for i, _ in owners]]
        changing = sum(len(np.unique(labels)) > 1 for labels in recordings.step_labels)
        if changing and not windows:
            self.notes.append(
                f"the class changes within {changing} recordings: theirs is that of most steps; cut windows (window=) "
                "to keep the classes apart"
            )
        cut = slice(None, self.length) if windows else slice(None)
        labels = [most_frequent(recordings.step_labels[i][start:][cut]) for i, start in owners]
        return torch.tensor(labels, dtype=torch.int64)

    def _facts(self, recordings: Recordings, form: Form) -> dict[str, Any]:
        channels = self.steps.shape[1]
        body = form.skeleton or (None if recordings.joints is None else str(recordings.joints))
        facts: dict[str, Any] = {"skeleton": body, "joints": None, "dims": None, "mirror": None}
        if body is not None:
            skeleton = skeletons.named(body)
            facts |= {"joints": skeleton.joints, "dims": skeleton.dimensions(channels)}
            facts["mirror"] = None if skeleton.mirror is None else list(skeleton.mirror)
        normalize = form.normalize or ("none" if body is None else "body")
        if normalize == "body" and body is None:
            raise ConfigError("normalize='body' is for skeletons: say how many joints there are with skeleton=")
        names = recordings.channels if recordings.channels and len(recordings.channels) == channels else None
        return {
            "modality": "series",
            "samples": len(self),
            "length": self.length,
            "channels": channels,
            "names": names,
            "fit": form.fit,
            "window": form.window,
            "stride": form.stride,
            "parts": parts_of(form.parts, channels),
            "normalize": normalize,
        } | facts

    def _moments(self) -> dict[str, Any]:
        """Mean and deviation of each channel, over up to 4096 samples that are spread evenly."""
        count = min(len(self), _MOMENT_SAMPLES)
        chosen = torch.arange(count) * len(self) // count
        rows = self.starts[chosen][:, None] + torch.arange(self.length)
        values = normalized(self.steps[rows], self.spec["normalize"], self.spec["joints"]).double().flatten(0, 1)
        mean, deviation = values.mean(0), values.std(0, correction=0)
        still = deviation <= _SMALLEST_DEVIATION * mean.abs().clamp(min=1)
        if bool(still.any()):
            self.notes.append(f"{int(still.sum())} channels never change")
        return {"mean": mean.tolist(), "std": torch.where(still, 1.0, deviation).tolist()}


def normalized(series: Tensor, how: str, joints: int | None) -> Tensor:
    """Series ``(b, t, c)`` in their own units.

    Args:
        series: float32.
        how: ``each``: every channel of every series has mean 0 and deviation 1. ``body``: the mean place of all joints
            over time is the origin, and their root mean square distance from the middle of the body is 1.
        joints: For ``body``; each has as many coordinates in a row.
    """
    if how == "each":
        centred = series - series.mean(1, keepdim=True)
        deviation = centred.square().mean(1, keepdim=True).sqrt()
        return centred / torch.where(deviation > _SMALLEST_DEVIATION, deviation, 1.0)
    if how == "body" and joints:
        places = series.unflatten(2, (joints, -1))
        reach = (places - places.mean(2, keepdim=True)).square().sum(3).mean((1, 2)).sqrt()
        places = places - places.mean((1, 2), keepdim=True)
        return (places / torch.where(reach > 0, reach, 1.0)[:, None, None, None]).flatten(2)
    return series


def parts_of(text: str | None, channels: int) -> list[int] | None:
    """How many channels each part has: ``"3,3"`` is [3, 3].

    Raises:
        ConfigError: If these are no numbers, or do not add up to the channels.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    counts = [int(word) for word in words if word.isascii() and word.isdigit() and len(word) < 9]
    if len(counts) != len(words) or 0 in counts or sum(counts) != channels:
        raise ConfigError(f"parts are numbers of channels that add up to {channels}, such as '3,3'; not {text!r}")
    return counts


def summary(dataset: Dataset) -> str:
    """One paragraph: how many series, their form, their classes, and what was left out and why."""
    spec = dataset.spec
    what = "windows" if spec["window"] else "series"
    of = f"{spec['joints']} joints with {spec['dims']} coordinates" if spec["joints"] else _channels(spec)
    text = [
        f"{len(dataset):,} {what} of {spec['length']:,} steps, {of}.",
        label_sentence(dataset.labels, dataset.class_names, items=what),
    ]
    if groups := getattr(dataset, "groups", None):
        text.append(f"{len(set(groups)):,} groups.")
    if dataset.skipped:
        name, reason = next(iter(dataset.skipped.items()))
        text.append(f"{len(dataset.skipped)} recordings are left out, such as {name} ({reason}).")
    text += [f"Note: {note}." for note in getattr(dataset, "notes", ())]
    return " ".join(text)


def _channels(spec: dict[str, Any]) -> str:
    count = spec["channels"]
    names = f" ({', '.join(spec['names'][:6])}{', ...' if count > 6 else ''})" if spec["names"] else ""
    return f"{count} channel{'s' * (count != 1)}{names}"
