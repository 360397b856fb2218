"""What Twofold says when something cannot go on: what is wrong, where, and what to do about it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType


class TwofoldError(Exception):
    """Base of every error that a user can cause and mend; the command line prints it without a traceback."""

    told = False
    """Of several processes that fail alike, whether another one has told the user already."""


class ConfigError(TwofoldError, ValueError):
    """Every fault of a configuration at once.

    Args:
        problems: One sentence a fault, each naming the option, the offending value and the way out.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        head = "" if len(self.problems) == 1 else f"{len(self.problems)} problems:\n"
        bullets = self.problems if len(self.problems) == 1 else [f"  - {problem}" for problem in self.problems]
        super().__init__(head + "\n".join(bullets))


class DataError(TwofoldError, ValueError):
    """Data that cannot be read or used; the message names the file or row."""


class RunError(TwofoldError, RuntimeError):
    """A run folder or a training run that cannot go on."""


class MissingExtraError(TwofoldError, ImportError):
    """An optional dependency that is not installed."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say which extra brings it.

    Args:
        module: Dotted module name, such as ``"PIL.Image"``.
        extra: The extra of this package that installs it, such as ``"image"``.
        purpose: What it is needed for, as it should read in the message.

    Raises:
        MissingExtraError: If the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs {module.split('.')[0]}, which could not be imported ({error}). "
            f"Install it with: pip install 'twofold[{extra}]'"
        ) from error
