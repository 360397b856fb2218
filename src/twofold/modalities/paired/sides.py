"""The two sides of a pair: which modality each is of, and with which options it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from twofold import modalities
from twofold.dataset import Dataset, Rows
from twofold.errors import ConfigError, DataError
from twofold.options import check, did_you_mean, options_of, parse

SIDES = ("first", "second")


@dataclass(frozen=True)
class Side:
    """One side of pairs.

    Attributes:
        name: "first" or "second".
        modality: Of what kind it is.
        options: With which options its modality reads.
    """

    name: str
    modality: modalities.Modality
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def item(self) -> str:
        """What one of them is called, such as "image"."""
        return self.modality.item

    def read(self, source: Any, **more: Any) -> Dataset:
        """Read a source of this side alone.

        Raises:
            ConfigError: For options that the modality's reader does not have, or that make no sense.
            DataError: If the source cannot be read.
        """
        return self.modality.read(source, **(self.options | more))

    def takes(self, option: str) -> bool:
        """Whether the modality's reader has an option."""
        return option in options_of(self.modality.read)


def parse_side(name: str, text: str, form: Mapping[str, Any] | None = None) -> Side:
    """A side from ``MODALITY`` or ``MODALITY:option=value,option=value``, such as ``image:size=32``.

    Args:
        name: "first" or "second".
        text: As above.
        form: Reading options of that side which hold unless ``text`` gives others.

    Raises:
        ConfigError: If there is no such modality or option; all faults at once.
    """
    kind, _, rest = text.partition(":")
    modality = modality_of(kind.strip(), name)
    known = {key: value for key, value in options_of(modality.read).items() if key not in ("self", "source")}
    given: dict[str, Any] = {}
    problems = []
    for part in filter(None, (part.strip() for part in rest.split(","))):
        option, equals, value = part.partition("=")
        option = option.strip().replace("-", "_")
        if not equals:
            problems.append(f"{name}={text!r}: {part!r} is no option; write {kind}:option=value.")
        elif option not in known:
            problems.append(f"{name}={text!r}: {kind} has no reading option {option!r}{did_you_mean(option, known)}")
        else:
            try:
                given[option] = parse(known[option], value.strip())
            except ConfigError as error:
                problems += [f"{name}={text!r}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(problems)
    check(given, known, owner=f"{name} ({kind})")
    return Side(name, modality, dict((form or {}).get(name) or {}) | given)


def modality_of(kind: Any, side: str) -> modalities.Modality:
    """The modality of a side.

    Raises:
        ConfigError: If there is none of that name; pairs of pairs are none.
    """
    known = [name for name in modalities.MODALITIES if name != "paired"]
    if kind not in known:
        raise ConfigError(f"{side}: there is no modality {kind!r} to make pairs of{did_you_mean(str(kind), known)}")
    return modalities.get(kind)


def sides_of(spec: Mapping[str, Any]) -> dict[str, modalities.Modality]:
    """The modalities of the sides that a spec has, by side.

    Raises:
        DataError: If it is no spec of pairs.
    """
    present = [name for name in SIDES if isinstance(spec.get(name), Mapping)]
    if spec.get("modality") != "paired" or not present:
        raise DataError(f"These are no facts of pairs: modality is {spec.get('modality')!r}")
    return {name: modality_of(spec[name].get("modality"), name) for name in present}


def select(value: Any, index: Tensor) -> Any:
    """Rows of a nested batch: tensors, and dictionaries and lists of such.

    Raises:
        DataError: For a batch that is no tensors, of which single rows cannot be taken.
    """
    if isinstance(value, Tensor):
        return value[index.to(value.device)]
    if isinstance(value, Mapping):
        return {name: select(item, index) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [select(item, index) for item in value]
    if isinstance(value, Rows) and torch.equal(index, torch.arange(len(value))):
        return value
    raise DataError(f"single rows cannot be taken out of a {type(value).__name__}; give data without unreadable items")
