"""The contract of data: what is read, and what passes from there to views, training and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import Tensor


class Dataset(Protocol):
    """Samples that can be fetched by number."""

    spec: dict[str, Any]
    """JSON-able facts from which networks are built, such as channels and size; ``samples`` is the length."""
    labels: Tensor | None
    """int64 ``(len,)``; −1 where unknown; None without labels."""
    class_names: list[str] | None
    ids: Sequence[str]
    """One readable name a sample: a path, a row."""
    skipped: dict[str, str]
    """What could not be read so far, and why."""

    def __len__(self) -> int: ...

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """The readable ones of some samples: ``inputs``, their ``index``, ``label`` where there are labels."""
        ...


@runtime_checkable
class Rows(Protocol):
    """A batch of samples that is no tensor, such as nodes of a graph: what training asks of it."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> Self:
        """Some of the samples."""
        ...

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Self: ...

    def finite(self) -> Tensor:
        """Which samples hold neither NaN nor infinity: bool ``(n,)``."""
        ...


Views = Callable[..., list[Any]]
"""``views(inputs, *, generator, **extra) -> list of views``; ``extra`` is what else ``fetch`` gave."""


def to_device(batch: Any, device: torch.device) -> Any:
    """Tensors and :class:`Rows` of a nested batch on a device; everything else as it is."""
    if isinstance(batch, Tensor | Rows):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [to_device(value, device) for value in batch]
    return batch


def take(batch: Any, part: slice, count: int) -> Any:
    """Some samples of a nested batch of ``count``: rows of tensors and of :class:`Rows`; everything else as it is."""
    if isinstance(batch, Tensor):
        return batch[part] if batch.ndim and len(batch) == count else batch
    if isinstance(batch, dict):
        return {name: take(value, part, count) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [take(value, part, count) for value in batch]
    return batch[part] if isinstance(batch, Rows) and len(batch) == count else batch


class Subset:
    """Some samples of a data set, as a data set of their own.

    Args:
        dataset: Where they come from.
        index: int64 ``(m,)``, their positions there, each at most once.
    """

    def __init__(self, dataset: Dataset, index: Tensor) -> None:
        self.dataset, self.positions = dataset, index
        self.place = {position: i for i, position in enumerate(index.tolist())}
        self.spec: dict[str, Any] = dataset.spec | {"samples": len(index)}
        self.labels: Tensor | None = None if dataset.labels is None else dataset.labels[index]
        self.class_names: list[str] | None = dataset.class_names
        self.ids: Sequence[str] = [dataset.ids[i] for i in index.tolist()]
        self.skipped: dict[str, str] = dataset.skipped

    def __len__(self) -> int:
        return len(self.positions)

    def fetch(self, index: Tensor) -> dict[str, Any]:
        """As the data set's own, with positions in this part."""
        batch = self.dataset.fetch(self.positions[index])
        kept = torch.tensor([self.place[i] for i in batch["index"].tolist()], dtype=torch.int64)
        return batch | {"index": kept}
