"""From whatever a source calls its classes to int64 labels and names; and positions that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError


def encode_labels(values: Any, where: str, count: int) -> tuple[Tensor, list[str] | None]:
    """Labels and class names.

    Whole numbers from 0 up (with -1 for "no label") stay as they are, without names, as long as they are dense enough
    to be class numbers; any other values become classes in sorted order, named by their text. None, NaN and empty
    text are -1.

    Args:
        values: One class a sample: an array or tensor (n,) or (n, 1), or a sequence of whole numbers or text.
        where: What the labels are called, for messages.
        count: How many samples there are.

    Returns:
        int64 (count,), and the names or None.

    Raises:
        DataError: If there are more or fewer labels than samples, and for values that are no classes.
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    if isinstance(array, np.ndarray):
        array = _column(array, where)
    if len(array) != count:
        raise DataError(f"{where}: {len(array)} for {count} samples; there must be one each")
    cleaned = [_plain(value, where) for value in array]
    known = {value for value in cleaned if value is not None}
    if all(isinstance(value, int) for value in known) and _are_class_numbers(known, count):
        return torch.tensor([-1 if value is None else int(value) for value in cleaned], dtype=torch.int64), None
    order = sorted(known, key=lambda value: (isinstance(value, str), value))
    number = {value: i for i, value in enumerate(order)}
    labels = [-1 if value is None else number[value] for value in cleaned]
    return torch.tensor(labels, dtype=torch.int64), [_printable(str(value)) for value in order]


def checked_index(index: Tensor, count: int) -> Tensor:
    """`index` as int64 on the CPU, if it is a vector of positions in range(count); DataError otherwise."""
    if not isinstance(index, Tensor) or index.dim() != 1 or index.dtype not in (torch.int64, torch.int32):
        what = f"{index.dtype} of shape {tuple(index.shape)}" if isinstance(index, Tensor) else type(index).__name__
        raise DataError(f"index must be an int64 tensor of shape (batch,), got {what}")
    index = index.long().cpu()
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < count:
        raise DataError(f"index must lie in 0..{count - 1}, got {int(index.min())}..{int(index.max())}")
    return index


def label_sentence(labels: Tensor | None, class_names: Sequence[str] | None, *, items: str) -> str:
    """How many classes there are, which, and how large; for the summary of a data set.

    Args:
        labels: int64 (n,), -1 = none; or None.
        class_names: The names of class 0, 1, ...; or None.
        items: What the samples are called, in the plural.
    """
    if labels is None:
        return "No labels."
    counts = labels[labels >= 0].bincount()
    counts = counts[counts > 0]
    if len(counts) == 0:
        return f"None of the {items} has a label."
    low, high = int(counts.min()), int(counts.max())
    each = f"{low}" if low == high else f"{low}-{high}"
    names = ""
    if class_names:
        names = f" ({', '.join(class_names[:5])}{', ...' if len(class_names) > 5 else ''})"
    missing = len(labels) - int(counts.sum())
    rest = f"; {missing:,} without a label." if missing else "."
    return f"{len(counts)} classes{names}; {each} {items} a class{rest}"


def _column(values: np.ndarray, where: str) -> list[Any]:
    if values.dtype == object:
        raise DataError(f"{where} are Python objects; save them as numbers or text, such as y.astype(str)")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"{where} have shape {values.shape}; they must be (n,), one class each")
    try:
        return list(values.tolist())
    except ValueError as error:  # code points beyond Unicode
        raise DataError(f"{where} hold text that is none ({error})") from error


def _plain(value: Any, where: str) -> int | str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if value != value:  # NaN: how tables write a missing number
            return None
        if not value.is_integer():
            raise DataError(f"{where} hold {value}: labels are classes (whole numbers or text), not measurements")
        return int(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool):
        return str(value)
    if not isinstance(value, int | str):
        raise DataError(f"{where} hold a {type(value).__name__}; labels are whole numbers or text, one a sample")
    return value


def _are_class_numbers(known: set[Any], count: int) -> bool:
    """Whether integers look like 0, 1, ... rather than identifiers, which would make millions of empty classes."""
    return not known or (min(known) >= -1 and max(known) < max(count, 1000))


def _printable(text: str) -> str:
    """A text that can be written as UTF-8: lone surrogates are escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
