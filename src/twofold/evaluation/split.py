"""Train/test splits: stratified by label, whole groups on one side, the same for the same generator state."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from twofold.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Positions of the two sides, ascending int64, and what is noteworthy about them.

    Attributes:
        train: Positions for the bank and for training probes.
        test: Positions that are only ever scored.
        messages: One sentence a class that could not be put on both sides.
    """

    train: Tensor
    test: Tensor
    messages: list[str] = field(default_factory=list)


def stratified_split(
    labels: Tensor,
    *,
    generator: torch.Generator,
    test_fraction: float = 0.3,
    groups: Sequence[Hashable] | None = None,
) -> Split:
    """Divide items so that each class is in both sides in the same proportion, as near as whole items allow.

    Every class of two items (or groups) or more has at least one on either side; a class of one goes to the training
    side with a message. Items labelled -1 are divided like a class of their own.

    Args:
        labels: Classes, int64 (n,); all -1 for a plain random split.
        generator: CPU generator that all shuffling is drawn from; its state decides the split.
        test_fraction: Share of the test side, in (0, 1); 0.3 gives 70/30.
        groups: One hashable an item; items of a group stay together (frames of a clip, vendors of one emoji). A group
            of several classes is divided as its most frequent class.

    Raises:
        ConfigError: If `test_fraction` is outside (0, 1).
        DataError: If lengths differ, or there is but one item or group.
    """
    if not 0 < test_fraction < 1:
        raise ConfigError(f"test_fraction must be between 0 and 1, got {test_fraction}; 0.3 is usual")
    if groups is not None and len(groups) != len(labels):
        raise DataError(f"{len(groups)} groups for {len(labels)} labels; give one an item")
    unit_of_item, unit_labels = _units(labels.cpu(), groups)
    if len(unit_labels) < 2:
        kind = "items" if groups is None else "groups"
        raise DataError(f"a split needs at least two {kind}; got {len(unit_labels)}")
    sizes = torch.bincount(unit_of_item, minlength=len(unit_labels))
    in_test = torch.zeros(len(unit_labels), dtype=torch.bool)
    lonely = []
    for label in unit_labels.unique().tolist():
        members = (unit_labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        if len(members) == 1 and label >= 0:
            lonely.append(label)
        in_test[members[: _units_for_test(sizes[members], test_fraction)]] = True
    test = in_test[unit_of_item]
    if not test.any():
        raise DataError("every class has but one item or group, so nothing is left to test on; add items")
    return Split((~test).nonzero().flatten(), test.nonzero().flatten(), _lonely_messages(lonely, groups is not None))


def _units(labels: Tensor, groups: Sequence[Hashable] | None) -> tuple[Tensor, Tensor]:
    """What is divided: items or whole groups. Unit of each item (n,), label of each unit (units,)."""
    if groups is None:
        return torch.arange(len(labels)), labels
    number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    unit_of_item = torch.tensor([number[group] for group in groups], dtype=torch.int64)
    classes, codes = labels.unique(return_inverse=True)
    counts = torch.zeros(len(number), len(classes)).index_put_((unit_of_item, codes), torch.ones(()), accumulate=True)
    return unit_of_item, classes[counts.argmax(dim=1)]


def _units_for_test(sizes: Tensor, fraction: float) -> int:
    """How many of the first units come nearest to `fraction` of the items, one at least staying on either side."""
    if len(sizes) == 1:
        return 0
    miss = (sizes.cumsum(0)[:-1] - fraction * sizes.sum()).abs()
    return int(miss.argmin()) + 1


def _lonely_messages(labels: list[int], grouped: bool) -> list[str]:
    if not labels:
        return []
    kind = "group" if grouped else "item"
    shown = ", ".join(str(label) for label in labels[:10]) + (", ..." if len(labels) > 10 else "")
    return [
        f"{len(labels)} class{'es' if len(labels) > 1 else ''} of one {kind} (label {shown}) "
        f"{'are' if len(labels) > 1 else 'is'} in the training side only and cannot be tested"
    ]
