"""Pictures that lie in memory: the dataset of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from twofold.errors import DataError

MOMENT_SAMPLE = 512
"""How many pictures, evenly spread over the set, the mean and the standard deviation are computed from."""


class ImageArrays:
    """Square pictures of one size, held in memory.

    Args:
        images: uint8, (n, channels, size, size), n >= 1.
        labels: integers (n,), -1 = this picture has no label. Default: no labels at all.
        class_names: The name of class 0, 1, ...; may only be given with labels.
        ids: One readable name a picture; default "0", "1", ...
        aspect: Original width / height of each picture, (n,); default: all were square.
        skipped: Pictures of the same source that could not be read, name to reason.
        label_source: Where the labels come from, in words, for the summary.
        notes: Anything else a user should know about what was read.

    Raises:
        DataError: If any of these do not fit together; the message names the argument.
    """

    def __init__(
        self,
        images: Tensor,
        *,
        labels: Tensor | None = None,
        class_names: list[str] | None = None,
        ids: Sequence[str] | None = None,
        aspect: Tensor | None = None,
        skipped: dict[str, str] | None = None,
        label_source: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        _check_images(images)
        count = len(images)
        self.images = images
        self.labels = None if labels is None else checked_labels(labels, count, class_names)
        self.class_names = class_names
        if class_names is not None and labels is None:
            raise DataError("class_names were given without labels; pass both or neither")
        self.ids: Sequence[str] = [str(i) for i in range(count)] if ids is None else ids
        if len(self.ids) != count:
            raise DataError(f"ids has {len(self.ids)} entries for {count} images; it needs one for each")
        self.aspect = None if aspect is None else _checked_aspect(aspect, count)
        self.skipped = dict(skipped or {})
        self.label_source = label_source
        self.notes = list(notes)
        mean, std = moments(images[spread(count, MOMENT_SAMPLE)])
        self.spec = image_spec(images.shape[1], images.shape[-1], mean, std, count)

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The pictures of `index` (int64, (b,)): "inputs" uint8 (b, c, s, s), "index", and "label", "aspect" if any."""
        index = checked_index(index, len(self))
        batch: dict[str, Any] = {"inputs": self.images.index_select(0, index), "index": index}
        if self.labels is not None:
            batch["label"] = self.labels[index]
        if self.aspect is not None:
            batch["aspect"] = self.aspect[index]
        return batch

    def subset(self, index: Tensor) -> ImageArrays:
        """A dataset of the pictures of `index` (int64, (b,)), in that order, with its own mean and deviation."""
        index = checked_index(index, len(self))
        return ImageArrays(
            self.images[index],
            labels=None if self.labels is None else self.labels[index],
            class_names=self.class_names,
            ids=[self.ids[i] for i in index.tolist()],
            aspect=None if self.aspect is None else self.aspect[index],
            label_source=self.label_source,
            notes=self.notes,
        )


def image_spec(channels: int, size: int, mean: list[float], std: list[float], samples: int) -> dict[str, Any]:
    """The `spec` of an image dataset; mean and std are per channel, of values in [0, 1]."""
    return {"modality": "image", "channels": channels, "size": size, "mean": mean, "std": std, "samples": samples}


def moments(images: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of uint8 images (n, c, s, s), in the scale [0, 1].

    The deviation is at least one grey level (1/255), so that a constant channel can still be divided by it.
    """
    counts = torch.zeros(images.shape[1], 256, dtype=torch.float64)  # grey levels, so that the sums are exact
    for part in images.split(32):  # bincount needs int64: eight times the memory
        for channel, pixels in enumerate(part.unbind(1)):
            counts[channel] += torch.bincount(pixels.flatten(), minlength=256).cpu()
    share = counts / counts.sum(1, keepdim=True)
    level = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ level
    std = (share * (level - mean[:, None]).square()).sum(1).sqrt().clamp(min=1 / 255)
    return [round(value, 6) for value in mean.tolist()], [round(value, 6) for value in std.tolist()]


def spread(count: int, wanted: int) -> Tensor:
    """At most `wanted` positions, evenly spread over range(count) so that sorted classes are all met."""
    if count <= wanted:
        return torch.arange(count)
    return torch.arange(wanted) * count // wanted


def checked_index(index: Tensor, count: int) -> Tensor:
    """`index` as int64 on the CPU, if it is a vector of positions in range(count); DataError otherwise."""
    if not isinstance(index, Tensor) or index.dim() != 1 or index.dtype not in (torch.int64, torch.int32):
        what = f"{index.dtype} of shape {tuple(index.shape)}" if isinstance(index, Tensor) else type(index).__name__
        raise DataError(f"index must be an int64 tensor of shape (batch,), got {what}")
    index = index.long().cpu()
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < count:
        raise DataError(f"index must lie in 0..{count - 1}, got {int(index.min())}..{int(index.max())}")
    return index


def checked_labels(labels: Tensor, count: int, class_names: list[str] | None) -> Tensor:
    """`labels` as int64, if they are (count,) integers >= -1 that have a class name; DataError otherwise."""
    if not isinstance(labels, Tensor) or labels.is_floating_point() or labels.is_complex():
        what = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise DataError(f"labels must be a tensor of whole numbers, got {what}")
    if tuple(labels.shape) != (count,):
        raise DataError(f"labels must have shape ({count},), one a picture, got {tuple(labels.shape)}")
    labels = labels.long()
    if int(labels.min()) < -1:
        raise DataError(f"labels must be >= -1 (-1 = no label), got {int(labels.min())}")
    if class_names is not None and int(labels.max()) >= len(class_names):
        raise DataError(f"labels reach {int(labels.max())} but there are only {len(class_names)} class_names")
    return labels


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        what = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise DataError(f"images must be a uint8 tensor, got {what}; `read` takes other arrays and converts them")
    if images.dim() != 4 or images.shape[-1] != images.shape[-2]:
        raise DataError(f"images must have shape (n, channels, size, size), got {tuple(images.shape)}")
    if images.numel() == 0:
        raise DataError(f"images is empty: its shape is {tuple(images.shape)}")


def _checked_aspect(aspect: Tensor, count: int) -> Tensor | None:
    if not isinstance(aspect, Tensor) or tuple(aspect.shape) != (count,):
        what = tuple(aspect.shape) if isinstance(aspect, Tensor) else type(aspect).__name__
        raise DataError(f"aspect must be a tensor of shape ({count},), width / height of each picture, got {what}")
    aspect = aspect.float()
    if not bool((torch.isfinite(aspect) & (aspect > 0)).all()):
        raise DataError("aspect must be positive and finite everywhere (width / height)")
    return None if bool((aspect == 1).all()) else aspect
