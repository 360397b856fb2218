"""Clips that are arrays: in memory, in .npy and in .npz files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.array_files import NpzArrays, find_array, open_npy
from twofold.modalities.folders import split_of
from twofold.modalities.labels import encode_labels
from twofold.modalities.pixels.decode import UnreadableError
from twofold.modalities.video.readers.files import ClipSource
from twofold.modalities.video.readers.form import Clip, Form

_CLIP_KEYS = ("videos", "clips", "x", "X", "data", "video", "frames", "arr_0")
_LABEL_KEYS = ("labels", "y", "Y", "label", "targets", "target", "arr_1")
_COLOURS = (1, 3)


def from_arrays(clips: Any, labels: Any = None, *, name: str) -> ClipSource:
    """Clips of an array, or of a list of arrays with frames of their own number and size.

    Args:
        clips: ``(n, t, h, w, c)``, ``(n, t, c, h, w)`` or grey ``(n, t, h, w)``, c = 1 or 3; or a list without n.
            uint8, or floats in [0, 1]. Where both places of the channels fit, torch tensors are taken to have them
            first, and numpy arrays to have them last.
        labels: One class a clip, or None.
        name: What the array is called, for messages.

    Raises:
        DataError: For other shapes and types.
    """
    first = isinstance(clips, Tensor) or (isinstance(clips, list | tuple) and isinstance(clips[0], Tensor))
    rows: Sequence[np.ndarray]
    if isinstance(clips, list | tuple):
        rows = [_numpy(clip) for clip in clips]
        layouts = {_layout(row.shape, row.dtype, first, f"{name}, clip {i}") for i, row in enumerate(rows)}
    else:
        rows = _numpy(clips)  # type: ignore[assignment]
        layouts = {_layout(rows.shape[1:], rows.dtype, first, name)}  # type: ignore[attr-defined]
    if len(rows) == 0:
        raise DataError(f"{name} is empty: it holds no clips")
    grey = all(channels == 1 for _, channels in layouts)

    def frames(i: int) -> np.ndarray:
        place, _ = _layout(rows[i].shape, rows[i].dtype, first, name)
        return np.expand_dims(rows[i], 1) if place is None else np.moveaxis(rows[i], place, 1)

    return ClipSource(
        read=lambda i, form: _formed(frames(i), form),
        size=lambda i: (frames(i).shape[3], frames(i).shape[2]),
        ids=[str(i) for i in range(len(rows))],
        name=name,
        channels=1 if grey else 3,
        **_labelled(labels, name, len(rows)),
    )


def read_array_file(path: Path, *, split: str | None) -> ClipSource:
    """A .npy file, or the clips and labels of an .npz file (videos, clips, x ...; labels, y ...; x_train and such).

    Raises:
        DataError: If the file is damaged or holds no clips.
    """
    if path.suffix.lower() == ".npy":
        return from_arrays(open_npy(path), name=str(path))
    arrays = NpzArrays(path)
    clips = find_array(arrays, _CLIP_KEYS, split)
    if clips is None:
        held = ", ".join(list(arrays)[:10]) or "nothing"
        which = f" of split {split!r}" if split else ""
        raise DataError(f"{path} has no clips{which} under a known name; it holds: {held}. Name them 'videos'")
    part = next((word for word in clips.split("_") if split_of(word)), None)
    labels = find_array(arrays, _LABEL_KEYS, part)
    source = from_arrays(arrays[clips], None if labels is None else arrays[labels], name=f"{path}[{clips}]")
    if part and not split:
        source.notes.append(f"read the array {clips!r} of {', '.join(arrays)}")
    return source


def _labelled(labels: Any, name: str, count: int) -> dict[str, Any]:
    if labels is None:
        return {}
    encoded, names = encode_labels(labels, f"{name}: labels", count)
    return {"labels": encoded, "class_names": names}


def _layout(shape: tuple[int, ...], kind: np.dtype[Any], first: bool, where: str) -> tuple[int | None, int]:
    """Where the channels of a clip's frames are (1, 3, or None for grey without channels), and how many there are."""
    if kind != np.uint8 and kind.kind != "f":
        raise DataError(f"{where} has type {kind}; clips are uint8, or floats in [0, 1]")
    if 0 not in shape and len(shape) == 3:
        return None, 1
    if 0 not in shape and len(shape) == 4:
        fitting = [place for place in ((1, 3) if first else (3, 1)) if shape[place] in _COLOURS]
        if fitting:
            return fitting[0], shape[fitting[0]]
    raise DataError(
        f"{where} has clips of shape {shape}; they are (t, h, w, c), (t, c, h, w) with c = 1 or 3, or (t, h, w)"
    )


def _formed(frames: np.ndarray, form: Form) -> Clip:
    """Frames (t, c, h, w) in the form of a data set."""
    kept = np.ascontiguousarray(frames[:: form.stride][: form.frames])
    height, width = kept.shape[2:]
    if kept.dtype != np.uint8:
        if not (np.isfinite(kept).all() and kept.min() >= 0 and kept.max() <= 1):
            raise UnreadableError("holds floats that are NaN or outside of [0, 1]")
        kept = np.rint(kept.astype(np.float32) * 255).astype(np.uint8)
    if kept.shape[1] < form.channels:
        kept = np.repeat(kept, form.channels, axis=1)
    if (height, width) != (form.size, form.size):
        pixels = F.interpolate(
            torch.tensor(kept).float(), (form.size, form.size), mode="bilinear", antialias=True, align_corners=False
        )
        kept = pixels.round_().clamp_(0, 255).to(torch.uint8).numpy()
    return Clip.of(list(kept), width / height)


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asanyarray(values)
