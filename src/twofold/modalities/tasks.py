"""What the own evaluations of several kinds of data share."""

from __future__ import annotations

from twofold.errors import ConfigError


def no_task(name: str | None, modality: str) -> None:
    """The answer of a modality that has no evaluation of its own.

    Args:
        name: The task that was asked for.
        modality: Its name, for the message.

    Raises:
        ConfigError: If a task was asked for.
    """
    if name is not None:
        raise ConfigError(f"There is no task {name!r} for {modality}: it is measured by its labels, without task.")
