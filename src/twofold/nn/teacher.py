"""Teachers: momentum copies of a network, as MoCo, BYOL and DINO use them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class Teacher(nn.Module):
    """A copy of ``module`` that follows it slowly and never gets a gradient.

    Parameters are averaged, θ_t ← m θ_t + (1 − m) θ_s; integer buffers (counters) are copied. Floating buffers, which
    in practice are the running statistics of batch normalisation, are neither: the teacher runs in train mode on its
    own inputs, normalises by its own batch and so keeps its own statistics, as the reference codes do. Averaging the
    student's in would mix statistics of other weights.

    Keep the parameters in float32 (use autocast for speed): in half precision a step of 1 − m = 0.001 rounds to none.

    Args:
        module: The student to copy, with its present weights. Not wrapped for distributed training: pass the inside.

    Source: He et al., CVPR 2020, eq. 2; Grill et al., NeurIPS 2020, eq. 1.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the copy gives, without gradient."""
        return self.module(*args, **kwargs)

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float) -> None:
        """Move towards ``student``; once a step, after the optimiser's.

        Args:
            student: The module that was copied, or one with the same parameters.
            momentum: m, 0 to 1: 1 leaves the teacher as it is, 0 makes it equal to the student.

        Raises:
            ValueError: If ``momentum`` is out of range, or the parameters do not correspond.
        """
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie between 0 and 1, got {momentum!r}.")
        mine, theirs = dict(self.module.named_parameters()), dict(student.named_parameters())
        _check_same(mine, theirs)
        kinds: dict[type, list[str]] = {}  # parameters that are split over processes are of another type
        for name, parameter in mine.items():
            kinds.setdefault(type(parameter), []).append(name)
        for names in kinds.values():
            torch._foreach_lerp_([mine[name] for name in names], [theirs[name] for name in names], 1 - momentum)
        counters = dict(student.named_buffers())
        for name, buffer in self.module.named_buffers():
            if not buffer.is_floating_point() and name in counters:
                buffer.copy_(counters[name])


def cosine_momentum(progress: float, start: float, end: float = 1.0) -> float:
    """The momentum that rises from ``start`` to ``end`` along half a cosine.

    Args:
        progress: Share of the training that is done, 0 to 1.
        start: Momentum at 0, such as BYOL's 0.996; with few steps take 0.99.
        end: Momentum at 1.

    Raises:
        ValueError: If an argument lies outside 0 to 1.

    Source: Grill et al., NeurIPS 2020, §3.3.
    """
    for name, value in (("progress", progress), ("start", start), ("end", end)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value!r}.")
    return end - (end - start) * (math.cos(math.pi * progress) + 1) / 2


def _check_same(mine: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    differing = sorted(mine.keys() ^ theirs.keys()) or [n for n in mine if mine[n].shape != theirs[n].shape]
    if differing:
        raise ValueError(
            f"The student's parameters are not those the teacher was copied from: {', '.join(differing[:5])}. "
            "Pass the same module, without a distributed wrapper."
        )
