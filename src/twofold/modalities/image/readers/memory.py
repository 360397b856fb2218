"""Pictures that are already arrays: tensors, numpy, .npy, .npz, .safetensors, IDX and lists of PIL pictures."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.image.readers.arrays import ImageArrays
from twofold.modalities.image.readers.decode import UnreadableError, decode, is_grey
from twofold.modalities.image.readers.files import default_size
from twofold.modalities.image.readers.folders import SPLITS, split_of
from twofold.modalities.image.readers.idx import read_idx
from twofold.modalities.image.readers.labels import encode_array

_IMAGE_KEYS = ("images", "x", "X", "data", "image", "imgs", "arr_0")
_LABEL_KEYS = ("labels", "y", "Y", "label", "targets", "target", "arr_1")
_CHUNK = 256  # pictures resized at a time
_UNSAFE = (
    "it holds Python objects, and reading those can run any code that is stored with them. Where you trust the file, "
    "load it yourself with allow_pickle=True, stack the pictures to one uint8 array and save that"
)


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
    try:
        if path.suffix.lower() == ".safetensors":
            return _from_mapping(_load_safetensors(path), path, size=size, split=split)
        loaded = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix.lower() == ".npy" else None)
        if isinstance(loaded, np.ndarray):
            return from_arrays(loaded, size=size, source=str(path))
        with loaded:
            return _from_mapping(loaded, path, size=size, split=split)
    except DataError:
        raise
    except ValueError as error:
        if any(words in str(error) for words in ("allow_pickle", "Python objects")):  # numpy has two ways to say it
            raise DataError(f"{path} is not read: {_UNSAFE}") from error
        raise DataError(f"{path}: damaged or not an array file ({error})") from error
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged or not an array file ({error})") from error


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
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].float()
        part = F.interpolate(part, (size, size), mode="bilinear", antialias=True, align_corners=False)
        out[start : start + _CHUNK] = part.round_().clamp_(0, 255).to(torch.uint8)
    return out


def _load_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise DataError(f"{path}: damaged or not a safetensors file ({error})") from error


def _from_mapping(arrays: Mapping[str, Any], path: Path, *, size: int | None, split: str | None) -> ImageArrays:
    keys = list(arrays)
    images_key = _find(keys, _IMAGE_KEYS, split)
    if images_key is None:
        which = f" of split {split!r}" if split else ""
        raise DataError(
            f"{path} has no images{which} under a name that is known; it holds: {', '.join(keys) or 'nothing'}. "
            f"Name them 'images' and 'labels' (or 'x_train' and 'y_train' ...)"
        )
    labels_key = _find(keys, _LABEL_KEYS, _key_split(images_key))
    labels = None if labels_key is None else arrays[labels_key]
    notes = [] if split or _key_split(images_key) is None else [f"read the array {images_key!r} of {', '.join(keys)}"]
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


def _channels_first(images: Any, source: str) -> Tensor:
    """`images` as a tensor (n, c, h, w) of their own type."""
    prefer_last = not isinstance(images, Tensor)
    if not isinstance(images, Tensor):
        if images.dtype == object:
            raise DataError(f"{source} is an array of Python objects; stack the pictures to one array of numbers")
        if images.dtype.kind not in "buif":
            raise DataError(f"{source} has type {images.dtype}; pictures are integers 0..255 or floats in [0, 1]")
        if images.dtype in (np.uint16, np.uint32, np.uint64):  # torch has few operations on these
            images = images.astype(np.int64)
        images = torch.from_numpy(np.array(images, copy=True))
    shape = tuple(images.shape)
    if images.numel() == 0:
        raise DataError(f"{source} is empty: its shape is {shape}")
    if images.dim() == 3:
        return images[:, None]
    if images.dim() == 4:
        first, last = shape[1] in (1, 3, 4), shape[3] in (1, 3, 4)
        if last and (prefer_last or not first):
            return images.movedim(3, 1)
        if first:
            return images
    raise DataError(
        f"{source} has shape {shape}; pictures are (n, height, width), (n, height, width, channels) or "
        "(n, channels, height, width) with 1, 3 or 4 channels. Reshape flattened pictures first"
    )


def _to_uint8(images: Tensor, source: str) -> Tensor:
    if images.dtype == torch.uint8:
        return images.contiguous()
    if images.dtype == torch.bool:
        return images.to(torch.uint8).mul_(255).contiguous()
    low, high = images.min().item(), images.max().item()
    if not images.is_floating_point():
        if low < 0 or high > 255:
            raise DataError(f"{source} holds integers {low}..{high}; pictures need 0..255 (16 bits: divide by 257)")
        return images.to(torch.uint8).contiguous()
    if not bool(torch.isfinite(images).all()):
        raise DataError(f"{source} holds NaN or infinite values")
    if low < 0 or high > 1:
        raise DataError(
            f"{source} holds floats {low:g}..{high:g}; pictures need [0, 1]. Subtract the smallest possible value "
            "and divide by the range (0..255: divide by 255)"
        )
    return images.mul(255).round_().to(torch.uint8).contiguous()


def _composite(images: Tensor) -> Tensor:
    """RGBA pictures on white; others as they are."""
    if images.shape[1] != 4:
        return images
    out = torch.empty_like(images[:, :3])
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].float()
        alpha = part[:, 3:] / 255
        out[start : start + _CHUNK] = (part[:, :3] * alpha + 255 * (1 - alpha)).round_().to(torch.uint8)
    return out
