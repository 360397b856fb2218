"""The learning rate as a pure function of the step: a resumed run has nothing to restore."""

from __future__ import annotations

import math

from torch.optim import Optimizer


def learning_rate(step: int, *, base: float, warmup_steps: int, total_steps: int, final: float = 0.0) -> float:
    """Linear warm-up to ``base``, then half a cosine down to ``final`` (Loshchilov & Hutter, ICLR 2017, eq. 5).

    Step 0 already moves (``base / warmup_steps``), step ``warmup_steps - 1`` and step ``warmup_steps`` have ``base``,
    and ``final`` is reached at ``total_steps``, after the last step taken. With a warm-up as long as the run the rate
    only rises.

    Args:
        step: Steps taken so far, from 0.
        base: The highest rate.
        warmup_steps: Steps of warm-up; 0 for none.
        total_steps: Steps of the whole run.
        final: The rate at the end.

    Raises:
        ValueError: If a count is negative.
    """
    if min(step, warmup_steps, total_steps) < 0:
        raise ValueError(
            f"Steps cannot be negative: step={step}, warmup_steps={warmup_steps}, total_steps={total_steps}"
        )
    if step >= total_steps:
        return final
    if step < warmup_steps:
        return base * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return final + (base - final) * (1 + math.cos(math.pi * progress)) / 2


def scaled(base: float, batch_size: int) -> float:
    """The linear scaling rule, ``base * batch_size / 256`` (Goyal et al., 2017, section 2.1)."""
    return base * batch_size / 256


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every parameter group this rate, except those marked ``"constant_lr"``: they keep the one they have."""
    for group in optimizer.param_groups:
        if not group.get("constant_lr", False):
            group["lr"] = float(lr)
