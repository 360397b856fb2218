"""Early errors shared by the objectives: what is wrong with an argument, its value, and what to do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

Temperature = float | Tensor


def check_rows(name: str, rows: Tensor, *, minimum: int = 2) -> None:
    """Refuse anything but floating rows ``(..., n, d)`` with at least ``minimum`` rows.

    Raises:
        TypeError: If ``rows`` is no floating tensor.
        ValueError: If it has fewer than two dimensions or too few rows.
    """
    if not isinstance(rows, Tensor) or not rows.is_floating_point():
        kind = rows.dtype if isinstance(rows, Tensor) else type(rows).__name__
        raise TypeError(f"{name} must be a floating tensor of embeddings, got {kind}.")
    if rows.ndim < 2:
        raise ValueError(f"{name} must be (n, d) or (views, n, d), got shape {tuple(rows.shape)}.")
    if rows.shape[-2] < minimum:
        raise ValueError(f"{name} has {rows.shape[-2]} row(s); this objective needs at least {minimum} samples.")


def check_views(name: str, z: Tensor, *, minimum: int = 2, samples: int = 2) -> None:
    """Refuse anything but ``(views, n, d)`` with at least ``minimum`` views.

    Raises:
        TypeError: If ``z`` is no floating tensor.
        ValueError: If it has another number of dimensions or too few views or samples.
    """
    check_rows(name, z, minimum=samples)
    if z.ndim != 3:
        raise ValueError(f"{name} must be (views, n, d), got shape {tuple(z.shape)}; stack the views with torch.stack.")
    if z.shape[0] < minimum:
        raise ValueError(f"{name} has {z.shape[0]} view(s); this objective needs at least {minimum}.")


def check_same_shape(first: str, a: Tensor, second: str, b: Tensor) -> None:
    """Refuse two tensors whose rows do not correspond.

    Raises:
        ValueError: If their shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"{first} {tuple(a.shape)} and {second} {tuple(b.shape)} must have the same shape.")


def check_pairs(anchors: Tensor, positives: Tensor, temperature: Temperature, *, minimum: int = 2) -> None:
    """Refuse anything but anchors, as many positives, and a temperature.

    Raises:
        TypeError, ValueError: As of :func:`check_rows`, :func:`check_same_shape` and :func:`check_temperature`.
    """
    check_rows("anchors", anchors, minimum=minimum)
    check_rows("positives", positives, minimum=minimum)
    check_same_shape("anchors", anchors, "positives", positives)
    check_temperature(temperature)


def check_temperature(temperature: Temperature, name: str = "temperature") -> None:
    """Refuse a temperature that is not positive and finite.

    A tensor on an accelerator is not read back, since that would stall the device; its sign is the caller's care.

    Raises:
        ValueError: If a number or a CPU tensor is not positive and finite.
    """
    if isinstance(temperature, Tensor):
        if temperature.device.type == "cpu":
            values = temperature.detach()
            wrong = values[~(torch.isfinite(values) & (values > 0))]
            if len(wrong):
                raise ValueError(f"{name} must be positive and finite everywhere, got a tensor with {wrong[0]:g}.")
    elif not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"{name} must be positive and finite, got {temperature!r}.")


def raise_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors in a dtype safe for exponentials: half precision becomes float32, the rest stays."""
    return tuple(t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors)


def check_reduction(reduction: str) -> None:
    """Refuse anything but the three words that objectives know.

    Raises:
        ValueError: If ``reduction`` is another word.
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction must be 'mean', 'sum' or 'none', got {reduction!r}.")


def reduce_anchors(values: Tensor, reduction: str) -> Tensor:
    """The mean over anchors (``"mean"``), their sum (``"sum"``), or the values themselves (``"none"``).

    Raises:
        ValueError: If ``reduction`` is another word.
    """
    check_reduction(reduction)
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()
