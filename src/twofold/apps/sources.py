"""What a person may name as data: paths, and the built-in sets by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twofold.errors import ConfigError

BUILT_IN = ("emoji", "digits")
EMOJI_SIZE = 32


def resolve(names: Sequence[str], *, part: str = "train", size: int | None = None) -> Any:
    """The source that ``names`` stand for: a built-in set (unless a path has its name), one path, or several.

    Args:
        names: At least one path, or one of :data:`BUILT_IN`.
        part: Which part of a built-in set: train, test or all.
        size: Side of the built-in emoji; other sources are sized by their reader.

    Raises:
        ConfigError: If there is no name.
    """
    if not names:
        raise ConfigError(f"Name the data: a folder, a file, or one of the built-in sets ({', '.join(BUILT_IN)}).")
    if is_built_in(names):
        from twofold import data

        return data.digits(part) if names[0] == "digits" else data.emoji(part, size=size or EMOJI_SIZE)
    return names[0] if len(names) == 1 else list(names)


def is_built_in(names: Sequence[str]) -> bool:
    """Whether ``names`` is a built-in set and no path."""
    return len(names) == 1 and names[0] in BUILT_IN and not Path(names[0]).exists()
