"""Pictures that are already arrays: tensors, numpy, .npy, .npz, .safetensors, IDX and lists of PIL pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.errors import DataError
from twofold.limits import SAMPLE_BYTES, check_memory
from twofold.modalities.array_files import NpzArrays, forget, open_npy
from twofold.modalities.image.readers.arrays import ImageArrays
from twofold.modalities.image.readers.files import default_size
from twofold.modalities.image.readers.folders import SPLITS, split_of
from twofold.modalities.image.readers.idx import read_idx
from twofold.modalities.image.readers.labels import encode_array
from twofold.modalities.pixels.decode import UnreadableError, decode, is_grey
from twofold.modalities.shown import listed

_IMAGE_KEYS = ("images", "x", "X", "data", "image", "imgs", "arr_0")
_LABEL_KEYS = ("labels", "y", "Y", "label", "targets", "target", "arr_1")
_PIECE_BYTES = 64 * 1024**2  # of float64: pictures are converted and resized so many at a time


def from_arrays(
    images: Any, labels: Any = None, *, size: int | None, source: str, notes: Sequence[str] = ()
) -> ImageArrays:
    """A dataset of an array of pictures.

    Args:
        images: (n, h, w), (n, h, w, c) or (n, c, h, w) with c = 1, 3 or 4 (alpha, composited on white); integers in
            0..255, booleans, or floats in [0, 1]. Where both 4-D readings fit, torch tensors are taken as channels
            first and numpy arrays as channels last.
        labels: (n,) whole numbers or text, (n, 1), or one-hot (n, classes).
        size: Side of the squares; None: the shorter of h and w.
        source: What the array is called, for messages.
        notes: Passed on to the dataset.

    Raises:
        DataError: For other shapes, types or ranges.
    """
    pixels = _composite(_to_uint8(_channels_first(images, source), source))
    check_memory(len(pixels) * SAMPLE_BYTES + _squashed_bytes(pixels, size), f"{source}: {len(pixels):,} pictures")
    height, width = pixels.shape[-2:]
    aspect = None if height == width else torch.full((len(pixels),), width / height)
    encoded, names = (None, None) if labels is None else encode_array(_numpy(labels), f"{source}: labels", len(pixels))
    return ImageArrays(
        squashed(pixels, size or min(height, width)),
        labels=encoded,
        class_names=names,
        aspect=aspect,
        label_source=None if labels is None else f"the labels in {source}",
        notes=notes,
    )


def read_array_file(path: Path, *, size: int | None, split: str | None) -> ImageArrays:
    """A .npy file, or the images and labels of an .npz or .safetensors file.

    Keys looked for: images, x, data ... and labels, y, targets ...; with a split also train_images, x_train and such.
    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return from_arrays(open_npy(path), size=size, source=str(path))
    arrays = SafetensorsArrays(path) if suffix == ".safetensors" else NpzArrays(path)
    return _from_mapping(arrays, path, size=size, split=split)


def from_idx(path: Path, *, size: int | None, notes: Sequence[str] = ()) -> ImageArrays:
    """The pictures of an IDX file, with the labels of the file beside it."""
    images, labels = read_idx(path)
    if labels is None:
        notes = [*notes, f"no label file lies beside {path.name}"]
    return from_arrays(images, labels, size=size, source=str(path), notes=notes)


def from_pictures(pictures: Sequence[Any], *, size: int | None) -> ImageArrays:
    """A dataset of PIL pictures, decoded at once (they are in memory already, and are not safe to share)."""
    channels = 1 if all(is_grey(picture) for picture in pictures) else 3
    side = size or default_size(float(np.median([min(picture.size) for picture in pictures])))
    decoded, ids, aspects, skipped = [], [], [], {}
    for i, picture in enumerate(pictures):
        try:
            pixels, aspect = decode(picture, size=side, channels=channels)
        except UnreadableError as error:
            skipped[str(i)] = str(error)
            continue
        decoded.append(torch.from_numpy(pixels))
        ids.append(str(i))
        aspects.append(aspect)
    if 2 * len(skipped) > len(pictures):
        first = "; ".join(f"{i}: {reason}" for i, reason in list(skipped.items())[:3])
        raise DataError(f"{len(skipped)} of {len(pictures)} PIL pictures could not be decoded. The first: {first}")
    return ImageArrays(torch.stack(decoded), ids=ids, aspect=torch.tensor(aspects), skipped=skipped)


def squashed(images: Tensor, size: int) -> Tensor:
    """uint8 images (n, c, h, w) as (n, c, size, size), with an antialiased bilinear filter."""
    if images.shape[-2:] == (size, size):
        return images
    out = torch.empty((*images.shape[:2], size, size), dtype=torch.uint8, device=images.device)
    for rows in _pieces(images):
        part = F.interpolate(images[rows].float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
        out[rows] = part.round_().clamp_(0, 255).to(torch.uint8)
    return out


def _squashed_bytes(images: Tensor, size: int | None) -> int:
    """What `squashed` allocates."""
    height, width = images.shape[-2:]
    side = size or min(height, width)
    return 0 if height == width == side else len(images) * images.shape[1] * side**2


def _pieces(images: Tensor | np.ndarray) -> Iterator[slice]:
    """Slices of rows that cover all pictures; in float64, those of one slice take 64 MiB, or are a single one."""
    rows = max(1, _PIECE_BYTES // (8 * max(1, math.prod(images.shape[1:]))))
    for start in range(0, len(images), rows):
        yield slice(start, start + rows)


class SafetensorsArrays(Mapping[str, np.ndarray]):
    """The arrays of a .safetensors file by name, each read when it is asked for.

    Raises:
        DataError: If the file is damaged; on reading, if an array's type is not known to numpy.
    """

    def __init__(self, path: Path) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = path
        try:
            with safe_open(path, framework="np") as file:
                self._names = list(file.keys())
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: damaged or not a safetensors file ({error})") from error

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> np.ndarray:
        from safetensors import SafetensorError, safe_open

        where = f"{self.path}[{name}]"
        if name not in self._names:
            raise KeyError(name)
        check_memory(self.path.stat().st_size, where)  # no array is larger than its file
        try:
            with safe_open(self.path, framework="np") as file:
                array: np.ndarray = file.get_tensor(name)
        except (SafetensorError, OSError, TypeError, KeyError, AttributeError, ValueError) as error:
            raise DataError(f"{where}: not an array of numbers that numpy knows ({error})") from error
        return array


def _from_mapping(arrays: Mapping[str, Any], path: Path, *, size: int | None, split: str | None) -> ImageArrays:
    keys = list(arrays)
    images_key = _find(keys, _IMAGE_KEYS, split)
    if images_key is None:
        which = f" of split {split!r}" if split else ""
        raise DataError(
            f"{path} has no images{which} under a name that is known; it holds: {listed(keys)}. "
            f"Name them 'images' and 'labels' (or 'x_train' and 'y_train' ...)"
        )
    labels_key = _find(keys, _LABEL_KEYS, _key_split(images_key))
    labels = None if labels_key is None else arrays[labels_key]
    notes = [] if split or _key_split(images_key) is None else [f"read the array {images_key!r} of {listed(keys)}"]
    return from_arrays(arrays[images_key], labels, size=size, source=f"{path}[{images_key}]", notes=notes)


def _find(keys: list[str], names: Sequence[str], split: str | None) -> str | None:
    """The key among `keys` that is one of `names`, bare or joined to the split (x_train, train_x); default: train."""
    bare = next((name for name in names if name in keys), None)
    if split is None and bare is not None:
        return bare
    wanted = SPLITS.get(split_of(split or "train") or "", (split,))
    joined = (key for word in wanted for name in names for key in (f"{name}_{word}", f"{word}_{name}"))
    return next((key for key in joined if key in keys), None)


def _key_split(key: str) -> str | None:
    return next((split for word in key.split("_") if (split := split_of(word))), None)


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _channels_first(images: Any, source: str) -> Tensor | np.ndarray:
    """`images` seen as (n, c, h, w), of their own type and without a copy."""
    _check_numbers(images, source)
    shape = tuple(images.shape)
    if math.prod(shape) == 0:
        raise DataError(f"{source} is empty: its shape is {shape}")
    if len(shape) == 3:
        return images[:, None]
    if len(shape) == 4:
        prefer_last = not isinstance(images, Tensor)
        first, last = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
        if last and (prefer_last or not first):
            return images.movedim(3, 1) if isinstance(images, Tensor) else np.moveaxis(images, 3, 1)
        if first:
            return images
    raise DataError(
        f"{source} has shape {shape}; pictures are (n, height, width), (n, height, width, channels) or "
        "(n, channels, height, width) with 1, 3 or 4 channels. Reshape flattened pictures first"
    )


def _check_numbers(images: Tensor | np.ndarray, source: str) -> None:
    if not isinstance(images, Tensor) and images.dtype == object:
        raise DataError(f"{source} is an array of Python objects; stack the pictures to one array of numbers")
    fits = not images.is_complex() if isinstance(images, Tensor) else images.dtype.kind in "buif"
    if not fits:
        raise DataError(f"{source} has type {images.dtype}; pictures are integers 0..255 or floats in [0, 1]")


def _to_uint8(images: Tensor | np.ndarray, source: str) -> Tensor:
    """Pictures of any numeric type as uint8, piece by piece, so that large files need memory for the result only."""
    if isinstance(images, Tensor) and images.dtype == torch.uint8:
        return images.contiguous()
    shape = tuple(images.shape)
    check_memory(math.prod(shape) + 24 * math.prod(shape[1:]), f"{source}: {shape[0]:,} pictures {shape[1:]}")
    scale = _scale(images, source)
    if isinstance(images, Tensor):
        out = torch.empty(shape, dtype=torch.uint8, device=images.device)
    else:
        out = torch.from_numpy(np.empty(shape, np.uint8))  # NumPy asks for large pages: far fewer page faults
    for rows in _pieces(images):
        if isinstance(images, np.ndarray) and images.dtype == np.uint8:
            out[rows].numpy()[:] = images[rows]
        else:
            part = _wide(images[rows])
            out[rows] = (part if scale == 1 else part.mul(scale).round_()).to(torch.uint8)
        if isinstance(images, np.memmap):
            forget(images)
    return out


def _scale(images: Tensor | np.ndarray, source: str) -> int:
    """What pictures are multiplied with to fill 0..255; DataError if their range is none that pictures have."""
    name = str(images.dtype)
    if name in ("bool", "torch.bool"):
        return 255
    if name == "uint8":
        return 1
    low, high, floating = math.inf, -math.inf, False
    for rows in _pieces(images):
        part = _wide(images[rows])
        floating = part.is_floating_point()
        if floating and not bool(torch.isfinite(part).all()):
            raise DataError(f"{source} holds NaN or infinite values")
        low, high = min(low, part.min().item()), max(high, part.max().item())
    if not floating:
        if low < 0 or high > 255:
            raise DataError(f"{source} holds integers {low}..{high}; pictures need 0..255 (16 bits: divide by 257)")
        return 1
    if low < 0 or high > 1:
        raise DataError(
            f"{source} holds floats {low:g}..{high:g}; pictures need [0, 1]. Subtract the smallest possible value "
            "and divide by the range (0..255: divide by 255)"
        )
    return 255


def _wide(part: Tensor | np.ndarray) -> Tensor:
    """Numbers as uint8, int64 or float64: types with which torch can do everything, in the machine's byte order."""
    if isinstance(part, Tensor):
        return part.double() if part.is_floating_point() else part if part.dtype == torch.uint8 else part.long()
    kind = {"b": np.int64, "u": np.uint8 if part.dtype.itemsize == 1 else np.int64, "i": np.int64, "f": np.float64}
    return torch.from_numpy(np.array(part, dtype=kind[part.dtype.kind]))


def _composite(images: Tensor) -> Tensor:
    """RGBA pictures on white; others as they are."""
    if images.shape[1] != 4:
        return images
    out = torch.empty_like(images[:, :3])
    for rows in _pieces(images):
        part = images[rows].float()
        alpha = part[:, 3:] / 255
        out[rows] = (part[:, :3] * alpha + 255 * (1 - alpha)).round_().to(torch.uint8)
    return out
