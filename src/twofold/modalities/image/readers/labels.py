"""From whatever a source calls its classes to int64 labels and names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twofold.errors import DataError
from twofold.modalities.shown import printable


def encode_labels(values: Sequence[Any], where: str) -> tuple[Tensor, list[str] | None]:
    """Labels and class names of a column of classes.

    Whole numbers from 0 up (with -1 for "no label") stay as they are, without names, as long as they are dense enough
    to be class numbers; any other values become classes in sorted order, named by their text. None, NaN and empty
    text are -1.

    Args:
        values: One class a sample: whole numbers, text or booleans.
        where: What the column is called, for messages.

    Returns:
        int64 (n,), and the names or None.

    Raises:
        DataError: For fractional numbers, and for values that are no classes (lists, dictionaries ...).
    """
    cleaned = [_plain(value, where) for value in values]
    known = {value for value in cleaned if value is not None}
    if all(type(value) is int for value in known) and _are_class_numbers(known, len(cleaned)):
        return torch.tensor([-1 if value is None else value for value in cleaned], dtype=torch.int64), None
    order = sorted(known, key=lambda value: (isinstance(value, str), value))
    number = {value: i for i, value in enumerate(order)}
    labels = [-1 if value is None else number[value] for value in cleaned]
    return torch.tensor(labels, dtype=torch.int64), [printable(str(value)) for value in order]


def encode_array(values: np.ndarray, where: str, count: int) -> tuple[Tensor, list[str] | None]:
    """Labels of an array (n,), (n, 1) or one-hot (n, classes); see `encode_labels`."""
    if values.dtype == object:
        raise DataError(f"{where} are Python objects; save them as numbers or text, such as y.astype(str)")
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    numbers = values.dtype.kind in "buif"
    if (
        numbers
        and values.ndim == 2
        and bool(((values == 0) | (values == 1)).all())
        and bool((values.sum(1) == 1).all())
    ):
        values = values.argmax(1)
    if values.shape != (count,):
        raise DataError(f"{where} have shape {values.shape}; {count} images need shape ({count},), one class each")
    try:
        return encode_labels(values.tolist(), where)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{where} hold text that is none ({error})") from error  # code points beyond Unicode


def _plain(value: Any, where: str) -> int | str | None:
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
        raise DataError(f"{where} hold a {type(value).__name__}; labels are whole numbers or text, one a picture")
    return value


def _are_class_numbers(known: set[Any], count: int) -> bool:
    """Whether integers look like 0, 1, ... rather than identifiers: an identifier as class number would make metrics
    and heads with millions of empty classes."""
    return not known or (min(known) >= -1 and max(known) < max(count, 1000))
