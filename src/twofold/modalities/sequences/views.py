"""Views of sequences: a part of them, some items hidden, some in another order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError
from twofold.options import did_you_mean

DEFAULT = "crop-mask-reorder"
WHOLE = "whole"
CROP, MASK, REORDER = 0.6, 0.3, 0.6
"""η, γ and β of CL4SRec, typical of its data sets."""

Operator = Callable[[Tensor, torch.Generator, int], Tensor]
"""``operator(sequences, generator, mask) -> sequences``; ``mask`` is the number that stands for a hidden item."""


def whole(sequences: Tensor, generator: torch.Generator, mask: int) -> Tensor:
    """The sequences as they are."""
    return sequences


def crop(sequences: Tensor, generator: torch.Generator, mask: int, *, share: float = CROP) -> Tensor:
    """A contiguous share of each sequence, at least one item, moved to the end (Xie et al., ICDE 2022)."""
    length, places = lengths(sequences), sequences.shape[1]
    kept = (length * share).long().clamp(min=1)
    first = _below(length - kept + 1, generator)
    column = torch.arange(places, device=sequences.device)
    # A sequence ends at the last place: what is kept is moved there from its place in the sequence.
    source = column - (length - kept - first)[:, None]
    return sequences.gather(1, source.clamp(0)).masked_fill(column < (places - kept)[:, None], 0)


def mask_items(sequences: Tensor, generator: torch.Generator, mask: int, *, share: float = MASK) -> Tensor:
    """A share of each sequence's items, at random places, replaced by the mask (same paper)."""
    drawn = _uniform(sequences, generator).masked_fill(sequences == 0, 2.0)
    rank = drawn.argsort(1).argsort(1)
    return sequences.masked_fill(rank < (lengths(sequences) * share).long()[:, None], mask)


def reorder(sequences: Tensor, generator: torch.Generator, mask: int, *, share: float = REORDER) -> Tensor:
    """A contiguous share of each sequence, shuffled (same paper)."""
    length, places = lengths(sequences), sequences.shape[1]
    moved = (length * share).long()
    first = (places - length + _below(length - moved + 1, generator))[:, None]
    column = torch.arange(places, device=sequences.device)
    inside = (column >= first) & (column < first + moved[:, None])
    # Items of the stretch get keys between those of the places around it, so that sorting shuffles them alone.
    key = torch.where(inside, first - 0.5 + 0.9 * _uniform(sequences, generator), column)
    return sequences.gather(1, key.argsort(1))


def crop_mask_reorder(sequences: Tensor, generator: torch.Generator, mask: int) -> Tensor:
    """One of the three operators for each sequence (same paper)."""
    which = _below(torch.full((len(sequences), 1), 3, device=sequences.device), generator)
    made = [operator(sequences, generator, mask) for operator in (crop, mask_items, reorder)]
    return torch.stack(made).gather(0, which.expand_as(sequences)[None])[0]


PRESETS: dict[str, Operator] = {
    DEFAULT: crop_mask_reorder,
    "crop": crop,
    "mask": mask_items,
    "reorder": reorder,
    WHOLE: whole,
}
"""Name → operator."""


@dataclass(frozen=True)
class SequenceViews:
    """Views of a batch of sequences, one after the other from one generator.

    Args:
        operators: What makes each view.
        mask: The number that stands for a hidden item.
    """

    operators: tuple[Operator, ...]
    mask: int

    def __len__(self) -> int:
        return len(self.operators)

    def __call__(self, inputs: Tensor, *, generator: torch.Generator, **_: Any) -> list[Tensor]:
        """Make all views.

        Args:
            inputs: int64 ``(n, places)``, 0 before the first item.
            generator: Source of all randomness.

        Raises:
            DataError: If ``inputs`` have the wrong shape or type.
        """
        if inputs.ndim != 2 or inputs.dtype != torch.int64:
            raise DataError(f"Sequences must be int64 (n, places), but these are {inputs.dtype} {tuple(inputs.shape)}.")
        return [operator(inputs, generator, self.mask) for operator in self.operators]


def chosen(preferred: str) -> str:
    """The preset of a recipe that prefers ``preferred``, which may begin with ``whole,``: see :func:`make_views`."""
    name = preferred.removeprefix(f"{WHOLE}, ")
    return name if name in PRESETS else DEFAULT


def make_views(name: str | None, *, mask: int, preferred: str, count: int) -> SequenceViews:
    """Views by name.

    Args:
        name: One of `PRESETS`; None takes what the recipe prefers.
        mask: The number that stands for a hidden item.
        preferred: What a recipe prefers. If it is ``whole`` or begins with ``whole,``, the first view is the whole
            sequence in any case, and ``name`` is that of the others.
        count: How many.

    Raises:
        ConfigError: If there is no such preset, or ``count`` is no number from 1 up.
    """
    name = name or chosen(preferred)
    if name not in PRESETS:
        raise ConfigError(f"There are no views called {name!r}{did_you_mean(name, PRESETS)}")
    if not isinstance(count, int) or count < 1:
        raise ConfigError(f"Views: count must be a whole number from 1 up, not {count!r}.")
    operators = [PRESETS[name]] * count
    if preferred.split(",")[0] == WHOLE:
        operators[0] = whole
    return SequenceViews(tuple(operators), mask)


def lengths(sequences: Tensor) -> Tensor:
    """How many items each sequence has, int64 ``(n,)``."""
    return (sequences != 0).sum(1)


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=generator.device).to(like.device)


def _below(bounds: Tensor, generator: torch.Generator) -> Tensor:
    """Whole numbers from 0, each below its bound, int64 in the shape of ``bounds``."""
    return torch.minimum((_uniform(bounds, generator) * bounds).long(), (bounds - 1).clamp(min=0))
