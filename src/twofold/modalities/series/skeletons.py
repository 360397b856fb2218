"""Skeletons: how many joints a body has, and which of them change places in a mirror."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twofold.errors import ConfigError
from twofold.options import did_you_mean

DIMENSIONS = (2, 3)
_MOST_JOINTS = 1000

PAIRS: dict[str, tuple[int, tuple[tuple[int, int], ...]]] = {
    "coco-17": (17, ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))),
    "jhmdb-15": (15, ((3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14))),
    "ntu-25": (25, ((4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24))),
}
"""Known skeletons: how many joints, and which are each other's left and right, counted from 0."""


@dataclass(frozen=True)
class Skeleton:
    """A body.

    Attributes:
        joints: How many there are.
        mirror: For each joint the one that takes its place in a mirror; None where that is not known.
    """

    joints: int
    mirror: tuple[int, ...] | None = None

    def dimensions(self, channels: int) -> int:
        """Coordinates a joint, if each of ``channels`` is one coordinate of one joint, joint after joint.

        Raises:
            ConfigError: If that is not 2 or 3.
        """
        dims, rest = divmod(channels, self.joints)
        if rest or dims not in DIMENSIONS:
            raise ConfigError(
                f"skeleton: {self.joints} joints have {2 * self.joints} (x, y) or {3 * self.joints} (x, y, z) "
                f"channels, this data has {channels}"
            )
        return dims


def named(name: str) -> Skeleton:
    """A skeleton by its name, or by the number of its joints: ``"ntu-25"``, ``"15"``.

    Raises:
        ConfigError: If it is neither.
    """
    if name in PAIRS:
        joints, pairs = PAIRS[name]
        return Skeleton(joints, mirrored(joints, pairs))
    if name.isascii() and name.isdigit() and 0 < int(name[:9]) <= _MOST_JOINTS:
        return Skeleton(int(name))
    raise ConfigError(
        f"skeleton must be a number of joints or a known skeleton, not {name!r}{did_you_mean(name, PAIRS)}"
    )


def mirrored(joints: int, pairs: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The permutation of ``joints`` that swaps each pair."""
    order = list(range(joints))
    for left, right in pairs:
        order[left], order[right] = right, left
    return tuple(order)
