"""Views of pairs: each view is one side of a sample, as that side's modality augments it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from twofold.dataset import Views
from twofold.errors import ConfigError
from twofold.modalities.paired.sides import SIDES, sides_of

PLAIN = "plain"
"""The view of a side without any randomness: what the encoder sees in use."""
_FORM = f"views of pairs are FIRST+SECOND, such as weak+{PLAIN}, or one name for both; {PLAIN!r} changes nothing"


class PairViews:
    """Views of the sides in turn: ``[{"first": ...}, {"second": ...}, {"first": ...}, ...]``.

    Args:
        first: Views of the first side.
        second: Views of the second side.
    """

    def __init__(self, first: Views, second: Views) -> None:
        self.sides = {"first": first, "second": second}

    def __call__(
        self,
        inputs: Mapping[str, Any],
        *,
        generator: torch.Generator,
        first_extra: Mapping[str, Any] | None = None,
        second_extra: Mapping[str, Any] | None = None,
        second_count: Tensor | None = None,
    ) -> list[dict[str, Any]]:
        """Views of a fetched batch; where samples have several of the second side, one is drawn for each.

        Args:
            inputs: "first" and "second".
            generator: Source of all randomness.
            first_extra: What else the first side's views take.
            second_extra: The same of the second side.
            second_count: int64 ``(n,)``, how many of the second side each sample has.
        """
        second: Any = inputs["second"]
        extra = {"first": dict(first_extra or {}), "second": dict(second_extra or {})}
        if second_count is not None:
            drawn = torch.rand(len(second_count), generator=generator, device=generator.device)
            which = (drawn.to(second_count.device) * second_count).long()
            second = choose(second, which)
            extra["second"] = choose(extra["second"], which)
        given = {"first": inputs["first"], "second": second}
        made = {side: self.sides[side](given[side], generator=generator, **extra[side]) for side in SIDES}
        longest = max(map(len, made.values()))
        return [{side: made[side][v]} for v in range(longest) for side in SIDES if v < len(made[side])]


class PlainViews:
    """The same view ``count`` times: what the encoder sees in use.

    Args:
        side: The modality.
        spec: Its facts.
        count: Views.
    """

    def __init__(self, side: Any, spec: Mapping[str, Any], count: int) -> None:
        self.side, self.spec, self.count = side, dict(spec), count

    def __call__(self, inputs: Any, *, generator: torch.Generator, **extra: Any) -> list[Any]:
        """``count`` times the prepared inputs."""
        return [self.side.prepare({"inputs": inputs} | extra, self.spec)] * self.count


def choose(choices: Any, which: Tensor | None = None) -> Any:
    """Of each sample one of several items.

    Args:
        choices: A nested batch of tensors ``(n, choices, ...)``.
        which: int64 ``(n,)``, the item of each sample; None takes the first.
    """
    if isinstance(choices, Mapping):
        return {name: choose(value, which) for name, value in choices.items()}
    if isinstance(choices, list | tuple):
        return [choose(value, which) for value in choices]
    return choices[:, 0] if which is None else choices[torch.arange(len(which), device=which.device), which]


def names_of(name: str) -> tuple[str, str]:
    """The two names of ``FIRST+SECOND``, or twice the one.

    Raises:
        ConfigError: If it is no such name.
    """
    names = name.split("+")
    if len(names) > 2 or not all(names):
        raise ConfigError(f"views {name!r}: {_FORM}")
    return names[0], names[-1]


def choose_views(spec: Mapping[str, Any], *, preferred: str) -> str:
    """``FIRST+SECOND`` by what the sides' modalities would choose; ``plain`` and names with a plus are kept."""
    if PLAIN in names_of(preferred) or "+" in preferred:
        return "+".join(names_of(preferred))
    chosen = [side.choose_views(dict(spec[name]), preferred=preferred) for name, side in sides_of(spec).items()]
    return "+".join(chosen)


def make_views(name: str, spec: Mapping[str, Any], *, preferred: str, count: int) -> PairViews:
    """Views by name.

    Args:
        name: ``FIRST+SECOND``, each a name of its modality, ``default`` for what that would choose, or ``plain``.
        spec: Of pairs.
        preferred: What the recipe prefers.
        count: Views of both sides together; the first side has the odd one.

    Raises:
        ConfigError: If a side has no views of that name.
    """
    sides = sides_of(spec)
    made: list[Views] = []
    for side, chosen, views in zip(SIDES, names_of(name), ((count + 1) // 2, count // 2), strict=True):
        modality, facts = sides[side], dict(spec[side])
        if chosen == PLAIN:
            made.append(PlainViews(modality, facts, views))
        else:
            named = None if chosen == "default" else chosen
            made.append(modality.make_views(named, facts, preferred=preferred, count=views))
    return PairViews(*made)


def problems_with(name: str) -> list[str]:
    """What is wrong with a name of views, as far as that shows before the modalities are known."""
    try:
        names_of(name)
    except ConfigError as error:
        return error.problems
    return []
